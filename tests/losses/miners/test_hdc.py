"""The hardest pairs of a batch: against a sort of all of them."""

import math
from fractions import Fraction

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.miners import HDCMiner
from tests.losses.miners.settings import EVERY_BATCH, pairs_of, relate, whole_distances


def hardest(d, mask, share, sign):
    pairs = [(int(a), int(c)) for a, c in np.argwhere(mask)]
    pairs.sort(key=lambda pair: sign * d[pair])  # stable: of equals the first rows
    kept = np.zeros_like(mask)
    for pair in pairs[: math.ceil(Fraction(str(share)) * len(pairs))]:
        kept[pair] = True
    return kept


@pytest.mark.parametrize('share', [0.5, 0.1, 0.37, 1.0, 1e-6])
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_pairs(library, share, batch):
    batch = batch()
    d = whole_distances(batch)
    mined = HDCMiner(share)(library.native(d), relate(library, batch))
    masks = hardest(d, batch.positives, share, -1), hardest(d, batch.negatives, share, 1)
    assert mined.pairs().tolist() == pairs_of(*masks)


def test_without_pairs_it_keeps_none(library):
    batch = EVERY_BATCH[0]()
    batch = batch._replace(positives=np.zeros_like(batch.positives))
    mined = HDCMiner()(library.native(whole_distances(batch)), relate(library, batch))
    assert mined.pairs()[:, 2].tolist() == [0] * math.ceil(batch.negatives.sum() / 2)


@pytest.mark.parametrize('share', [0.0, -0.5, 1.5, float('nan')])
def test_a_share_is_no_other_number(share):
    with pytest.raises(ArgumentError, match='filter_percentage must be a finite number above 0 and at most 1'):
        HDCMiner(share)
