"""Random numbers of a batch."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.miners import (
    BatchHardMiner,
    DistanceWeightedMiner,
    MaximumLossMiner,
    TripletMarginMiner,
    UniformHistogramMiner,
)
from finetuner.losses.miners.lots import lots_of, places
from finetuner.typing import Layout
from tests.losses import cases
from tests.losses.miners.settings import relate, whole_distances


def test_places_are_below_the_number_whatever_is_rounded(library, xp):
    lots = np.array([[0.0, 0.3333, 0.5, 1 - 2.0**-24]] * 4, np.float32)
    number = library.native(np.array([[0], [1], [3], [7]], np.int32))
    found = xp.to_numpy(places(library.native(lots), number))
    assert found.tolist() == [[-1] * 4, [0] * 4, [0, 0, 1, 2], [0, 2, 3, 6]]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ('miner', 'layout', 'number'),
    [
        (TripletMarginMiner(), Layout(64, 1, 3), 0),
        (BatchHardMiner(), Layout(64, 1, 3), 0),
        (DistanceWeightedMiner(), Layout(64, 1, 3), 8),
        (UniformHistogramMiner(), Layout(64, 1, 3), 32),
        (UniformHistogramMiner(10, 2, 3), Layout(64, 3, 1), 1),
        (MaximumLossMiner(num_trials=7), Layout(64, 1, 3), 7),
    ],
)
def test_miners_say_how_many_they_need(miner, layout, number):
    assert miner.lots(layout) == number


@pytest.mark.parametrize(('miner', 'number'), [(DistanceWeightedMiner(dim=5), 2), (UniformHistogramMiner(10, 2, 3), 5)])
def test_without_lots_they_say_how_to_give_some(library, miner, number):
    batch = cases.classes()
    message = rf"needs {number} random .*_replace\(lots=np.random.default_rng\(0\).random\(\(n, {number}\), 'float32'"
    with pytest.raises(ArgumentError, match=message):
        miner(library.native(whole_distances(batch)), relate(library, batch))


def test_too_few_lots_are_none(library):
    with pytest.raises(ArgumentError, match='SomeMiner draws: it needs 4 random numbers for each anchor and got 3'):
        lots_of(relate(library, cases.classes(), lots=3), 4, 'SomeMiner')
