"""Triplets by their angle: against an enumeration of all of them, with vectors."""

import math

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import base, get
from finetuner.losses.miners import AngularMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.miners.settings import EVERY_BATCH, memory, relate, whole_distances


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def wide(a, b, angle):
    """Whether a triplet is kept, of its unit vectors."""
    a, b = unit(a), unit(b)

    def kept(triplet):
        i, p, n = triplet
        near, centre = np.linalg.norm(a[i] - b[p]), np.linalg.norm(b[n] - (a[i] + b[p]) / 2)
        return math.degrees(math.atan2(near, 2 * centre)) > angle

    return kept


def columns(batch):
    if batch.positives.shape[0] + batch.positives.shape[1] == len(batch.embeddings):
        return np.split(batch.embeddings, [len(batch.positives)])
    return batch.embeddings, batch.embeddings


@pytest.mark.parametrize('angle', [20.0, 35.0, 5.0])
@pytest.mark.parametrize('batch', EVERY_BATCH)
@pytest.mark.parametrize('loss', [get('TripletMarginLoss'), get('TripletLoss')])
def test_triplets(library, angle, batch, loss):
    batch = batch()
    a, b = columns(batch)
    anchors = library.native(a)
    candidates = anchors if a is b else library.native(b)
    mined = base.mine(AngularMiner(angle), loss, anchors, candidates, relate(library, batch))
    expected = batch.tuples.keep(wide(a.astype(float), b.astype(float), angle)).triplets
    assert mined.triplets().tolist() == sorted(list(t) for t in expected)
    assert angle < 30 or len(expected) < len(batch.tuples.triplets)


@pytest.mark.parametrize('name', ['TripletMarginLoss', 'ContrastiveLoss'])
def test_loss(library, name):
    batch = cases.classes()
    x = batch.columns[0]
    kept = batch.tuples.keep(wide(x, x, 35.0))
    d = oracles.distances(x, x)
    oracle = {
        'TripletMarginLoss': lambda: oracles.triplet(d, kept, 0.05, 'nonzero'),
        'ContrastiveLoss': lambda: oracles.contrastive(d, kept),
    }[name]
    assert 0 < len(kept.triplets) < len(batch.tuples.triplets)
    assert library.run(Objective(get(name), AngularMiner(35.0)), batch)[0] == pytest.approx(oracle(), rel=1e-5)


def test_equal_vectors_have_no_angle(library):
    batch = cases.classes()
    x = library.native(np.ones((11, 5), np.float32))
    assert len(base.mine(AngularMiner(), get('TripletMarginLoss'), x, x, relate(library, batch)).triplets()) == 0


def test_by_hand_it_asks_for_the_third_side(library):
    batch = memory()
    with pytest.raises(ArgumentError, match=r'relation._replace\(between=distances\)'):
        AngularMiner()(library.native(whole_distances(batch)), relate(library, batch))


@pytest.mark.parametrize('angle', [0.0, 90.0, -20.0, float('nan')])
def test_an_angle_is_no_other_number(angle):
    with pytest.raises(ArgumentError, match='angle must be a finite number above 0 and below 90'):
        AngularMiner(angle)
