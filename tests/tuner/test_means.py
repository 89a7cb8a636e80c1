"""Learned classes start from the mean directions of the untuned embeddings."""

import logging

import numpy as np
import pytest

import finetuner
from finetuner.data import samples
from finetuner.tuner import train
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.means import directions, sample
from tests.models import clusters, mlp

X, LABELS = clusters()


class Starts(Callback):
    """Keeps what the loss has learned before it learns."""

    def on_fit_begin(self, tuner):
        self.learned = tuner.learned()


@pytest.mark.parametrize('loss', ['ArcFaceLoss', 'ProxyAnchorLoss'])
def test_classes_start_as_means_on_every_framework(backend, loss):
    model, starting = mlp(backend, noisy=True), Starts()
    vectors = finetuner.embed(model, X)
    finetuner.fit(model, (X, LABELS), loss=loss, epochs=1, callbacks=[starting])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = np.stack([unit[label == LABELS].mean(0) for label in range(5)])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    (found,) = starting.learned.values()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.abs(found).sum(), 23.03052, rtol=1e-5)  # computed with PyTorch


def test_several_labels_and_items_without():
    vectors = np.array([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0], [1.0, 1.0]], np.float32)
    label = np.array([[0, -1], [0, 1], [1, -1], [-1, -1]], np.int32)
    root = np.sqrt(0.5)
    np.testing.assert_allclose(directions(vectors, label, 3), [[root, root], [0, 1], [0, 0]], atol=1e-7)


def test_a_sample_has_as_many_of_every_class_and_not_too_many():
    label = np.repeat([0, 1, 2], [1000, 50, 5])[:, None]

    def counts(places):
        return np.bincount(label[places, 0], minlength=3).tolist()

    assert counts(sample(label, seed=1)) == [32, 32, 5]
    assert counts(sample(label, seed=1, in_all=23)) == [9, 9, 5]
    assert counts(sample(label, seed=1, in_all=2))[0] <= 1
    np.testing.assert_array_equal(sample(label, seed=1), sample(label, seed=1))
    assert not np.array_equal(sample(label, seed=1), sample(label, seed=2))
    both = np.array([[0, 1], [1, -1], [-1, -1], [0, 1]])
    np.testing.assert_array_equal(sample(both, seed=1), [0, 1, 3])


@pytest.mark.backends('torch')
def test_means_are_a_better_start_than_noise(monkeypatch):
    images, labels = samples.digits()
    x = images.reshape(len(images), -1).astype(np.float32)

    def trained():
        model = mlp('torch', (64, 64, 32))
        _, history = finetuner.fit(
            model, (x[:500], labels[:500]), loss='ArcFaceLoss', epochs=2, return_history=True, guard=False
        )
        return history.epochs[0]['train_loss'], finetuner.evaluate(model, (x[1000:1400], labels[1000:1400]))['map_at_r']

    loss, found = trained()
    monkeypatch.setattr(train, 'class_means', lambda *_, **__: None)
    noise_loss, noise_found = trained()
    assert loss < 0.6 * noise_loss
    assert found > noise_found + 0.03


@pytest.mark.backends('torch')
def test_it_is_said_and_only_done_where_classes_are_learned(caplog):
    logger = logging.getLogger('finetuner')
    logger.addHandler(caplog.handler)
    try:
        finetuner.fit(mlp('torch'), (X, LABELS), loss='ArcFaceLoss', epochs=1)
        assert '5 classes start from the mean vectors of 40 items.' in caplog.text
        caplog.clear()
        finetuner.fit(mlp('torch'), (X, LABELS), epochs=1)
        assert 'start from' not in caplog.text
    finally:
        logger.removeHandler(caplog.handler)
