"""A batch in chunks teaches what the whole batch teaches, on every framework."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.chunks import chunks
from tests.models import clusters, mlp
from tests.test_embed import two_arguments, two_inputs
from tests.tuner.test_hooks import Recorder


class Notes(Callback):
    """Notes what the loss has learned, and its values."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, tuner):
        self.losses.append(tuner.state.current_loss)

    def on_fit_end(self, tuner):
        self.learned = tuner.learned()


class Presses(Callback):
    """Ctrl-C after an update."""

    def on_train_batch_end(self, tuner):
        if tuner.state.step == 3:
            raise KeyboardInterrupt


def trained(model, data, **arguments):
    """All that there is after a training: weights, what the loss learned, the losses."""
    notes = Notes()
    finetuner.fit(model, data, **{'epochs': 3, 'callbacks': [notes]} | arguments)
    return [*encoder(model).weights().values(), *notes.learned.values(), np.array(notes.losses)]


def copies(make):
    """Two models with the same weights."""
    first, second = make(), make()
    encoder(second).assign(encoder(first).weights())
    return first, second


def triples():
    x, _ = clusters(per_class=9)
    return [(x[i], x[i + 1], x[i - 9]) for i in range(0, 45, 3)]


def sgd(backend):
    """Plain steps of length 1, so that an update is the slope."""
    if backend == 'torch':
        import torch

        return lambda model: torch.optim.SGD(model.parameters(), lr=1.0)
    if backend == 'paddle':
        import paddle

        return lambda model: paddle.optimizer.SGD(1.0, parameters=model.parameters())
    import keras

    return lambda model: keras.optimizers.SGD(1.0)


@pytest.mark.parametrize(
    ('data', 'arguments'),
    [
        (clusters, {'batch_size': 20, 'num_items_per_class': 4, 'mini_batch_size': 7}),  # 6, 7 and 7
        (clusters, {'batch_size': 20, 'mini_batch_size': 9, 'loss': 'ArcFaceLoss'}),
        (clusters, {'batch_size': 20, 'mini_batch_size': 10, 'loss': 'TripletLoss', 'miner': 'TripletEasyHardMiner'}),
        (triples, {'batch_size': 7, 'mini_batch_size': 4}),
        (clusters, {'batch_size': 20, 'mini_batch_size': 10, 'loss': 'CrossBatchMemory',
                    'loss_options': {'loss': 'NTXentLoss', 'memory_size': 48}}),
    ],
    ids=['labels', 'learned', 'mined', 'hard negatives', 'memory'],
)  # fmt: skip
def test_chunks_teach_what_the_whole_batch_teaches(backend, data, arguments):
    whole = trained(mlp(backend), data(), **arguments | {'mini_batch_size': None})
    chunked = trained(mlp(backend), data(), **arguments)
    for a, b in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_models_of_a_dict_and_of_a_list(backend):
    def tokens(items):
        return {'ids': np.stack(items), 'mask': np.stack(items) > 0}

    def both(items):
        return [np.stack(items), np.stack(items)[:, ::-1] ** 2]

    ids, labels = np.random.default_rng(0).integers(0, 50, (40, 6)), clusters()[1]
    x = clusters()[0]
    arguments = {'batch_size': 20, 'num_items_per_class': 4, 'configure_optimizer': sgd(backend)}
    for make, data, collate_fn in ((two_inputs, ids, tokens), (two_arguments, x, both)):
        first, second = make(backend), make(backend)
        finetuner.embed(first, data, collate_fn=collate_fn), finetuner.embed(second, data, collate_fn=collate_fn)
        encoder(second).assign(encoder(first).weights())
        whole = trained(first, (data, labels), collate_fn=collate_fn, **arguments)
        chunked = trained(second, (data, labels), collate_fn=collate_fn, mini_batch_size=10, **arguments)
        for a, b in zip(whole, chunked, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_dropout_is_the_same_in_both_passes(backend):
    class Measures(Callback):
        """The slope of a step along itself, by central differences of the chunked forward."""

        def on_fit_begin(self, tuner):
            coder, layout = tuner.encoder, tuner.loader.layout
            inputs, codes = next(tuner.loader.epoch(0))
            before = coder.weights()

            def value(weights):
                coder.assign(weights)
                embeddings = []
                for number, (_, part) in enumerate(chunks(inputs, layout.items, tuner.mini_batch_size)):
                    tuner.reseed_chunk(number)
                    embeddings.append(tuner.ops.to_numpy(tuner.ops.asarray(tuner.forward(part))))
                return float(tuner.objective(np.concatenate(embeddings).astype(float), codes, layout))

            self.loss, after, self.expected = float(tuner.step_in_chunks(inputs, codes)), coder.weights(), value(before)
            trained = {name for name in before if not any(word in name for word in ('mean', 'var', 'batches'))}
            slope = {name: before[name] - after[name] for name in trained}
            self.length = sum(float((value.astype(float) ** 2).sum()) for value in slope.values())
            step = 1e-3 / np.sqrt(self.length)
            ahead, behind = (
                value(before | {name: before[name] + sign * step * slope[name] for name in trained}) for sign in (1, -1)
            )
            self.along = (ahead - behind) / (2 * step)
            tuner.stop_training = True

    measures = Measures()
    finetuner.fit(
        mlp(backend, noisy=True), clusters(), epochs=1, batch_size=40, mini_batch_size=15,
        loss='InfoNCELoss', loss_options={'temperature': 1.0}, configure_optimizer=sgd(backend), callbacks=[measures],
    )  # fmt: skip
    assert measures.loss == pytest.approx(measures.expected, rel=1e-5)
    assert measures.along == pytest.approx(measures.length, rel=1e-2)


def test_statistics_are_counted_once_per_chunk(backend):
    class Batch(Callback):
        def on_fit_begin(self, tuner):
            self.inputs, _ = next(tuner.loader.epoch(0))

    batch, model = Batch(), mlp(backend, noisy=True)
    kernel, bias = [value for value in encoder(model).weights().values() if value.size in (640, 64)][:2]
    kernel = kernel.T if kernel.shape == (64, 10) else kernel
    finetuner.fit(model, clusters(), epochs=1, batch_size=40, mini_batch_size=15, learning_rate=1e-9, callbacks=[batch])
    hidden = np.maximum(batch.inputs @ kernel + bias, 0)
    expected = np.zeros(64)
    for _, part in chunks(hidden, 40, 15):
        expected = 0.9 * expected + 0.1 * part.mean(0)
    mean = next(value for name, value in encoder(model).weights().items() if 'mean' in name)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)


def test_statistics_are_as_before_where_a_chunk_fails(backend):
    class Begins(Callback):
        def on_fit_begin(self, tuner):
            self.weights = {name: value.copy() for name, value in tuner.encoder.weights().items()}
            inputs, _ = next(tuner.loader.epoch(0))
            with pytest.raises(KeyboardInterrupt), tuner.statistics_kept():
                for _, part in chunks(inputs, 40, 15):
                    tuner.forward(part)
                    self.moved = {name: value.copy() for name, value in tuner.encoder.weights().items()}
                raise KeyboardInterrupt
            self.after = {name: value.copy() for name, value in tuner.encoder.weights().items()}

    begins = Begins()
    finetuner.fit(mlp(backend, noisy=True), clusters(), epochs=1, batch_size=40, mini_batch_size=15, callbacks=[begins])
    assert any(np.abs(value - begins.weights[name]).max() > 1e-3 for name, value in begins.moved.items())
    for name, value in begins.weights.items():
        np.testing.assert_array_equal(begins.after[name], value, err_msg=name)


def test_interrupted_and_resumed(backend, tmp_path):
    arguments = {'epochs': 2, 'batch_size': 20, 'mini_batch_size': 5, 'num_items_per_class': 4, 'loss': 'ArcFaceLoss'}
    whole = finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments)
    saving = [Presses(), TrainingCheckpoint(save_dir=tmp_path)]
    finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments, callbacks=saving)
    resumed = finetuner.fit(mlp(backend, noisy=True, seed=7), clusters(), **arguments, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


def test_what_began_whole_goes_on_in_chunks(backend, tmp_path):
    arguments = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'loss': 'ArcFaceLoss'}
    whole = finetuner.fit(mlp(backend), clusters(), **arguments)
    saving = [Presses(), TrainingCheckpoint(save_dir=tmp_path)]
    finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=saving)
    resumed = finetuner.fit(mlp(backend, seed=7), clusters(), **arguments, mini_batch_size=10, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_allclose(encoder(resumed).weights()[name], value, atol=1e-5, err_msg=name)


@pytest.mark.backends('torch')
def test_callbacks_are_told_of_batches_and_not_of_chunks():
    calls = []
    for size in (None, 3):
        recorder = Recorder()
        finetuner.fit(
            mlp('torch'), clusters(4, 4), clusters(4, 4), epochs=2, batch_size=8, num_items_per_class=4,
            mini_batch_size=size, callbacks=[recorder],
        )  # fmt: skip
        calls.append(recorder.calls)
    assert calls[0] == calls[1]


@pytest.mark.backends('torch')
def test_the_model_never_sees_more_than_a_chunk():
    model, lengths = mlp('torch'), []
    model.register_forward_hook(lambda module, inputs, output: lengths.append(len(output)))
    arguments = {'batch_size': 20, 'epochs': 1, 'return_history': True}
    _, history = finetuner.fit(model, clusters(), clusters(seed=2), mini_batch_size=7, **arguments)
    # 4: whether it is a classifier is seen on a few items; 40: retrieval has batches of its own.
    assert set(lengths) == {4, 5, 6, 7}
    _, whole = finetuner.fit(mlp('torch'), clusters(), clusters(seed=2), **arguments)
    assert history.epochs[0]['val_loss'] == pytest.approx(whole.epochs[0]['val_loss'], rel=1e-5)


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
def test_keras_regularisation_and_scaled_losses_and_unused_weights(backend):
    import keras

    def make():
        keras.utils.set_random_seed(0)

        class Model(keras.Model):
            def __init__(self):
                super().__init__()
                options = {'kernel_regularizer': 'l2', 'activity_regularizer': keras.regularizers.L2(0.1)}
                self.layer, self.unused = keras.layers.Dense(8, **options), keras.layers.Dense(8)
                self.unused.build((None, 10))

            def call(self, inputs):
                return self.layer(inputs)

        model = Model()
        model(np.zeros((1, 10), 'float32'))
        return model

    first, second = copies(make)
    arguments = {
        'batch_size': 20,
        'num_items_per_class': 4,
        'configure_optimizer': lambda model: keras.optimizers.AdamW(0.01, weight_decay=0.1, loss_scale_factor=8.0),
    }
    *whole, _ = trained(first, clusters(), **arguments)
    *chunked, _ = trained(second, clusters(), mini_batch_size=7, **arguments)
    for a, b in zip(whole, chunked, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


@pytest.mark.backends('torch', 'paddle', 'keras-torch')
def test_batch_norm_is_warned_of_once(backend, log):
    arguments = {'epochs': 1, 'batch_size': 20, 'mini_batch_size': 7}
    for noisy in (False, True):
        finetuner.fit(mlp(backend, noisy=noisy), clusters(), **arguments)
    (warning,) = (record.getMessage() for record in log.records if record.levelname == 'WARNING')
    assert "The model has 'BatchNorm" in warning


@pytest.mark.backends('torch')
@pytest.mark.parametrize('size', [0, -1, True, 2.5, '7'])
def test_sizes_that_are_none(size):
    with pytest.raises(ArgumentError, match='mini_batch_size=.*expected a whole number of at least 1'):
        finetuner.fit(mlp('torch'), clusters(), mini_batch_size=size)


@pytest.mark.backends('torch')
def test_a_size_that_is_no_part_of_the_batch():
    with pytest.raises(ArgumentError, match='mini_batch_size=20, and a batch has no more than 20 items'):
        finetuner.fit(mlp('torch'), clusters(), batch_size=20, mini_batch_size=20)
    # A batch that is small because the data are needs no chunks.
    finetuner.fit(mlp('torch'), clusters(2, 4), epochs=1, mini_batch_size=32)
