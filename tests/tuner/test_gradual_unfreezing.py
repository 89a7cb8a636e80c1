"""Gradual unfreezing: what trains in which stage, at what rate, what is left in the end, and resuming anywhere."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import BestModelCheckpoint, Callback, EarlyStopping, GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, framework, mlp

ARGUMENTS = {'epochs': 3, 'batch_size': 20, 'num_items_per_class': 4, 'freeze': True, 'output_dim': 4}
RESUMED = ARGUMENTS | {'loss': 'ArcFaceLoss'}

# The loss of every batch of two epochs a stage, from the weights of `tests.models.mlp`; computed with PyTorch.
FIGURES = [
    10.08486, 7.880879, 6.701735, 4.603842, 5.579479, 4.849769,
    3.097951, 4.841833, 3.067683, 4.056978, 3.529058, 3.618639,
]  # fmt: skip


class Watches(Callback):
    """Keeps the weights of before every epoch and of the end, the rates and the losses; stops after so many updates."""

    def __init__(self, stop=None, error=KeyboardInterrupt, hook='on_train_batch_end'):
        self.weights, self.rates, self.losses, self.trainable = [], [], [], []
        self.stop, self.error, self.hook = stop, error, hook

    def on_epoch_begin(self, tuner):
        self.weights.append(tuner.encoder.weights())
        self.trainable.append(tuner.encoder.trainable())

    def on_train_batch_begin(self, tuner):
        self.perhaps_stop(tuner, 'on_train_batch_begin')

    def on_train_batch_end(self, tuner):
        self.rates.append(dict(tuner.state.learning_rates))
        self.losses.append(tuner.state.current_loss)
        self.perhaps_stop(tuner, 'on_train_batch_end')

    def perhaps_stop(self, tuner, hook):
        if (tuner.state.step, hook) == (self.stop, self.hook):
            raise self.error

    def on_fit_end(self, tuner):
        self.weights.append(tuner.encoder.weights())


def model(backend, seed=0):
    """Dense, norm, dropout; the same again; dense."""
    return mlp(backend, (10, 16, 16, 8), noisy=True, seed=seed)


def size(backend):
    return encoder(model(backend)).trainable()


def trained(backend, start=None, watching=None, callbacks=(), unfreezing=None, **arguments):
    watching = watching or Watches()
    callbacks = [unfreezing or GradualUnfreezing(), watching, *callbacks]
    tuned = finetuner.fit(start or model(backend), clusters(), **ARGUMENTS | arguments, callbacks=callbacks)
    return tuned, watching


def modes(tuned):
    """The modes of the layers, where a framework has such."""
    if hasattr(tuned, 'named_modules'):
        return [module.training for module in tuned.modules()]
    return [layer.training for layer in tuned.sublayers(True)] if hasattr(tuned, 'sublayers') else []


def changed(before, after):
    return [name for name in before if not np.array_equal(before[name], after[name])]


def test_each_stage_trains_its_part_statistics_too_and_what_joins_at_a_tenth_of_the_rate(backend):
    tuned, watching = trained(backend)
    first, second, third, end = watching.weights
    names = list(first)
    assert changed(first, second) == names[-2:]
    assert changed(second, third) == names[-4:]
    assert changed(third, end) == names
    head, last = 8 * 4 + 4, 16 * 8 + 8
    assert watching.trainable == [head, head + last, size(backend) + head]
    assert encoder(tuned).trainable() == size(backend) + head
    groups = ['model', 'model*0.1', 'model*0.01']
    assert [list(rates) for rates in watching.rates] == [groups[:1]] * 2 + [groups[:2]] * 2 + [groups] * 2
    for rates in watching.rates:
        expected = rates['model'] * np.array([1, 0.1, 0.01])[: len(rates)]
        np.testing.assert_allclose(list(rates.values()), expected, rtol=1e-5)
    epochs = finetuner.history(tuned).epochs
    assert [list(epoch['learning_rates']) for epoch in epochs] == [groups[:1], groups[:2], groups]


def test_the_numbers_are_the_same_on_every_framework(backend):
    _, watching = trained(backend, mlp(backend, (10, 16, 16, 8)), epochs=6, learning_rate=0.01)
    np.testing.assert_allclose(watching.losses, FIGURES, rtol=2e-5)


def test_milestones_and_what_is_kept(backend):
    start = mlp(backend, (10, 16, 16, 16, 8))
    layers = finetuner.tailor.summary(start, (10,))
    second = [layer.name for layer in layers if layer.parameters and layer.path][1]
    unfreezing = GradualUnfreezing(milestones=[1, 3, 4], keep=[second])
    tuned, watching = trained(backend, start, unfreezing=unfreezing, epochs=5, freeze=False, output_dim=None)
    *epochs, end = watching.weights
    names = list(end)
    kept = set(names[2:4])
    expected = [names[-2:], names[-4:], names[-4:], names[-4:], names]
    for before, after, trains in zip(epochs, [*epochs[1:], end], expected, strict=True):
        assert changed(before, after) == [name for name in trains if name not in kept]
    assert watching.trainable[-1] == encoder(tuned).trainable() == size_of(end) - (16 * 16 + 16)


def size_of(weights):
    return sum(value.size for value in weights.values())


def test_a_model_that_is_frozen_as_a_whole_is_unfrozen_and_what_was_fixed_before_stays_so(backend):
    start = model(backend)
    if framework(backend) == 'keras':
        start.layers[0].kernel.trainable = False
    elif backend == 'paddle':
        start[0].weight.stop_gradient = True
    else:
        start[0].weight.requires_grad_(False)
    found = modes(start)
    assert finetuner.freeze(start) is start
    with pytest.raises(ArgumentError, match='Every weight of the model is frozen'):
        finetuner.fit(start, clusters(), epochs=3)
    tuned, watching = trained(backend, start, freeze=None, output_dim=None)
    names = list(watching.weights[0])
    assert tuned is start
    assert changed(*watching.weights[:2]) == names[-2:]
    assert changed(*watching.weights[2:]) == names[1:]
    assert encoder(tuned).trainable() == size(backend) - 10 * 16
    assert modes(tuned) == found


@pytest.mark.parametrize('how', ['stopped', 'interrupted', 'broken'])
def test_however_it_ends_all_is_trainable_but_what_is_kept(backend, how):
    start = model(backend)
    found = modes(start)
    first = next(layer.name for layer in finetuner.tailor.summary(start, (10,)) if layer.parameters)
    arguments = {'freeze': None, 'output_dim': None, 'unfreezing': GradualUnfreezing(keep=first)}
    if how == 'stopped':
        stopping = EarlyStopping(monitor='train_loss', patience=1, min_delta=100)
        _, watching = trained(backend, start, callbacks=[stopping], **arguments)
        assert len(watching.trainable) == 2
    elif how == 'interrupted':
        trained(backend, start, watching=Watches(stop=1), **arguments)
    else:
        with pytest.raises(ZeroDivisionError):
            trained(backend, start, watching=Watches(stop=3, error=ZeroDivisionError), **arguments)
    assert encoder(start).trainable() == size(backend) - (10 * 16 + 16)
    assert modes(start) == found


@pytest.fixture(scope='module')
def whole(backend):
    """A training that was never interrupted."""
    tuned, watching = trained(backend, **RESUMED)
    return encoder(tuned).weights(), watching.losses, finetuner.history(tuned)


@pytest.mark.parametrize(('stop', 'hook'), [(1, 'end'), (2, 'begin'), (3, 'end'), (4, 'end'), (5, 'end')])
def test_interrupted_in_any_stage_and_resumed(backend, tmp_path, whole, stop, hook):
    saving = TrainingCheckpoint(save_dir=tmp_path)
    trained(backend, watching=Watches(stop, hook=f'on_train_batch_{hook}'), callbacks=[saving], **RESUMED)
    resumed(backend, tmp_path, whole, stop)


def test_broken_off_in_a_stage_and_resumed_from_the_one_before(backend, tmp_path, whole):
    saving = TrainingCheckpoint(save_dir=tmp_path)
    with pytest.raises(ZeroDivisionError):
        trained(backend, watching=Watches(3, ZeroDivisionError), callbacks=[saving], **RESUMED)
    resumed(backend, tmp_path, whole, 2)


def resumed(backend, folder, whole, done):
    expected, losses, history = whole
    tuned, watching = trained(backend, model(backend, seed=7), resume=folder, **RESUMED)
    assert watching.losses == losses[done:]
    for name, value in encoder(tuned).weights().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert encoder(tuned).trainable() == size(backend) + 8 * 4 + 4
    ours, theirs = ([epoch | {'seconds': 0} for epoch in h.epochs] for h in (finetuner.history(tuned), history))
    assert ours == theirs


def test_another_plan_is_not_resumed(backend, tmp_path):
    trained(backend, watching=Watches(stop=3), callbacks=[TrainingCheckpoint(save_dir=tmp_path)])
    with pytest.raises(CheckpointError, match=r"'factor': 0.1.*this one has.*'factor': 0.5"):
        trained(backend, resume=tmp_path, unfreezing=GradualUnfreezing(factor=0.5))
    with pytest.raises(CheckpointError, match='of other weights.*same callbacks'):
        finetuner.fit(model(backend), clusters(), **ARGUMENTS, resume=tmp_path)


def test_it_goes_together_with_evaluation_and_the_best_model(backend, tmp_path):
    best = BestModelCheckpoint(monitor='map_at_r', save_dir=tmp_path)
    start = finetuner.to_embedding_model(model(backend), inputs=clusters()[0], freeze=True, output_dim=4)
    before = finetuner.evaluate(start, clusters())['map_at_r']
    tuned, watching = trained(
        backend, start, callbacks=[best], eval_data=clusters(), freeze=None, output_dim=None, learning_rate=0.01
    )
    history = finetuner.history(tuned)
    assert history.before['map_at_r'] == pytest.approx(before)
    found = [epoch['map_at_r'] for epoch in history.epochs]
    assert finetuner.evaluate(tuned, clusters())['map_at_r'] == pytest.approx(found[-1])
    weights = [*watching.weights[1:]][int(np.argmax(found))]
    again = finetuner.load(tmp_path / 'best_model_map_at_r', start)
    for name, value in encoder(again).weights().items():
        np.testing.assert_array_equal(value, weights[name])


@pytest.mark.parametrize(
    ('options', 'arguments', 'said'),
    [
        ({'milestones': [2, 2]}, {}, r'milestones=\[2, 2\]: expected whole numbers that rise'),
        ({'milestones': [0, 2]}, {}, 'the first stage begins with epoch 0'),
        ({'milestones': 2}, {}, 'expected whole numbers that rise, such as'),
        ({'milestones': [1.5]}, {}, 'expected whole numbers'),
        ({'factor': 0}, {}, 'factor=0: expected a number above 0'),
        ({'factor': 2}, {}, 'factor=2: expected a number above 0'),
        ({}, {'epochs': 2}, '3 stages, and 2 epochs. Train for 3 at least'),
        ({'milestones': [1, 5]}, {}, r'milestones=\[1, 5\], and 3 epochs. Train for 6 at least'),
        ({'milestones': [1, 2, 3, 4]}, {'epochs': 9}, '5 stages, but the model has 4 parts.*Give 3 milestones at most'),
        ({'keep': 'nothing'}, {}, "keep: there is no layer 'nothing'"),
        ({}, {'configure_optimizer': print}, 'leave configure_optimizer out'),
        ({}, {'callbacks': [GradualUnfreezing()]}, 'Two GradualUnfreezing'),
    ],
)
def test_what_cannot_be_is_refused_before_the_training(backend, options, arguments, said):
    start = model(backend)
    before = encoder(start).weights()
    with pytest.raises(ArgumentError, match=said):
        trained(backend, start, unfreezing=GradualUnfreezing(**options), **arguments)
    assert not changed(before, encoder(start).weights())
    assert encoder(start).trainable() == size(backend)


def test_models_without_parts_are_refused(backend):
    start = mlp(backend, (10, 8))
    with pytest.raises(ArgumentError, match='needs a head and a block at least.*one part.*output_dim=128'):
        trained(backend, start, freeze=None, output_dim=None)
    start = model(backend)
    name = finetuner.tailor.summary(start, (10,))[-2].name
    with pytest.raises(ArgumentError, match='keep=.*freezes the head'):
        trained(backend, start, unfreezing=GradualUnfreezing(keep=name), freeze=None, output_dim=None)


def test_two_parts_make_two_stages(backend):
    _, watching = trained(backend, mlp(backend, (10, 8)))
    assert [list(rates) for rates in watching.rates] == [['model']] * 2 + [['model', 'model*0.1']] * 4
