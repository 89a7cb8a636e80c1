"""The model computes in bf16 while it trains, and in nothing else; where that cannot be, a sentence says so."""

import numpy as np
import pytest

import finetuner
from finetuner import cpu
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from finetuner.precision import LARGE
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.execution import Execution, resolve
from tests.models import clusters, framework, mlp

BF16 = ('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax')
ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'loss': 'InfoNCELoss'}


class Notes(Callback):
    """The losses; what is embedded between two updates, and after them."""

    def __init__(self):
        self.losses, self.vectors = [], []

    def on_train_batch_end(self, tuner):
        self.losses.append(tuner.state.current_loss)
        self.vectors.append(tuner.encoder.embed(clusters()[0]))
        self.weights = tuner.encoder.weights()


def trained(model, callbacks=(), **arguments):
    notes = Notes()
    finetuner.fit(model, clusters(), **ARGUMENTS | arguments, callbacks=[notes, *callbacks])
    return notes


def watched(backend, kind, seen):
    """A model with a layer that notes in which precision it gets its input; in Keras of one of three kinds."""
    if backend == 'torch':
        from torch import nn

        class Sees(nn.Module):
            def forward(self, x):
                seen.append((self.training, str(x.dtype).rpartition('.')[2]))
                return x

        first, *others = mlp(backend, noisy=True)
        return nn.Sequential(first, Sees(), *others)
    import keras

    class Sees(keras.layers.Layer):
        def call(self, x, training=None):
            seen.append((bool(training), keras.backend.standardize_dtype(x.dtype)))
            return x

    layers = mlp(backend, noisy=True).layers
    if kind == 'functional':
        x = inputs = keras.Input((10,))
        for layer in [layers[0], Sees(), *layers[1:]]:
            x = layer(x)
        return keras.Model(inputs, keras.ops.add(x, 0.0))
    if kind == 'sequential':
        return keras.Sequential([keras.Input((10,)), layers[0], Sees(), *layers[1:]])

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.sees, self.others = layers[0], Sees(), layers[1:]

        def call(self, x, training=None):
            x = self.sees(self.first(x), training=training)
            for layer in self.others:
                x = layer(x)
            return x

    model = Own()
    model(np.zeros((2, 10), np.float32))
    return model


def kinds(backend):
    if backend == 'keras-jax':  # which compiles each anew
        return ['functional']
    return ['functional', 'sequential', 'subclassed'] if backend.startswith('keras') else ['module']


@pytest.mark.backends(*BF16)
def test_it_computes_in_bf16_in_training_alone(backend):
    for kind in kinds(backend):
        seen = []
        model = watched(backend, kind, seen)
        seen.clear()
        notes = trained(model, precision='bf16')
        assert set(seen) == {(True, 'bfloat16'), (False, 'float32')}
        for weights in (notes.weights, encoder(model).weights()):
            assert {value.dtype for value in weights.values()} <= {np.dtype('float32'), np.dtype('int64')}
        again = mlp(backend, noisy=True)
        encoder(again).assign(dict(zip(encoder(again).weights(), notes.weights.values(), strict=True)))
        np.testing.assert_array_equal(notes.vectors[-1], finetuner.embed(again, clusters()[0]))
        if backend.startswith('keras'):
            assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {'float32'}


@pytest.mark.parametrize(
    'options',
    [
        pytest.param({}, marks=pytest.mark.backends(*BF16)),
        pytest.param({'mini_batch_size': 7}, marks=pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch')),
        pytest.param({'accumulate': 2}, marks=pytest.mark.backends('torch', 'keras-torch')),
    ],
    ids=['whole', 'chunked', 'summed'],
)
def test_it_learns_what_float32_learns(backend, options):
    exact, rounded = (trained(mlp(backend), precision=precision, **options) for precision in ('32', 'bf16'))
    np.testing.assert_allclose(rounded.losses, exact.losses, rtol=0.02)
    np.testing.assert_allclose(rounded.vectors[-1], exact.vectors[-1], atol=0.05)
    assert np.abs(rounded.vectors[-1] - exact.vectors[-1]).max() > 1e-5


@pytest.mark.backends('torch', 'keras-torch')
def test_it_is_resumed_to_the_bit(backend, tmp_path):
    class Presses(Callback):
        def on_train_batch_end(self, tuner):
            if tuner.state.step == 3:
                raise KeyboardInterrupt

    whole = trained(mlp(backend, noisy=True), precision='bf16')
    trained(mlp(backend, noisy=True), precision='bf16', callbacks=[Presses(), TrainingCheckpoint(save_dir=tmp_path)])
    resumed = trained(mlp(backend, noisy=True, seed=7), precision='bf16', resume=tmp_path)
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value, err_msg=name)
    with pytest.raises(CheckpointError, match='precision=bf16, this one has precision=None'):
        trained(mlp(backend, noisy=True), resume=tmp_path)


@pytest.mark.backends(*[name for name in BF16 if name != 'torch'])
def test_the_policies_are_the_models_own_again_after_an_error(backend):
    import keras

    class Fails(keras.layers.Layer):
        def call(self, x, training=None):
            if training:
                raise RuntimeError('on purpose')
            return x

    layers = mlp(backend).layers
    kept = keras.layers.Dense(64, dtype='mixed_bfloat16')
    model = keras.Sequential([keras.Input((10,)), layers[0], kept, Fails(), layers[1]])
    with pytest.raises(RuntimeError, match='on purpose'):
        trained(model, precision='bf16')
    assert [layer.dtype_policy.name for layer in model.layers] == ['float32', 'mixed_bfloat16', 'float32', 'float32']


class Scales(Callback):
    """Sets the first scale of the loss, and notes those that follow."""

    def __init__(self, first):
        self.first, self.scales = first, []

    def on_fit_begin(self, tuner):
        tuner.scaler = type(tuner.scaler)('cpu', init_scale=self.first, enabled=tuner.scaler.is_enabled())

    def on_train_batch_end(self, tuner):
        self.scales.append(tuner.scaler.get_scale())
        self.found = tuner.encoder.weights()


@pytest.mark.backends('torch')
@pytest.mark.parametrize('options', [{}, {'mini_batch_size': 7}, {'accumulate': 2}], ids=['whole', 'chunked', 'summed'])
def test_float16_scales_the_loss(backend, options):
    """On a CPU, where `fit` refuses it: the steps are those of float32, and one with infinite slopes is left out."""
    exact, rounded, wild = Scales(256.0), Scales(256.0), Scales(2.0**60)
    tuned(mlp(backend), '32', exact, **options)
    tuned(mlp(backend), '16', rounded, **options)
    assert rounded.scales == [256.0] * 4
    start, trained, again = (flat(w) for w in (encoder(mlp(backend)).weights(), exact.found, rounded.found))
    assert 0 < np.linalg.norm(again - trained) < 0.05 * np.linalg.norm(trained - start)
    tuned(mlp(backend), '16', wild, **options)
    updates = 4 // options.get('accumulate', 1)
    assert wild.scales[-1] == 2.0 ** (60 - updates)
    np.testing.assert_array_equal(flat(wild.found), start)


def flat(weights):
    return np.concatenate([value.ravel() for value in weights.values()])


def tuned(model, precision, callback, **options):
    from finetuner.data.batch import Loader
    from finetuner.data.dataset import Dataset
    from finetuner.data.readers import read
    from finetuner.data.sampler import make_sampler
    from finetuner.dispatch import load
    from finetuner.losses import registry

    dataset = Dataset(read(clusters()))
    loader = Loader(dataset, make_sampler(dataset, 20, seed=0), seed=0)
    tuner = load('torch', 'tuner').Tuner(
        encoder(model),
        registry.resolve('ArcFaceLoss', kind='class', width=1),
        dim=32,
        callbacks=[callback],
        execution=Execution(precision),
        **options,
    )
    tuner.fit(loader, 2)


def test_without_a_gpu_float16_is_refused(backend):
    with pytest.raises(ArgumentError, match=r"precision='16'.*(bf16|auto_cast does nothing)"):
        trained(mlp(backend), precision='16')
    with pytest.raises(ArgumentError, match=r"precision='half'.*Known are: 16, 32, auto, bf16"):
        trained(mlp(backend), precision='half')


@pytest.mark.backends('paddle')
def test_paddle_on_a_cpu_says_that_it_has_none(backend):
    with pytest.raises(ArgumentError, match=r"precision='bf16': on a CPU Paddle's own auto_cast does nothing"):
        trained(mlp(backend), precision='bf16')


@pytest.mark.backends('torch')
def test_a_model_in_another_precision_keeps_it(backend):
    with pytest.raises(ArgumentError, match=r'expected weights in float32, got torch\.float64'):
        trained(mlp(backend).double(), precision='bf16')
    model = mlp(backend).double()
    trained(model)
    assert encoder(model).weights()['0.weight'].dtype == np.float64


def test_what_is_small_is_trained_in_float32(backend, monkeypatch):
    monkeypatch.setattr(cpu, 'multiplies_bf16', lambda: True)
    for precision in (None, 'auto', '32', 32):
        running = resolve(precision, False, False, encoder(mlp(backend)))
        assert running == Execution('32', group_by_length=framework(backend) != 'keras')


@pytest.mark.backends('torch')
@pytest.mark.parametrize('units', [True, False])
def test_large_transformers_are_trained_in_bf16_where_there_are_units(backend, monkeypatch, units):
    import torch

    class Attention(torch.nn.Linear):
        pass

    monkeypatch.setattr(cpu, 'multiplies_bf16', lambda: units)
    large = encoder(Attention(LARGE // 1000, 1000))
    assert resolve(None, False, False, large).precision == ('bf16' if units else '32')
    assert resolve('32', False, False, large).precision == '32'
    assert resolve(None, False, False, encoder(torch.nn.Linear(LARGE // 1000, 1000))).precision == '32'
    assert resolve(None, False, False, encoder(Attention(10, 10))).precision == '32'
    assert resolve(None, False, False, encoder(Attention(LARGE // 1000, 1000).double())).precision == '32'
