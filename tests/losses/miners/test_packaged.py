"""Triplets that stand one after the other."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import EmbeddingsAlreadyPackagedAsTriplets
from finetuner.losses.objective import Objective
from finetuner.losses.registry import resolve
from tests.losses import cases, oracles
from tests.losses.miners.settings import relate, whole_distances


@pytest.mark.parametrize('labels', [(0, 0, 1, 2, 2, 0, 1), (0, 1, 2, 3, 4, 5, 6, 7), (0,), (0, 0)])
def test_triplets(library, labels):
    batch = cases.classes(labels)
    codes = batch.codes | {'item': np.arange(len(labels), dtype=np.int32)}
    batch = batch._replace(codes=codes)
    mined = EmbeddingsAlreadyPackagedAsTriplets()(library.native(whole_distances(batch)), relate(library, batch))
    assert mined.triplets().tolist() == [[i, i + 1, i + 2] for i in range(0, len(labels) - 2, 3)]


def test_places_that_fill_the_batch_are_in_no_triplet(library):
    batch = cases.sessions()  # the last two of ten are nobody
    mined = EmbeddingsAlreadyPackagedAsTriplets()(library.native(whole_distances(batch)), relate(library, batch))
    assert mined.triplets().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_loss(library):
    batch = cases.classes((0, 1, 2, 3, 4, 5, 6))
    d = oracles.distances(*batch.columns)
    triplets = [(0, 1, 2), (3, 4, 5)]
    expected = oracles.triplet(d, oracles.Tuples([], [], triplets), 0.5, 'mean')
    objective = Objective(get('TripletMarginLoss', margin=0.5, reducer='mean'), EmbeddingsAlreadyPackagedAsTriplets())
    assert library.run(objective, batch)[0] == pytest.approx(expected, rel=1e-5)


def test_columns_are_triplets_without_it():
    with pytest.raises(ArgumentError, match='this data has 3 columns'):
        resolve('TripletMarginLoss', 'EmbeddingsAlreadyPackagedAsTriplets', kind='pair', width=3)
