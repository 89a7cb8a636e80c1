"""What is chosen is what pytorch-metric-learning chooses, of those miners that do not draw."""

import numpy as np
import pytest

from finetuner.losses import base, miners
from finetuner.losses.names import get
from finetuner.losses.relation import Relation, same_class
from tests.losses import cases
from tests.losses.miners.test_easyhard import STRATEGIES
from tests.losses.peers import compare

pytestmark = pytest.mark.backends('torch')

LABELS = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 6, 2, 9])
# (name, options)
CASES = [
    *[('BatchEasyHardMiner', {'pos_strategy': near, 'neg_strategy': far}) for near, far in STRATEGIES],
    ('BatchEasyHardMiner', {}),
    ('BatchEasyHardMiner', {'allowed_pos_range': (0.9, 1.3), 'allowed_neg_range': (1.0, 1.5)}),
    ('BatchEasyHardMiner', {'pos_strategy': 'hard', 'neg_strategy': 'easy', 'allowed_neg_range': (0.2, 1.2)}),
    ('BatchHardMiner', {}),
    ('MultiSimilarityMiner', {}),
    ('MultiSimilarityMiner', {'epsilon': 0.3}),
    ('MultiSimilarityMiner', {'epsilon': -0.5}),
    ('MultiSimilarityMiner', {'epsilon': 0.2, 'distance': 'euclidean'}),
    ('PairMarginMiner', {}),
    ('PairMarginMiner', {'pos_margin': 1.1, 'neg_margin': 1.3}),
    ('HDCMiner', {}),
    ('HDCMiner', {'filter_percentage': 0.13}),
    ('AngularMiner', {}),
    ('AngularMiner', {'angle': 45}),
    ('TripletMarginMiner', {'type_of_triplets': 'semihard', 'distance': 'euclidean'}),
]


def vectors(labels, seed):
    """Of length 1, for some miners take them as they come; classes overlap."""
    x = cases.vectors(len(labels), 6, seed).astype(float) + cases.vectors(9, 6, seed=7)[labels]
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def theirs(name, options):
    from pytorch_metric_learning import distances, miners as their_miners

    own = dict(options)
    if own.pop('distance', None) == 'euclidean':
        own['distance'] = distances.LpDistance()
    return getattr(their_miners, name)(**own)


def chosen(found):
    """Their tuple of lists as a set: of triplets, or of pairs and whether they are positive."""
    found = [part.tolist() for part in found]
    if len(found) == 3:
        return set(zip(*found, strict=True))
    near, far = zip(*found[:2], strict=True), zip(*found[2:], strict=True)
    return {(*pair, 1) for pair in near} | {(*pair, 0) for pair in far}


def as_set(mined, triplets):
    return {tuple(row) for row in (mined.triplets() if triplets else mined.pairs()).tolist()}


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(('name', 'options'), CASES)
def test_within_a_batch(name, options, seed):
    import torch

    x = torch.tensor(vectors(LABELS, seed))
    found = theirs(name, options)(x, torch.tensor(LABELS))
    mined = base.mine(get(name, 'miner', **options), get('TripletMarginLoss'), x, x, same_class(LABELS, like=x))
    expected, ours = chosen(found), as_set(mined, len(found) == 3)
    if name == 'HDCMiner':  # of a pair and its mirror image at the border either may be taken
        assert sorted((*sorted(pair[:2]), pair[2]) for pair in ours) == sorted(
            (*sorted(pair[:2]), pair[2]) for pair in expected
        )
    else:
        assert ours == expected
    assert expected


@pytest.mark.parametrize(('name', 'options'), CASES)
def test_against_others(name, options):
    import torch

    other = np.array([0, 1, 1, 2, 3, 3, 3, 5, 5, 7, 7, 8, 8])
    a, b = torch.tensor(vectors(LABELS, 0)), torch.tensor(vectors(other, 4))
    found = theirs(name, options)(a, torch.tensor(LABELS), b, torch.tensor(other))
    same = torch.tensor(LABELS[:, None] == other)
    mined = base.mine(
        get(name, 'miner', **options),
        get('TripletMarginLoss'),
        a,
        b,
        Relation(same, ~same, int(same.sum(1).max())),
    )
    assert as_set(mined, len(found) == 3) == chosen(found)


def test_packaged_triplets():
    import torch

    labels = np.arange(10)
    x = torch.tensor(cases.vectors(10))
    found = theirs('EmbeddingsAlreadyPackagedAsTriplets', {})(x[:9], torch.tensor(labels[:9]))
    mined = miners.EmbeddingsAlreadyPackagedAsTriplets()(x @ x.T, same_class(labels, like=x))
    assert as_set(mined, True) == chosen(found)


@pytest.mark.parametrize(
    ('loss', 'their_loss', 'name', 'options'),
    [
        ('TripletMarginLoss', 'TripletMarginLoss', 'BatchHardMiner', {}),
        ('TripletMarginLoss', 'TripletMarginLoss', 'BatchEasyHardMiner', {}),
        ('TripletMarginLoss', 'TripletMarginLoss', 'HDCMiner', {'filter_percentage': 0.2}),
        ('ContrastiveLoss', 'ContrastiveLoss', 'PairMarginMiner', {'pos_margin': 1.0, 'neg_margin': 1.2}),
        ('ContrastiveLoss', 'ContrastiveLoss', 'BatchEasyHardMiner', {'pos_strategy': 'all', 'neg_strategy': 'hard'}),
        ('InfoNCELoss', 'NTXentLoss', 'MultiSimilarityMiner', {}),
        ('InfoNCELoss', 'NTXentLoss', 'BatchEasyHardMiner', {}),
    ],
)
def test_value_and_slope_of_a_loss(loss, their_loss, name, options):
    from pytorch_metric_learning import losses

    ours = get(name, 'miner', **options)
    compare(get(loss), getattr(losses, their_loss)(), ours, theirs(name, options), labels=LABELS)
