"""The values and slopes of the libraries whose names the losses bear, with torch."""

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from tests.gradients import value_and_grad
from tests.losses import cases
from tests.losses.peers import FEW, NEAR, compare

pytestmark = pytest.mark.backends('torch')


@pytest.fixture
def peer():
    for part in ('losses', 'miners', 'reducers'):
        pytest.importorskip(f'pytorch_metric_learning.{part}')
    return pytest.importorskip('pytorch_metric_learning')


@pytest.mark.parametrize('temperature', [0.07, 0.5])
@pytest.mark.parametrize('name', ['InfoNCELoss', 'NTXentLoss'])
def test_ntxent(peer, name, temperature):
    compare(get(name, temperature=temperature), peer.losses.NTXentLoss(temperature))


@pytest.mark.parametrize('margin', [0.05, 0.3])
def test_triplet_margin(peer, margin):
    compare(get('TripletMarginLoss', margin=margin), peer.losses.TripletMarginLoss(margin))


@pytest.mark.parametrize(('reducer', 'theirs'), [('mean', 'MeanReducer'), ('sum', 'SumReducer')])
def test_reducers(peer, reducer, theirs):
    reduce = getattr(peer.reducers, theirs, None)
    if reduce is None:
        pytest.skip(f'this release has no {theirs}')
    compare(get('TripletMarginLoss', reducer=reducer), peer.losses.TripletMarginLoss(reducer=reduce()))


@pytest.mark.parametrize('margins', [(0.0, 1.0), (0.4, 1.3)])
def test_contrastive(peer, margins):
    compare(get('ContrastiveLoss', pos_margin=margins[0], neg_margin=margins[1]), peer.losses.ContrastiveLoss(*margins))


def test_multi_similarity(peer):
    compare(get('MultiSimilarityLoss'), peer.losses.MultiSimilarityLoss())


@pytest.mark.parametrize('options', [{}, {'margin': 10.0, 'scale': 8.0}])
def test_arcface(peer, options):
    compare(get('ArcFaceLoss', **options), peer.losses.ArcFaceLoss(9, 16, **options), weights=[cases.vectors(9, 16, 4)])


def test_defaults_are_theirs(peer):
    for name, attributes in {
        'ContrastiveLoss': ('pos_margin', 'neg_margin'),
        'MultiSimilarityLoss': ('alpha', 'beta', 'base'),
        'TripletMarginLoss': ('margin',),
    }.items():
        for attribute in attributes:
            assert getattr(get(name), attribute) == getattr(getattr(peer.losses, name)(), attribute)
    assert get('InfoNCELoss').temperature == peer.losses.NTXentLoss().temperature
    arcface = peer.losses.ArcFaceLoss(9, 16)
    assert np.radians(get('ArcFaceLoss').margin) == pytest.approx(arcface.margin)
    assert get('ArcFaceLoss').scale == arcface.scale
    miner = peer.miners.TripletMarginMiner()
    assert TripletMarginMiner(miner.margin, miner.type_of_triplets) == TripletMarginMiner()


@pytest.mark.parametrize('kind', ['all', 'hard', 'semihard', 'easy'])
@pytest.mark.parametrize(
    ('name', 'options', 'theirs'),
    [
        ('TripletMarginLoss', {'margin': 0.5}, lambda losses: losses.TripletMarginLoss(0.5)),
        ('ContrastiveLoss', {}, lambda losses: losses.ContrastiveLoss()),
        ('InfoNCELoss', {}, lambda losses: losses.NTXentLoss()),
        ('MultiSimilarityLoss', {}, lambda losses: losses.MultiSimilarityLoss()),
    ],
)
def test_mined_triplets(peer, kind, name, options, theirs):
    compare(
        get(name, **options),
        theirs(peer.losses),
        TripletMarginMiner(0.2, kind, distance='euclidean'),
        peer.miners.TripletMarginMiner(0.2, kind),
        labels=FEW,
    )


@pytest.mark.parametrize('scale', [20.0, 5.0])
def test_cosent_is_that_of_sentence_transformers(scale):
    losses = pytest.importorskip('sentence_transformers.losses')
    import torch

    a, b = cases.vectors(12), cases.vectors(12, seed=1)
    scores = torch.tensor(np.random.default_rng(2).integers(0, 4, 12) / 3, dtype=torch.float32)
    ours, theirs = get('CoSENTLoss', scale=scale, normalize=False), losses.CoSENTLoss(None, scale=scale)
    value, slopes = value_and_grad('torch', lambda a, b: ours(a, b, scores), a, b)
    expected, right = value_and_grad('torch', lambda a, b: theirs.compute_loss_from_embeddings([a, b], scores), a, b)
    assert value == pytest.approx(expected, rel=NEAR)
    for found, slope in zip(slopes, right, strict=True):
        assert np.abs(found - slope).max() <= NEAR * np.abs(slope).max()
