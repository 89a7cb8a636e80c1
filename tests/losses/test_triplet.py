"""The hinge in float32: exact where it can be, and never below zero."""

import numpy as np
import pytest

from finetuner.losses.relation import Relation
from finetuner.losses.triplet import hinge
from tests.losses import cases, oracles

REDUCERS = ('mean', 'nonzero', 'anchor', 'sum')


@pytest.mark.parametrize('reducer', REDUCERS)
def test_what_all_distances_have_in_common_costs_no_precision(library, reducer):
    batch = cases.classes()
    unit = 2.0**-14  # of the last place of float32 at 1000
    small = np.random.default_rng(1).integers(0, 64, batch.positives.shape) * unit
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    value = hinge(library.native((small + 1000).astype(np.float32)), relation, 16 * unit, reducer)
    assert float(value) == pytest.approx(oracles.triplet(small, batch.tuples, 16 * unit, reducer), rel=1e-6)


@pytest.mark.backends('numpy', 'torch')
def test_rounding_makes_no_loss_negative(library):
    # Of one anchor, with all gaps equal to the margin but for the last bit: of 4,000 such the worst.
    positives, negatives = np.arange(8)[None] < 4, np.arange(8)[None] >= 4
    relation = Relation(library.native(positives), library.native(negatives), 4)
    for seed in (53, 244, 448, 617, 641, 659, 706, 837, 882, 1064):
        rng = np.random.default_rng(seed)
        margin = rng.integers(1, 9) / 10
        d = np.where(negatives, margin, 0.0) + rng.integers(1, 20) / 10 + rng.integers(-1, 2, (1, 8)) * 6e-8
        assert float(hinge(library.native(d.astype(np.float32)), relation, margin, 'sum')) >= 0
