"""The slopes of several batches make one update: their mean, the same on every framework."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.schedule import Optimization
from finetuner.tuner.state import TunerState
from tests.models import clusters, mlp
from tests.tuner.test_gradcache import sgd

# Four batches an epoch, so an update of three and one of one.
ARGUMENTS = {'epochs': 1, 'batch_size': 10, 'num_items_per_class': 2, 'accumulate': 3}


class Watches(Callback):
    """Keeps the batches of the first epoch, and the weights and rates at every batch; perhaps presses Ctrl-C."""

    def __init__(self, stop=None):
        self.weights, self.rates, self.updates, self.stop = [], [], [], stop

    def on_fit_begin(self, tuner):
        self.batches = [batch for epoch in range(tuner.state.num_epochs) for batch in tuner.loader.epoch(epoch)]
        self.objective, self.layout, self.start = tuner.objective, tuner.loader.layout, tuner.learned()
        self.weights.append(tuner.encoder.weights())

    def on_train_batch_begin(self, tuner):
        self.rates.append(tuner.state.learning_rates['model'])

    def on_train_batch_end(self, tuner):
        self.weights.append(tuner.encoder.weights())
        self.updates.append(tuner.state.updates)
        if tuner.state.step == self.stop:
            raise KeyboardInterrupt

    def on_fit_end(self, tuner):
        self.learned = tuner.learned()


def trained(backend, sizes=(10, 64, 32), stop=None, noisy=False, seed=0, callbacks=(), **arguments):
    watches = Watches(stop)
    model = mlp(backend, sizes, noisy=noisy, seed=seed)
    finetuner.fit(model, clusters(), **ARGUMENTS | arguments, callbacks=[watches, *callbacks])
    return watches


def flat(weights):
    """Kernel (inputs, outputs), then bias, as one vector in float64."""
    kernel, bias = weights.values()
    return np.concatenate([(kernel if kernel.shape[1] == bias.size else kernel.T).ravel(), bias]).astype(float)


def slope(watches, batch, weights):
    """By central differences, in float64."""
    x, codes = watches.batches[batch]

    def value(vector):
        embeddings = x.astype(float) @ vector[:-4].reshape(10, 4) + vector[-4:]
        return float(watches.objective(embeddings, codes, watches.layout))

    steps = 1e-5 * np.eye(weights.size)
    return np.array([(value(weights + step) - value(weights - step)) / 2e-5 for step in steps])


def test_the_counters():
    state = TunerState(num_epochs=2, num_batches_train=5, accumulate=2)
    found = []
    for state.step in range(11):
        found.append((state.updates, state.pending, state.group, state.completes))
    epoch = [(0, 0, 2, False), (0, 1, 2, True), (1, 0, 2, False), (1, 1, 2, True), (2, 0, 1, True)]
    assert found[:5] == epoch
    assert found[5:10] == [(3 + updates, *rest) for updates, *rest in epoch]
    assert (found[10][0], state.num_updates) == (6, 6)
    alone = TunerState(num_epochs=2, num_batches_train=5)
    for alone.step in range(10):
        assert (alone.updates, alone.pending, alone.group, alone.completes) == (alone.step, 0, 1, True)
    endless = TunerState(accumulate=3)
    for endless.step in range(10):
        assert (endless.updates, endless.pending, endless.group) == (endless.step // 3, endless.step % 3, 3)


def test_an_update_is_the_mean_of_the_slopes(backend):
    options = {'loss': 'InfoNCELoss', 'loss_options': {'temperature': 1.0}, 'configure_optimizer': sgd(backend)}
    watches = trained(backend, (10, 4), **options)
    start, *after = [flat(weights) for weights in watches.weights]
    np.testing.assert_array_equal(after[:2], [start, start])
    first = start - np.mean([slope(watches, batch, start) for batch in range(3)], 0)
    np.testing.assert_allclose(after[2], first, atol=1e-5)
    np.testing.assert_allclose(after[3], after[2] - slope(watches, 3, after[2]), atol=1e-5)
    assert watches.updates == [0, 0, 1, 2]


# What the weights of the model and of the classes add up to, in absolute values; test_the_same_by_hand has the loop.
FIGURES = [366.95447, 22.97131]
LEARNED = {'epochs': 2, 'loss': 'ArcFaceLoss', 'learning_rate': 0.01}


@pytest.mark.parametrize('options', [{}, {'mini_batch_size': 4}], ids=['whole', 'chunked'])
def test_with_clipping_a_schedule_and_what_the_loss_learns(backend, options):
    watches = trained(backend, **LEARNED, **options)
    found = [
        sum(float(np.abs(w).sum()) for w in watches.weights[-1].values()),
        np.abs(watches.learned['classes']).sum(),
    ]
    np.testing.assert_allclose(found, FIGURES, rtol=1e-5)
    assert len(set(watches.rates)) == 4
    assert watches.rates[0] == watches.rates[2] != watches.rates[3] != watches.rates[4]


@pytest.mark.parametrize(
    'options',
    [
        {},
        pytest.param(
            {'mini_batch_size': 4}, marks=pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'paddle')
        ),
    ],
    ids=['whole', 'chunked'],
)
def test_interrupted_within_an_update_and_resumed(backend, tmp_path, options):
    options = {'loss': 'ArcFaceLoss', 'noisy': True} | options
    whole = trained(backend, **options)
    trained(backend, stop=2, callbacks=[TrainingCheckpoint(save_dir=tmp_path)], **options)
    resumed = trained(backend, seed=7, resume=tmp_path, **options)
    for name, value in whole.weights[-1].items():
        np.testing.assert_array_equal(resumed.weights[-1][name], value, err_msg=name)
    np.testing.assert_array_equal(resumed.learned['classes'], whole.learned['classes'])
    assert resumed.updates == [1, 2]


@pytest.mark.backends('torch')
def test_the_same_by_hand():
    import torch

    watches, numbers = trained('torch', **LEARNED), Optimization(learning_rate=0.01)
    model, classes = mlp('torch'), torch.nn.Parameter(torch.from_numpy(watches.start['classes']))
    matrices, biases = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False))
    plain = {'weight_decay': 0.0}
    optimizers = [
        torch.optim.AdamW([{'params': matrices, 'weight_decay': 0.01}, {'params': biases, **plain}]),
        torch.optim.AdamW([classes], **plain),
    ]
    for update, part in enumerate([slice(0, 3), slice(3, 4), slice(4, 7), slice(7, 8)]):
        for optimizer, highest in zip(optimizers, (0.01, 0.01), strict=True):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group['lr'] = highest * numbers.rate(update, 4) / numbers.learning_rate
        losses = []
        for x, codes in watches.batches[part]:
            codes = {name: torch.from_numpy(code) for name, code in codes.items()}
            losses.append(watches.objective(model(torch.from_numpy(x)), codes, watches.layout, {'classes': classes}))
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), classes], 1.0)
        for optimizer in optimizers:
            optimizer.step()
    found = [sum(float(p.detach().abs().sum()) for p in own) for own in (model.parameters(), [classes])]
    np.testing.assert_allclose(found, FIGURES, rtol=1e-6)


@pytest.mark.backends('torch')
def test_a_memory_takes_every_batch(backend):
    class Memory(Callback):
        def on_train_batch_end(self, tuner):
            self.held = int((tuner.remembered()['item'] >= 0).sum())
            seen.append(self.held)

    seen = []
    options = {'loss': 'CrossBatchMemory', 'loss_options': {'loss': 'NTXentLoss', 'memory_size': 100}}
    trained(backend, callbacks=[Memory()], **options)
    assert seen == [10, 20, 30, 40]


@pytest.mark.backends('torch')
def test_a_schedule_of_your_own_steps_with_the_updates(backend):
    import torch

    def configure(model):
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    assert trained(backend, configure_optimizer=configure, epochs=2).rates == [1, 1, 1, 0.5, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.backends('torch')
def test_what_cannot_be_is_refused(backend, tmp_path):
    class Rebuilds(Callback):
        def on_train_batch_end(self, tuner):
            tuner.rebuild()

    with pytest.raises(ArgumentError, match='accumulate=0: expected a whole number of at least 1'):
        trained(backend, accumulate=0)
    with pytest.raises(ArgumentError, match='after 1 of the 3 batches of an update.*pending is 0'):
        trained(backend, callbacks=[Rebuilds()])
    trained(backend, callbacks=[TrainingCheckpoint(save_dir=tmp_path)])
    with pytest.raises(CheckpointError, match='accumulate=3, this one has accumulate=2'):
        trained(backend, accumulate=2, resume=tmp_path)
