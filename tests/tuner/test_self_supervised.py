"""Items without labels teach by two views of each, on every framework alike."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback, EvaluationCallback, TrainingCheckpoint
from finetuner.data.augmentation import ImageAugmentation, PointAugmentation
from finetuner.data.samples import digits
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, cnn, mlp

VECTORS = clusters()[0]
QUICK = ('torch', 'keras-tensorflow', 'paddle')  # for what is the same code on the others, which take long to begin


def noisy(x):
    return x + np.random.normal(0, 0.3, x.shape).astype(np.float32)


def pull(anchors, candidates, relation):
    """How far the two views of an item are apart."""
    from finetuner.losses.distances import sqeuclidean
    from finetuner.losses.reduce import reduce

    return reduce(sqeuclidean(anchors, candidates), relation.positives, 'mean')


def test_digits_without_labels_are_found_better(backend):
    images, labels = digits()
    model = cnn(backend, (1, 16, 32), dim=32, side=8)
    judged = images[1000:1400], labels[1000:1400]
    before = finetuner.evaluate(model, judged, metrics=['map_at_r'])['map_at_r']
    views = ImageAugmentation(scale=(0.5, 1), flip=0)
    finetuner.fit(model, images[:600], augmentation=views, epochs=3, learning_rate=3e-3)
    after = finetuner.evaluate(model, judged, metrics=['map_at_r'])['map_at_r']
    assert after > before + 0.1


def test_clouds_are_changed_unasked(backend):
    class Notes(Callback):
        def on_fit_begin(self, tuner):
            self.seen = tuner.loader.dataset.augmentation

    clouds, notes = list(np.random.default_rng(0).standard_normal((32, 16, 3)).astype(np.float32)), Notes()
    arguments = {'epochs': 8, 'loss': pull, 'learning_rate': 3e-2, 'callbacks': [notes], 'return_history': True}
    model = mlp(backend, (48, 8))
    _, history = finetuner.fit(model, clouds, collate_fn=lambda batch: np.stack(batch).reshape(-1, 48), **arguments)
    assert notes.seen == PointAugmentation()
    losses = [epoch['train_loss'] for epoch in history.epochs]
    assert losses[0] > 0.1 and losses[-1] < losses[0]


@pytest.mark.parametrize('mini_batch_size', [None, pytest.param(6, marks=pytest.mark.backends(*QUICK))])
def test_the_two_views_of_an_item_get_other_dropout(backend, mini_batch_size):
    arguments = {'epochs': 1, 'batch_size': 16, 'learning_rate': 1e-9, 'return_history': True, 'loss': pull}
    arguments['mini_batch_size'] = mini_batch_size
    _, history = finetuner.fit(mlp(backend, noisy=True), list(VECTORS), **arguments)
    assert history.epochs[0]['train_loss'] > 0.1
    equal = finetuner.fit(mlp(backend), list(VECTORS), augmentation=False, **arguments)[1]
    assert equal.epochs[0]['train_loss'] < 1e-4


def test_a_model_without_dropout_is_told_that_its_views_are_equal(backend):
    model = mlp(backend)
    before = encoder(model).weights()
    for how in ({}, {'preprocess_fn': np.abs}, {'augmentation': 'dropout'}, {'mini_batch_size': 8, 'batch_size': 16}):
        with pytest.raises(ArgumentError, match=r'two views of an item are equal.*augmentation=lambda x: x \+ np'):
            finetuner.fit(model, list(VECTORS), epochs=1, **how)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_look_at_the_dropout_leaves_no_trace(backend):
    class Begins(Callback):
        def on_train_batch_begin(self, tuner):
            self.weights = tuner.encoder.weights()
            tuner.stop_training = True

    begins = Begins()
    model = mlp(backend, noisy=True)
    before = encoder(model).weights()
    finetuner.fit(model, list(VECTORS), epochs=1, batch_size=80, callbacks=[begins])
    for name, value in before.items():
        np.testing.assert_array_equal(begins.weights[name], value, err_msg=name)


def test_views_survive_a_resume_and_workers(backend, tmp_path):
    class Presses(Callback):
        def on_train_batch_end(self, tuner):
            if tuner.state.step == 7:
                raise KeyboardInterrupt

    arguments = {'epochs': 2, 'batch_size': 16, 'augmentation': noisy}
    whole = finetuner.fit(mlp(backend, noisy=True), list(VECTORS), **arguments)
    saving = TrainingCheckpoint(save_dir=tmp_path)
    finetuner.fit(mlp(backend, noisy=True), list(VECTORS), **arguments, callbacks=[Presses(), saving])
    with pytest.raises(CheckpointError, match=r'with augmentation=noisy, this one has augmentation=None'):
        finetuner.fit(mlp(backend, noisy=True), list(VECTORS), **arguments | {'augmentation': False}, resume=tmp_path)
    resumed = mlp(backend, noisy=True, seed=7)
    finetuner.fit(resumed, list(VECTORS), **arguments, resume=tmp_path, num_workers=2)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


class Prepared:
    """Is preprocess_fn and changes items beyond recognition; its still form only notes."""

    def __init__(self):
        self.calls = []

    def __call__(self, x):
        self.calls.append('drawn')
        return x + np.random.normal(0, 1e3, x.shape).astype(np.float32)

    def still(self, x):
        self.calls.append('still')
        return x


@pytest.mark.backends(*QUICK)
def test_what_is_measured_is_not_augmented(backend):
    vectors, labels = clusters()
    model = mlp(backend)
    untouched = finetuner.evaluate(model, (vectors, labels))['map_at_r']
    prepared = Prepared()
    for how in ({'augmentation': lambda x: 1e3 * noisy(x)}, {'preprocess_fn': prepared}):
        arguments = {'epochs': 1, 'learning_rate': 1e-9, 'return_history': True, 'callbacks': [_judge(labels)]}
        _, history = finetuner.fit(model, (vectors, labels), (vectors, labels), **how, **arguments)
        assert history.before['unseen/map_at_r'] == pytest.approx(untouched, abs=1e-6)
        assert history.epochs[0]['unseen/map_at_r'] == pytest.approx(untouched, abs=1e-3)
        plain = finetuner.fit(model, (vectors, labels), (vectors, labels), **arguments)[1]
        assert history.epochs[0]['val_loss'] == pytest.approx(plain.epochs[0]['val_loss'], rel=1e-3)
        assert history.epochs[0]['train_loss'] != pytest.approx(plain.epochs[0]['train_loss'], rel=1e-2)
    assert 'drawn' in prepared.calls and 'still' in prepared.calls


def _judge(labels):
    return EvaluationCallback((VECTORS, labels), metrics=['map_at_r'], name='unseen', show=False)


@pytest.mark.backends(*QUICK)
def test_the_loss_on_unseen_items_is_that_of_views_which_stay_the_same(backend):
    arguments = {'epochs': 2, 'learning_rate': 1e-9, 'return_history': True, 'batch_size': 80}
    unseen = list(clusters(seed=2)[0])
    model = mlp(backend)
    losses = finetuner.fit(model, list(VECTORS), unseen, augmentation=noisy, **arguments)[1].epochs
    assert losses[0]['val_loss'] == pytest.approx(losses[1]['val_loss'], rel=1e-4)
    assert losses[0]['train_loss'] != pytest.approx(losses[1]['train_loss'], rel=1e-3)  # other views
    equal = finetuner.fit(model, list(VECTORS), unseen, augmentation=False, **arguments)[1].epochs
    assert losses[0]['val_loss'] > equal[0]['val_loss'] + 0.01
    dropout = finetuner.fit(mlp(backend, noisy=True), list(VECTORS), unseen, **arguments)[1].epochs
    assert 'val_loss' not in dropout[0]


@pytest.mark.backends('torch')
@pytest.mark.parametrize(('augmentation', 'rate'), [(None, 1e-5), (noisy, 1e-4)])
def test_a_transformer_is_tuned_gently_where_dropout_alone_makes_its_views(augmentation, rate):
    torch = pytest.importorskip('torch')

    class Rates(Callback):
        def on_fit_begin(self, tuner):
            self.seen = tuner.optimization.learning_rate

    rates = Rates()
    model = torch.nn.Sequential(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.nn.Flatten())
    items = list(np.random.default_rng(0).standard_normal((16, 4, 8)).astype(np.float32))
    finetuner.fit(model, items, augmentation=augmentation, epochs=1, callbacks=[rates])
    assert rates.seen == rate
