"""Averages of the weights: what they are, that a training ends with them, and that a resume goes on with them."""

import numpy as np
import pytest

import finetuner
from finetuner import inference
from finetuner.callback import EMA, Callback, EarlyStopping, TrainingCheckpoint, WiSEFTCallback
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 3, 'batch_size': 20, 'num_items_per_class': 4, 'guard': False}


class Watches(Callback):
    """Keeps the weights after every update, and raises an error after one of them."""

    def __init__(self, error=None, after=None):
        self.error, self.after = error, after
        self.weights = []

    def on_fit_begin(self, tuner):
        self.weights.append(tuner.encoder.weights())

    def on_train_batch_end(self, tuner):
        self.weights.append(tuner.encoder.weights())
        if self.error and tuner.state.step == self.after:
            raise self.error


def fit(backend, *callbacks, model=None, **arguments):
    model = mlp(backend, noisy=True) if model is None else model
    return finetuner.fit(model, clusters(), callbacks=callbacks, **ARGUMENTS | arguments)


def first_layer(model):
    return next(layer.name for layer in finetuner.tailor.summary(model, (10,)) if layer.parameters and layer.path)


def average(weights, decays):
    """By hand, in float64; counts are the last."""
    found = {name: value.astype(float) for name, value in weights[0].items()}
    for decay, each in zip(decays, weights[1:], strict=True):
        for name, value in each.items():
            floats = value.dtype.kind == 'f'
            found[name] = decay * found[name] + (1 - decay) * value if floats else value
    return found


def close(found, expected, names=None):
    for name in names or expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_training_ends_with_the_averages_and_so_does_a_resumed_one(backend, tmp_path):
    watches = Watches()
    whole = encoder(fit(backend, watches, EMA(decay=0.3))).weights()
    close(whole, average(watches.weights, [2 / 11, 3 / 12, 0.3, 0.3, 0.3, 0.3]))
    assert any(not np.array_equal(whole[name], value) for name, value in watches.weights[-1].items())
    # An error like Ctrl-C that comes between an update and the hooks: only what the checkpoint asks for counts it.
    fit(backend, Watches(KeyboardInterrupt, 3), EMA(decay=0.3), TrainingCheckpoint(save_dir=tmp_path))
    resumed = fit(backend, EMA(decay=0.3), model=mlp(backend, noisy=True, seed=7), resume=tmp_path)
    for name, value in whole.items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


def test_averages_of_the_framework_are_those_of_numpy_and_leave_out_what_is_frozen(backend):
    model = mlp(backend, (10, 8, 6), noisy=True)
    finetuner.freeze(model, first_layer(model), input_size=(10,))
    coder, rng = encoder(model), np.random.default_rng(0)
    own, plain = {}, {}
    for decay in (0.0, 0.9, 0.5):
        coder.average(own, decay)
        inference.Encoder.average(coder, plain, decay)
        weights = coder.weights()
        moved = {name: value + rng.standard_normal(value.shape).astype(value.dtype) for name, value in weights.items()}
        coder.assign(moved)
    to_numpy = load(coder.framework, 'ops').to_numpy
    assert len(own) == len(plain) - 2  # the matrix of the first layer and its bias
    assert not any(sorted(value.shape) == [8, 10] for value in map(to_numpy, own.values()))
    for name, value in own.items():
        np.testing.assert_allclose(to_numpy(value), plain[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_weight_that_joins_is_averaged_from_then_on(backend):
    class Late(Callback):
        def on_fit_begin(self, tuner):
            finetuner.freeze(tuner.embed_model, first_layer(tuner.embed_model), input_size=(10,))
            tuner.rebuild()

        def on_epoch_begin(self, tuner):
            if tuner.state.epoch == 1:
                finetuner.unfreeze(tuner.embed_model)
                tuner.rebuild()

    watches = Watches()
    model = fit(backend, Late(), watches, EMA(decay=0.5, warmup=False), model=mlp(backend))
    first = watches.weights[2:]  # the first layer joins with the third update
    joined = [name for name, value in watches.weights[2].items() if np.array_equal(value, watches.weights[0][name])]
    assert len(joined) == 2
    close(encoder(model).weights(), average(first, [0.0, 0.5, 0.5, 0.5]), joined)


# What follows is the same code on every framework.


@pytest.mark.backends('torch')
def test_not_every_update_and_no_warm_up(request):
    backend, watches = request.config.getoption('--backend'), Watches()
    model = fit(backend, watches, EMA(decay=0.5, warmup=False, update_every=2))
    close(encoder(model).weights(), average(watches.weights, [1, 0.5, 1, 0.5, 1, 0.5]))


@pytest.mark.backends('torch')
def test_a_training_that_ends_early_has_averages_and_one_that_fails_has_not(request):
    backend = request.config.getoption('--backend')
    stops, watches = EarlyStopping(monitor='train_loss', min_delta=100, patience=1), Watches()
    ended = fit(backend, watches, stops, EMA(decay=0.3))
    assert len(watches.weights) == 1 + 4
    close(encoder(ended).weights(), average(watches.weights, [2 / 11, 3 / 12, 0.3, 0.3]))
    model, watches = mlp(backend, noisy=True), Watches(RuntimeError('power is gone'), 4)
    with pytest.raises(RuntimeError, match='power'):
        fit(backend, EMA(), watches, model=model)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, watches.weights[-1][name])


@pytest.mark.backends('torch')
def test_a_checkpoint_of_other_averages_is_refused_and_one_of_none_is_not(request, tmp_path):
    backend, watches = request.config.getoption('--backend'), Watches()
    fit(backend, EMA(decay=0.5), TrainingCheckpoint(save_dir=tmp_path / 'with', last_k_epochs=3))
    with pytest.raises(CheckpointError, match=r"EMA {'decay': 0\.5.*this one has {'decay': 0\.9"):
        fit(backend, EMA(decay=0.9), resume=tmp_path / 'with')
    fit(backend, TrainingCheckpoint(save_dir=tmp_path / 'without', last_k_epochs=3))
    later = fit(backend, watches, EMA(decay=0.1), resume=tmp_path / 'without' / 'saved_model_epoch_02')
    close(encoder(later).weights(), average(watches.weights, [0.1, 0.1]))


@pytest.mark.backends('torch')
def test_callbacks_that_would_overwrite_each_other_are_refused(request):
    for callbacks, message in (
        ([EMA(), EMA()], 'Two EMA'),
        ([WiSEFTCallback(), EMA()], 'put EMA before it'),
        ([WiSEFTCallback(), WiSEFTCallback()], 'Two WiSEFTCallback'),
    ):
        with pytest.raises(ArgumentError, match=message):
            fit(request.config.getoption('--backend'), *callbacks)


@pytest.mark.backends('torch')
def test_averages_of_half_precision_weights_are_float32(request):
    import torch

    averages = {}
    coder = encoder(mlp(request.config.getoption('--backend')).to(torch.bfloat16))
    coder.average(averages, 0.0)
    coder.average(averages, 0.999)
    assert {value.dtype for value in averages.values()} == {torch.float32}


def test_what_cannot_be_averaged_is_refused():
    for options, message in (({'decay': 1}, 'from 0 to below 1'), ({'update_every': 0}, 'whole number of at least 1')):
        with pytest.raises(ArgumentError, match=message):
            EMA(**options)
