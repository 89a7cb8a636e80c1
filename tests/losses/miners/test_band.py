"""Triplets by their gap: against an enumeration of all of them."""

import math

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Band, Relation
from tests.losses import cases, oracles

EVERY_BATCH = [cases.classes, cases.several_labels, cases.sessions, cases.pairs, cases.views]


@pytest.mark.parametrize('kind', ['all', 'hard', 'semihard', 'easy'])
@pytest.mark.parametrize('margin', [0.2, 0.0, -0.3])
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_triplets_are_those_of_the_enumeration(library, kind, margin, batch):
    batch = batch()
    # Whole numbers, for many ties and many gaps exactly on the edge of a band.
    d = np.random.default_rng(5).integers(0, 6, batch.positives.shape).astype(np.float32) / 4
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    mined = TripletMarginMiner(margin, kind)(library.native(d), relation)
    assert mined.triplets().tolist() == sorted(
        list(t) for t in batch.tuples.keep(oracles.in_band(d, kind, np.float32(margin))).triplets
    )


def test_bands_part_all_triplets():
    batch = cases.classes()
    d = oracles.distances(*batch.columns)
    relation = Relation(batch.positives, batch.negatives, batch.layout.most)

    def found(kind):
        return {tuple(t) for t in TripletMarginMiner(0.1, kind)(d, relation).triplets().tolist()}

    assert found('hard') | found('semihard') == found('all')
    assert found('hard') & found('semihard') == set()
    assert found('all') | found('easy') == {tuple(t) for t in relation.triplets().tolist()}
    assert found('all') & found('easy') == set()


def test_a_miner_judges_by_its_own_distance(library):
    batch = cases.classes()
    loss = get('TripletMarginLoss', distance='euclidean')
    values = [
        library.run(Objective(loss, TripletMarginMiner(0.02, 'semihard', name)), batch)[0]
        for name in (None, 'euclidean', 'cosine')
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] != pytest.approx(values[2], rel=1e-3)


@pytest.mark.parametrize(
    ('kind', 'band'),
    [
        ('all', Band(-math.inf, 0.2)),
        ('hard', Band(-math.inf, 0.0)),
        ('semihard', Band(0.0, 0.2)),
        ('easy', Band(0.2, math.inf)),
    ],
)
def test_band(kind, band):
    assert TripletMarginMiner(type_of_triplets=kind).band == band


def test_unknown_type_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'semihard'"):
        TripletMarginMiner(type_of_triplets='semi-hard')


def test_unknown_distance_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'cosine'"):
        TripletMarginMiner(distance='cos')
