"""Pairs on the wrong side of a margin: against loops over all of them."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.miners import PairMarginMiner
from tests.losses.miners.settings import EVERY_BATCH, pairs_of, relate, whole_distances


@pytest.mark.parametrize(('near', 'far'), [(0.2, 0.8), (2.0, 3.0), (-1.0, 9.0)])
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_pairs(library, near, far, batch):
    batch = batch()
    d = whole_distances(batch)
    mined = PairMarginMiner(near, far)(library.native(d), relate(library, batch))
    positives = [[batch.positives[a, p] and d[a, p] > near for p in range(d.shape[1])] for a in range(len(d))]
    negatives = [[batch.negatives[a, n] and d[a, n] < far for n in range(d.shape[1])] for a in range(len(d))]
    assert mined.pairs().tolist() == pairs_of(np.array(positives), np.array(negatives))


def test_unknown_distance_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'euclidean'"):
        PairMarginMiner(distance='euclid')
