"""A positive and a negative per anchor by strategy: against loops over the rows, with many ties."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.miners import BatchEasyHardMiner, BatchHardMiner
from tests.losses import oracles
from tests.losses.miners.settings import EVERY_BATCH, pairs_of, relate, whole_distances
from tests.losses.miners.test_easyhard import STRATEGIES

RANGES = [(None, None), ((1.0, 3.0), None), (None, (2.0, 4.0)), ([0, 2], [1, 2])]


def expected(d, batch, near, far, ranges):
    masks = [batch.positives, batch.negatives]
    for side, limits in enumerate(ranges):
        if limits is not None:
            masks[side] = masks[side] & np.array([[limits[0] <= x <= limits[1] for x in row] for row in d])
    chosen = oracles.easyhard(d, *masks, near, far)
    masks = np.zeros_like(masks[0]), np.zeros_like(masks[0])
    for a, (ps, ns) in chosen.items():
        if (ps and ns) or 'all' in (near, far):
            masks[0][a, ps], masks[1][a, ns] = True, True
    return masks


@pytest.mark.parametrize(('near', 'far'), STRATEGIES)
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_pairs(library, near, far, batch):
    batch = batch()
    d = whole_distances(batch)
    for ranges in RANGES:
        miner = BatchEasyHardMiner(near, far, *ranges)
        mined = miner(library.native(d), relate(library, batch))
        masks = expected(d, batch, near, far, ranges)
        assert mined.pairs().tolist() == pairs_of(*masks)
        assert mined.most >= masks[0].sum(axis=1).max()
        assert near == 'all' or mined.most == 1


@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_batch_hard(library, batch):
    batch = batch()
    d = whole_distances(batch)
    mined = BatchHardMiner()(library.native(d), relate(library, batch))
    chosen = oracles.easyhard(d, batch.positives, batch.negatives, 'hard', 'hard')
    assert mined.triplets().tolist() == [[a, *ps, *ns] for a, (ps, ns) in chosen.items() if ps and ns]


@pytest.mark.parametrize('limits', [(1.0,), (2.0, 1.0), 0.5, (float('nan'), 1.0)])
def test_a_range_has_two_ends(limits):
    with pytest.raises(ArgumentError, match=r'allowed_neg_range=.*two distances'):
        BatchEasyHardMiner(allowed_neg_range=limits)


def test_a_range_from_a_list_is_hashable():
    assert hash(BatchEasyHardMiner(allowed_pos_range=[0, 1])) == hash(BatchEasyHardMiner(allowed_pos_range=(0.0, 1.0)))


def test_unknown_options_suggest_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'semihard'"):
        BatchEasyHardMiner(neg_strategy='semi-hard')
    with pytest.raises(ArgumentError, match="take 'hard' or 'easy'"):
        BatchEasyHardMiner('semihard', 'semihard')
    for miner in (BatchEasyHardMiner, BatchHardMiner):
        with pytest.raises(ArgumentError, match="Did you mean 'cosine'"):
            miner(distance='cosin')
