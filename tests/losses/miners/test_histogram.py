"""Pairs from bins of distances: against loops over the bins."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import UniformHistogramMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.miners.settings import EVERY_BATCH, memory, pairs_of, relate, whole_distances


def hit(d, mask, lots):
    """The mask of the pairs that (bins, draws) lots hit, bin by bin, each numbered row by row and then by distance."""
    kept = np.zeros_like(mask)
    pairs = [(int(a), int(c)) for a, c in np.argwhere(mask)]
    if not pairs:
        return kept
    values = [d[pair] for pair in pairs]
    edges = np.linspace(min(values), max(values), len(lots) + 1)
    for b, draws in enumerate(lots):
        last = b == len(lots) - 1
        held = [p for p in pairs if edges[b] <= d[p] and (last or d[p] < edges[b + 1])]
        held.sort(key=lambda pair: (pair[0], d[pair], pair[1]))
        for lot in draws:
            if held:
                kept[held[min(int(lot * np.float32(len(held))), len(held) - 1)]] = True
    return kept


def expected(d, batch, lots, bins, near, far):
    lots = lots.reshape(-1)
    middle = bins * near
    return pairs_of(
        hit(d, batch.positives, lots[:middle].reshape(bins, near)),
        hit(d, batch.negatives, lots[middle : middle + bins * far].reshape(bins, far)),
    )


@pytest.mark.parametrize('numbers', [(4, 2, 3), (1, 5, 1), (100, 10, 10), (3, 1, 4)])
@pytest.mark.parametrize('batch', [*EVERY_BATCH, cases.many])
def test_pairs(library, numbers, batch):
    batch = batch()
    miner = UniformHistogramMiner(*numbers)
    lots = np.random.default_rng(8).random((len(batch.positives), miner.lots(batch.layout)), np.float32)
    relation = relate(library, batch, lots=lots.shape[1])
    for d in (whole_distances(batch), np.random.default_rng(1).random(batch.positives.shape, np.float32)):
        mined = miner(library.native(d), relation)
        assert mined.pairs().tolist() == expected(d, batch, lots, *numbers)


@pytest.mark.parametrize('batch', [cases.classes, memory])
def test_equal_distances_are_one_bin(library, batch):
    batch = batch()
    d = np.full(batch.positives.shape, 0.7, np.float32)
    mined = UniformHistogramMiner(20, 2, 2)(library.native(d), relate(library, batch, lots=20)).pairs()
    assert 1 <= (mined[:, 2] == 1).sum() <= 2 and 1 <= (mined[:, 2] == 0).sum() <= 2


@pytest.mark.backends('numpy', 'torch')  # the others draw the same, see above
def test_all_bins_and_all_pairs_of_a_bin_are_as_likely(library):
    # One anchor with 12 negatives, nine in the first bin and one in each of the others.
    d = np.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.3, 0.6, 1.0], np.float32)[None]
    masks = np.zeros((1, 12), bool), np.ones((1, 12), bool)
    batch = cases.Batch(None, {}, cases.Layout(1), *masks)
    counts = np.zeros(12, int)
    generator = np.random.default_rng(0)
    for _ in range(200):
        lots = library.native(generator.random((1, 8), np.float32))
        mined = UniformHistogramMiner(4, 1, 1)(library.native(d), relate(library, batch)._replace(lots=lots))
        counts[mined.pairs()[:, 1]] += 1
    assert counts[9:].tolist() == [200] * 3
    assert counts[:9].sum() == 200
    assert ((counts[:9] - 200 / 9) ** 2 / (200 / 9)).sum() < 26  # one in a thousand is above


def test_loss(library):
    batch = cases.classes()
    d = oracles.distances(*batch.columns)
    lots = np.random.default_rng(0).random((11, 2), np.float32)
    kept = expected(d, batch, lots, 3, 2, 2)
    near, far = ([(a, c) for a, c, kind in kept if kind == one] for one in (1, 0))
    value = oracles.contrastive(d, oracles.Tuples(near, far, []))
    batch = batch._replace(codes={**batch.codes, 'lots': lots})
    objective = Objective(get('ContrastiveLoss'), UniformHistogramMiner(3, 2, 2))
    assert library.run(objective, batch)[0] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize('option', ['num_bins', 'pos_per_bin', 'neg_per_bin'])
def test_numbers_are_positive(option):
    for number in (0, 1.5, True):
        with pytest.raises(ArgumentError, match=f'{option} must be a whole number of at least 1'):
            UniformHistogramMiner(**{option: number})
