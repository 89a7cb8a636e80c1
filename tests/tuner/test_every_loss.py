"""Every loss makes the retrieval of digits that it was not trained on better: on PyTorch all, elsewhere a sample."""

import numpy as np
import pytest

import finetuner
from finetuner.data import samples
from finetuner.losses.names import LOSSES, find
from finetuner.losses.relation import Scores
from tests.models import mlp

SAMPLE = (
    'ArcFaceLoss',
    'CircleLoss',
    'CoSENTLoss',
    'ContrastiveLoss',
    'InfoNCELoss',
    'MultipleNegativesRankingLoss',
    'ProxyAnchorLoss',
    'SmoothAPLoss',
    'TripletMarginLoss',
    'VICRegLoss',
)
# What is a part of a loss, or needs longer.
OPTIONS = {
    'IntraPairVarianceLoss': {
        'loss': 'MultipleLosses',
        'loss_options': {'losses': ['TupletMarginLoss', 'IntraPairVarianceLoss'], 'weights': [1.0, 0.5]},
    },
    'LargeMarginSoftmaxLoss': {'epochs': 8},  # the slowest: its own class must win by a multiple of the angle
}


@pytest.fixture(scope='module')
def digits():
    images, labels = samples.digits()
    x = images.reshape(len(images), -1).astype(np.float32)
    return (x[:500], labels[:500]), (x[1000:1400], labels[1000:1400])


def data_for(name, x, y):
    """Labels, or rows with the scores that follow from them."""
    loss = find(name)
    if loss.expects is not Scores:
        return x, y
    chance = np.random.default_rng(0)
    rows = []
    for a in range(len(x)):
        near = chance.choice(np.flatnonzero(y == y[a]))
        far = chance.choice(np.flatnonzero(y != y[a]))
        if name == 'DistillKLDivLoss':
            rows.append((x[a], x[near], x[far], 4.0, 0.0))
        elif loss.columns == 3:
            rows.append((x[a], x[near], x[far], 4.0))
        else:
            rows += [(x[a], x[near], 1.0), (x[a], x[far], 0.0)]
    return rows


def better(backend, name, digits):
    (x, y), unseen = digits
    model = mlp(backend, (64, 64, 32))
    before = finetuner.evaluate(model, unseen)['map_at_r']
    options = {'loss': name, 'epochs': 4, **OPTIONS.get(name, {})}
    if find(name).guided:
        options['guide'] = np.eye(10, dtype=np.float32)[y]
    finetuner.fit(model, data_for(name, x, y), **options)
    after = finetuner.evaluate(model, unseen)['map_at_r']
    return before, after


@pytest.mark.backends('torch')
@pytest.mark.parametrize('name', LOSSES)
def test_every_loss(backend, name, digits):
    before, after = better(backend, name, digits)
    assert after > before + 0.01


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('name', SAMPLE)
def test_a_sample(backend, name, digits):
    before, after = better(backend, name, digits)
    assert after > before + 0.01
