"""A memory of earlier batches in training: the same on every framework, resumed exactly, and not for evaluation."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.inference import encoder
from finetuner.losses import get
from finetuner.losses.objective import Objective
from finetuner.tuner.callbacks.base import Callback
from finetuner.typing import Layout
from tests.models import clusters, mlp

MEMORY = {'loss': 'CrossBatchMemory', 'loss_options': {'loss': 'NTXentLoss', 'memory_size': 48}}
ARGUMENTS = MEMORY | {'epochs': 3, 'batch_size': 16, 'num_items_per_class': 4}

# The loss of every batch, from the weights of `tests.models.mlp`; computed with PyTorch.
FIGURES = [2.132503, 2.942722, 2.59751, 2.272001, 2.4799, 2.845529, 3.148583, 2.874932, 2.745172]


class Losses(Callback):
    """Notes the loss of every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, tuner):
        self.seen.append(tuner.state.current_loss)


def losses(backend, **arguments):
    noting = Losses()
    finetuner.fit(mlp(backend), **{'train_data': clusters(), 'callbacks': [noting]} | ARGUMENTS | arguments)
    return noting.seen


def test_the_losses_are_the_same_on_every_framework(backend):
    np.testing.assert_allclose(losses(backend), FIGURES, rtol=2e-5)


def test_a_batch_in_chunks_is_remembered_as_a_whole(backend):
    np.testing.assert_allclose(losses(backend, mini_batch_size=6), FIGURES, rtol=3e-5)


def test_a_batch_meets_those_before_it(backend):
    alone = losses(backend, loss='NTXentLoss', loss_options=None)
    remembering = losses(backend)
    assert remembering[0] == pytest.approx(alone[0], rel=1e-5)
    assert min(np.subtract(remembering, alone)[1:3]) > 0.1  # more negatives


def test_it_is_resumed_to_the_bit(backend, tmp_path):
    class Presses(Callback):
        def on_train_batch_end(self, tuner):
            if tuner.state.step == 4:
                raise KeyboardInterrupt

    arguments = {'train_data': clusters(), **ARGUMENTS}
    whole = finetuner.fit(mlp(backend, noisy=True), **arguments)
    saving = TrainingCheckpoint(save_dir=tmp_path)
    finetuner.fit(mlp(backend, noisy=True), **arguments, callbacks=[Presses(), saving])
    resumed = finetuner.fit(mlp(backend, noisy=True, seed=7), **arguments, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


def test_evaluation_does_without(backend):
    arguments = {'eval_data': clusters(seed=2), 'epochs': 1, 'learning_rate': 1e-9, 'return_history': True}
    _, plain = finetuner.fit(mlp(backend), clusters(), loss='NTXentLoss', **arguments)
    _, remembering = finetuner.fit(mlp(backend), clusters(), **MEMORY, **arguments)
    assert remembering.epochs[0]['val_loss'] == pytest.approx(plain.epochs[0]['val_loss'], rel=1e-5)


@pytest.mark.parametrize('kind', ['pair', 'session', 'instance'])
def test_every_kind_of_items_has_a_memory(backend, kind):
    x, _ = clusters(per_class=9)
    threes = [(x[i], x[i + 1], x[i - 9]) for i in range(0, 45, 3)]
    data = {'pair': threes, 'session': kind == 'session' and sessions(threes), 'instance': list(x)}[kind]
    arguments = {'train_data': data, 'batch_size': 6, 'num_items_per_class': None, 'learning_rate': 1e-9, 'epochs': 1}
    arguments['augmentation'] = False  # equal views will do here
    alone = losses(backend, loss='NTXentLoss', loss_options=None, **arguments)
    remembering = losses(backend, **arguments)
    assert remembering[0] == pytest.approx(alone[0], rel=1e-5)
    assert min(np.subtract(remembering, alone)[1:3]) > 1e-3
    assert np.isfinite(remembering).all()


def sessions(threes):
    docarray = pytest.importorskip('docarray')
    docs = docarray.DocumentArray()
    for root, *matches in threes:
        docs.append(docarray.Document(tensor=root))
        docs[-1].matches = [
            docarray.Document(tensor=match, tags={'finetuner_label': grade})
            for match, grade in zip(matches, (1, -1), strict=True)
        ]
    return docs


@pytest.mark.backends('torch')
@pytest.mark.parametrize('name', ['NTXentLoss', 'ContrastiveLoss', 'TripletMarginLoss'])
def test_value_and_slope_are_those_of_pytorch_metric_learning(name):
    import torch
    from pytorch_metric_learning import losses as theirs

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 8)).astype(np.int32)
    layout = Layout(8, most=7)
    loss = get(name, temperature=0.07) if name == 'NTXentLoss' else get(name)
    objective = Objective(get('CrossBatchMemory', loss=loss, memory_size=30))  # not a multiple of the batch
    peer = theirs.CrossBatchMemory(getattr(theirs, name)(), 5, memory_size=30)
    memory = None
    for step, label in enumerate(labels):
        codes = {'item': np.arange(8, dtype=np.int32) + 8 * step, 'label': label[:, None]}
        if memory is None:
            memory = {key: torch.from_numpy(value) for key, value in objective.memory(5, codes, layout).items()}
        codes = {key: torch.from_numpy(value) for key, value in codes.items()}
        x = torch.from_numpy(rng.standard_normal((8, 5)).astype(np.float32))
        ours, other = x.clone().requires_grad_(), x.clone().requires_grad_()
        value, expected = objective(ours, codes, layout, memory=memory), peer(other, torch.from_numpy(label))
        value.backward()
        expected.backward()
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.grad, other.grad, rtol=1e-4, atol=1e-6)
        memory = objective.remember(memory, ours, codes, layout)
