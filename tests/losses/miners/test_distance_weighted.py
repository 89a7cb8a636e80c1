"""Negatives by the rarity of their distance: against loops, and against the density they shall make up for."""

import math

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import DistanceWeightedMiner
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation
from tests.losses import cases, oracles
from tests.losses.miners.settings import EVERY_BATCH, relate


def weight(d, dim, cutoff=0.5, nonzero=1.4):
    d = max(d, cutoff)
    if d >= min(nonzero, 2):
        return 0.0
    return 1 / (d ** (dim - 2) * (1 - d * d / 4) ** ((dim - 3) / 2))


def drawn(d, batch, lots, dim, **cutoffs):
    """The triplets, one draw after the other."""
    found = []
    for a, row in enumerate(d):
        near, far = np.flatnonzero(batch.positives[a]), np.flatnonzero(batch.negatives[a])
        weights = [weight(row[n], dim, **cutoffs) for n in far]
        if not len(near) or not sum(weights):
            continue
        for t in range(min(len(near) + 1, lots.shape[1] // 2)):
            first, second = lots[a, 2 * t : 2 * t + 2].astype(float)
            upto, n = 0.0, -1
            while upto <= second * sum(weights):
                n += 1
                upto += weights[n]
            found.append([a, int(near[int(first * len(near))]), int(far[n])])
    return sorted(found)


def distances(batch, seed=1):
    return np.random.default_rng(seed).uniform(0, 2, batch.positives.shape).astype(np.float32)


@pytest.mark.parametrize('options', [{}, {'cutoff': 0.1}, {'nonzero_loss_cutoff': 2.5}, {'nonzero_loss_cutoff': 0.6}])
@pytest.mark.parametrize('batch', [*EVERY_BATCH, cases.many])
def test_triplets(library, options, batch):
    batch = batch()
    d = distances(batch)
    number = DistanceWeightedMiner().lots(batch.layout)
    relation = relate(library, batch, lots=number)
    lots = np.random.default_rng(8).random((len(d), number), np.float32)
    mined = DistanceWeightedMiner(dim=5, **options)(library.native(d), relation)
    cutoffs = {'cutoff': options.get('cutoff', 0.5), 'nonzero': options.get('nonzero_loss_cutoff', 1.4)}
    expected = drawn(d, batch, lots, 5, **cutoffs)
    assert mined.triplets().tolist() == expected


@pytest.mark.parametrize('dim', [2, 3, 16])
def test_draws_are_as_frequent_as_their_weights(library, dim):
    n = 4000  # the same anchor, again and again
    d = np.array([0.3, 0.6, 0.6, 0.9, 1.1, 1.3, 1.39, 1.45, 0.2, 0.7, 0.8], np.float32)
    positives, negatives = np.zeros(11, bool), np.ones(11, bool)
    positives[8:] = True
    masks = [library.native(np.tile(mask, (n, 1))) for mask in (positives, negatives & ~positives)]
    lots = library.native(np.random.default_rng(0).random((n, 8), np.float32))
    mined = DistanceWeightedMiner(dim=dim)(library.native(np.tile(d, (n, 1))), Relation(*masks, 3, lots=lots))
    found = mined.triplets()
    assert len(found) == 4 * n
    weights = np.array([weight(x, dim) for x in d[:8]])
    for place, shares in ((2, weights / weights.sum()), (1, [0] * 8 + [1 / 3] * 3)):
        counts = np.bincount(found[:, place], minlength=11)
        for count, share in zip(counts, shares, strict=False):
            assert abs(count - 4 * n * share) <= 4 * math.sqrt(4 * n * share * (1 - share))
        assert counts[len(shares) :].sum() == 0
    both = np.histogram2d(found[:, 1], found[:, 2], bins=(np.arange(8, 12), np.arange(0, 9)))[0]
    # The two draws of a triplet have nothing to do with each other.
    expected = both.sum(1, keepdims=True) * both.sum(0, keepdims=True) / both.sum()
    some = expected > 5
    assert ((both - expected)[some] ** 2 / expected[some]).sum() < 3 * some.sum()


def test_no_number_is_too_large(library):
    # Weights of 4096 dimensions differ by more than any float can hold.
    batch = cases.classes()
    for d in (distances(batch), np.zeros((11, 11), np.float32), np.full((11, 11), 1.39, np.float32)):
        relation = relate(library, batch, lots=8)
        mined = DistanceWeightedMiner(dim=4096)(library.native(d), relation)
        near = (d < 1.4) & batch.negatives
        whole = near.any(axis=1) & batch.positives.any(axis=1)
        assert {a for a, _, _ in mined.triplets().tolist()} == set(np.flatnonzero(whole).tolist())


def test_all_too_far_is_no_triplet(library):
    batch = cases.classes()
    d = library.native(np.full((11, 11), 1.5, np.float32))
    assert len(DistanceWeightedMiner(dim=5)(d, relate(library, batch, lots=8)).triplets()) == 0


@pytest.mark.parametrize('name', ['TripletMarginLoss', 'TripletLoss'])
def test_loss(library, name):
    batch = cases.classes()
    d = oracles.distances(batch.columns[0], batch.columns[0])  # of directions, though TripletLoss takes vectors
    lots = np.random.default_rng(0).random((11, 8), np.float32)
    triplets = drawn(d, batch, lots, 5)
    assert len(triplets) > 20
    own = d if name == 'TripletMarginLoss' else oracles.distances(*batch.columns, 'cosine')
    margin, reducer = (0.05, 'nonzero') if name == 'TripletMarginLoss' else (1.0, 'mean')
    expected = oracles.triplet(own, oracles.Tuples([], [], triplets), margin, reducer)
    batch = batch._replace(codes={**batch.codes, 'lots': lots})
    value, _ = library.run(Objective(get(name), DistanceWeightedMiner()), batch)
    assert value == pytest.approx(expected, rel=1e-5)


def test_by_hand_it_asks_for_the_size_of_vectors(library):
    batch = cases.classes()
    with pytest.raises(ArgumentError, match=r'DistanceWeightedMiner\(dim=128\)'):
        DistanceWeightedMiner()(library.native(distances(batch)), relate(library, batch, lots=8))
    assert DistanceWeightedMiner().prepared(7) == DistanceWeightedMiner(dim=7)
    assert DistanceWeightedMiner(dim=3).prepared(7) == DistanceWeightedMiner(dim=3)
