"""Triplet losses, and those of pairs of two classes, beside the libraries whose names they bear, with torch."""

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.relation import Relation
from tests.gradients import value_and_grad
from tests.losses import cases
from tests.losses.peers import FEW, NEAR, compare

pytestmark = pytest.mark.backends('torch')

# Every label twice or more: where an anchor has no positive, theirs takes itself for one.
PAIRED = np.repeat(np.arange(6), [2, 3, 4, 5, 2, 8])


@pytest.fixture
def peer():
    for part in ('losses', 'miners'):
        pytest.importorskip(f'pytorch_metric_learning.{part}')
    return pytest.importorskip('pytorch_metric_learning')


@pytest.fixture
def sentences():
    return pytest.importorskip('sentence_transformers.losses')


@pytest.mark.parametrize(
    'options',
    [{'swap': True}, {'smooth_loss': True}, {'swap': True, 'smooth_loss': True, 'margin': 0.4}],
)
def test_triplet_margin(peer, options):
    compare(get('TripletMarginLoss', **options), peer.losses.TripletMarginLoss(**options), labels=FEW)


# Theirs keeps beta in float32, and sums the slopes of beta there with as many roundings as there are triplets.
BETA = 1.25
FEWER = np.repeat(np.arange(5), [1, 2, 2, 3, 3])


@pytest.mark.parametrize('options', [{'beta': BETA}, {'margin': 0.4, 'beta': 1.0}])
@pytest.mark.parametrize('labels', [None, FEW])
def test_margin(peer, options, labels):
    chosen = {} if labels is None else {'labels': labels}
    compare(get('MarginLoss', **options), peer.losses.MarginLoss(**options), **chosen)


@pytest.mark.parametrize('kind', ['semihard', 'hard'])
def test_margin_of_mined_triplets(peer, kind):
    compare(
        get('MarginLoss', beta=BETA),
        peer.losses.MarginLoss(beta=BETA),
        TripletMarginMiner(0.2, kind),
        peer.miners.TripletMarginMiner(0.2, kind),
        labels=FEW,
    )


@pytest.mark.parametrize('classes', [None, 5])
def test_learned_margin(peer, classes):
    beta = (1.0 + 0.1 * cases.vectors(classes or 1, 1)[:, 0]).astype(np.float32)
    compare(
        get('MarginLoss', nu=0.2, learn_beta=True, beta_per_class=classes is not None),
        peer.losses.MarginLoss(nu=0.2, learn_beta=True, num_classes=classes),
        weights=[beta],
        labels=FEWER,
        named=lambda w: {'beta': w[0]},
    )


@pytest.mark.parametrize('alpha', [40, 55])
def test_angular(peer, alpha):
    import torch

    class OfDirections(torch.nn.Module):  # theirs takes negatives as long as they are
        def __init__(self):
            super().__init__()
            self.loss = peer.losses.AngularLoss(alpha)

        def forward(self, x, labels, chosen):
            return self.loss(torch.nn.functional.normalize(x), labels, chosen)

    compare(get('AngularLoss', alpha=alpha), OfDirections(), labels=FEW)


def test_npairs(peer):
    compare(get('NPairsLoss'), peer.losses.NPairsLoss())


@pytest.mark.parametrize('scale', [1, 8])
def test_nca(peer, scale):
    compare(get('NCALoss', softmax_scale=scale), peer.losses.NCALoss(scale))


def test_defaults_are_theirs(peer):
    for name, attributes in {
        'TripletMarginLoss': ('margin', 'swap', 'smooth_loss'),
        'MarginLoss': ('margin', 'nu', 'beta', 'learn_beta'),
        'NCALoss': ('softmax_scale',),
    }.items():
        for attribute in attributes:
            assert getattr(get(name), attribute) == getattr(getattr(peer.losses, name)(), attribute)
    assert np.radians(get('AngularLoss').alpha) == pytest.approx(float(peer.losses.AngularLoss().alpha))


def test_defaults_are_those_of_sentence_transformers(sentences):
    for name in ('BatchAllTripletLoss', 'BatchHardTripletLoss'):
        assert get(name).margin == getattr(sentences, name)(None).triplet_margin
    assert get('BatchSemiHardTripletLoss').margin == sentences.BatchSemiHardTripletLoss(None).margin
    assert get('OnlineContrastiveLoss').margin == sentences.OnlineContrastiveLoss(None).margin


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('BatchAllTripletLoss', {}),
        ('BatchAllTripletLoss', {'margin': 0.3}),
        ('BatchHardTripletLoss', {}),
        ('BatchHardTripletLoss', {'margin': 0.3}),
        ('BatchHardSoftMarginTripletLoss', {}),
        ('BatchSemiHardTripletLoss', {}),
        ('BatchSemiHardTripletLoss', {'margin': 0.3}),
    ],
)
def test_batches_of_triplets(sentences, name, options):
    import torch

    class Theirs(torch.nn.Module):
        def forward(self, x, labels, chosen):
            loss = getattr(sentences, name)(None, **options)
            return loss.compute_loss_from_embeddings([x], labels)

    compare(get(name, **options), Theirs(), labels=PAIRED)


@pytest.mark.parametrize('labels', [(1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0), (1,) * 12, (0,) * 12])
@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (get('OnlineContrastiveLoss'), 'OnlineContrastiveLoss'),
        (get('SiameseLoss', margin=0.5, squared=True), 'ContrastiveLoss'),
    ],
)
def test_given_pairs(sentences, ours, theirs, labels):
    import torch

    a = cases.vectors(12)
    b = a + cases.vectors(12, seed=1)
    y = torch.tensor(labels)
    own = torch.eye(12, dtype=torch.bool)
    relation = Relation(own & (y == 1), own & (y == 0), 1)
    other = getattr(sentences, theirs)(None)
    value, slopes = value_and_grad('torch', lambda a, b: ours(a, b, relation), a, b)
    expected, right = value_and_grad('torch', lambda a, b: other.compute_loss_from_embeddings([a, b], y), a, b)
    assert expected > 0
    assert value == pytest.approx(expected, rel=NEAR)
    for found, slope in zip(slopes, right, strict=True):
        assert np.abs(found - slope).max() <= 3 * NEAR * np.abs(slope).max()
