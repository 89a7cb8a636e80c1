"""Counting triplets: the two ways and the blocks give one answer, that of the enumeration."""

import math
from collections import Counter

import numpy as np
import pytest

from finetuner.losses import triplets
from finetuner.losses.relation import Band, Relation
from tests.losses import cases

BATCHES = [cases.classes, cases.several_labels, cases.sessions, cases.pairs, cases.views, cases.many]
BANDS = [None, Band(), Band(high=0.5), Band(0.0, 0.5), Band(-0.25, 0.0), Band(low=0.5)]


def whole(batch):
    """Distances with many ties and many gaps exactly on an edge."""
    return np.random.default_rng(7).integers(0, 8, batch.positives.shape).astype(np.float32) / 4


def enumerated(batch, d, band, below):
    pull, push = Counter(), Counter()
    for a, p, n in batch.tuples.triplets:
        gap = d[a, n] - d[a, p]
        if (band is None or band.low < gap <= band.high) and gap < below:
            pull[a, p] += 1
            push[a, n] += 1
    return [[[c[i, j] for j in range(d.shape[1])] for i in range(len(d))] for c in (pull, push)]


@pytest.fixture(params=['visited', 'sorted'])
def way(request, monkeypatch):
    monkeypatch.setattr(triplets, 'FEW', 10**6 if request.param == 'visited' else 0)
    return request.param


@pytest.mark.parametrize('batch', BATCHES)
@pytest.mark.parametrize('band', BANDS)
@pytest.mark.parametrize('below', [math.inf, 0.25, 0.0, -0.5])
def test_counts_are_those_of_the_enumeration(xp, library, way, batch, band, below):
    batch = batch()
    d = whole(batch)
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most, band)
    found = triplets.counts(relation, library.native(d), below)
    assert [xp.to_numpy(x).tolist() for x in found] == enumerated(batch, d, band, below)


@pytest.mark.parametrize('batch', [cases.classes, cases.many])
def test_rule_and_hinge_by_two_distances(xp, library, way, batch):
    batch = batch()
    d, other = whole(batch), whole(batch)[::-1].copy()
    relation = Relation(
        library.native(batch.positives),
        library.native(batch.negatives),
        batch.layout.most,
        Band(0.0, 0.5),
        library.native(other),
    )
    pull = xp.to_numpy(triplets.counts(relation, library.native(d), 0.25)[0])
    expected = np.zeros(d.shape)
    for a, p, n in batch.tuples.triplets:
        expected[a, p] += 0 < other[a, n] - other[a, p] <= 0.5 and d[a, n] - d[a, p] < 0.25
    np.testing.assert_array_equal(pull, expected)


def test_any_rule_is_visited(xp, library, way):
    batch = cases.classes()
    d = whole(batch)
    relation = Relation(
        library.native(batch.positives),
        library.native(batch.negatives),
        batch.layout.most,
        lambda near, far, between: far > 2 * near,
    )
    push = xp.to_numpy(triplets.counts(relation, library.native(d))[1])
    expected = np.zeros(d.shape)
    for a, p, n in batch.tuples.triplets:
        expected[a, n] += d[a, n] > 2 * d[a, p]
    np.testing.assert_array_equal(push, expected)


@pytest.mark.parametrize('own', [True, False])
def test_blocks_change_nothing(xp, library, way, monkeypatch, own):
    batch = cases.many()
    d = library.native(whole(batch))
    relation = Relation(
        library.native(batch.positives),
        library.native(batch.negatives),
        batch.layout.most,
        Band(-0.5, 0.5),
        None if own else d,
    )
    at_once = [xp.to_numpy(x) for x in triplets.counts(relation, d)]
    monkeypatch.setattr(triplets, 'BLOCK', 7)
    for a, b in zip(at_once, triplets.counts(relation, d), strict=True):
        np.testing.assert_array_equal(a, xp.to_numpy(b))


def test_many_positives_are_sorted(monkeypatch):
    batch = cases.many()
    assert batch.layout.most > triplets.FEW
    relation = Relation(batch.positives, batch.negatives, batch.layout.most)
    monkeypatch.setattr(Relation, 'visit', None)
    assert triplets.counts(relation, whole(batch))[0].sum() == len(batch.tuples.triplets)


def test_pairs_count_as_often_as_they_stand_in_a_triplet(xp, library):
    batch = cases.classes()
    d = library.native(whole(batch))
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    plain = triplets.pairs(relation, lambda: d)
    assert plain.towards is None and plain.away is None
    found = triplets.pairs(relation._replace(keep=Band(high=0.5)), lambda: d)
    near, far = enumerated(batch, whole(batch), Band(high=0.5), math.inf)
    assert xp.to_numpy(found.towards).tolist() == near
    assert xp.to_numpy(found.away).tolist() == far
    assert xp.to_numpy(found.positives).tolist() == (np.array(near) > 0).tolist()
    turned = found.transpose()
    assert xp.to_numpy(turned.away).tolist() == np.array(far).T.tolist()
