"""A loss that is not finite: the batch and its items are named, the first thing at fault, and the weights come back."""

import numpy as np
import pytest

import finetuner
from finetuner.dispatch import get_namespace, load
from finetuner.errors import TrainingError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.divergence import EVERY
from tests.models import clusters, framework, mlp


class Counts(Callback):
    """How many updates were told of, and the tuner."""

    count = 0

    def on_fit_begin(self, tuner):
        self.tuner = tuner

    def on_train_batch_end(self, tuner):
        self.count += 1


def diverged(backend, data, **arguments):
    """The error of a training, the loader of its data, and how many updates there were; the weights are checked."""
    counts, model = Counts(), mlp(backend)
    before = encoder(model).weights()
    with pytest.raises(TrainingError, match='cannot learn from epoch 1') as found:
        finetuner.fit(model, data, epochs=1, **{'batch_size': 8} | arguments, callbacks=[counts])
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    return found.value, counts.tuner.loader, counts.count


def holding(loader, name):
    """The number of the first batch with an item."""
    return next(number for number in range(len(loader)) if name in loader.names(0, number))


def poisoned(value, row=46):
    items, labels = clusters(5, 40)
    items[row] = value
    return items, labels


def test_what_the_model_makes_infinite_is_named(backend):
    error, loader, count = diverged(backend, poisoned(3e38))
    place = holding(loader, 'item 46')
    assert f'the loss of batch {place + 1} of {len(loader)} is ' in str(error)
    assert "Its inputs are finite, and the embeddings of 'item 46' are not" in str(error)
    assert list(error.items) == list(dict.fromkeys(loader.names(0, place)))
    assert count == place if backend.startswith('keras') else place <= count < place + EVERY


def test_an_input_that_is_not_finite_is_named(backend):
    asarray = load(framework(backend), 'ops').asarray  # of a tensor that comes as it is nothing is checked

    def collate(contents):
        return asarray(np.stack(contents))

    error, *_ = diverged(backend, poisoned(np.inf), collate_fn=collate)
    assert "The inputs of 'item 46' are not finite: correct" in str(error)


def test_a_loss_that_is_not_finite_is_named(backend):
    def loss(anchors, candidates, relation):
        xp = get_namespace(anchors)
        return xp.log(-xp.sum(xp.abs(anchors)))

    with pytest.raises(TrainingError, match=r'batch 1 of \d+ is nan. Its inputs and embeddings are finite, and the lo'):
        finetuner.fit(mlp(backend), clusters(), loss=loss, epochs=1, batch_size=8)


def test_a_learning_rate_that_is_too_large_is_named(backend):
    error, loader, _ = diverged(backend, clusters(5, 40), learning_rate=1e30, num_workers=1)
    assert 'With the weights from before the epoch it is finite; the update before it was by ' in str(error)
    assert 'Try a learning rate below ' in str(error)
    assert set(error.items) == set(loader.names(0, 1))
    assert f'the loss of batch 2 of {len(loader)}' in str(error)
