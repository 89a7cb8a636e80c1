"""Circle: the value is the oracle's, and the slope that of the oracle with its weights held fast."""

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from tests.gradients import central_differences
from tests.losses import cases, oracles
from tests.losses.values.ranking import circle, cos, once

OPTIONS = [{}, {'m': 0.25, 'gamma': 4.0, 'reducer': 'mean'}, {'gamma': 8.0, 'reducer': 'sum'}]


def expected(batch, tuples, options):
    weights = cos(batch)
    value = circle(weights, tuples, **options)
    slopes = central_differences(
        lambda x: circle(cos(batch._replace(embeddings=x)), tuples, weights=weights, **options), batch.embeddings
    )
    return value, slopes[0]


def agree(library, objective, batch, value, slope):
    found, (at,) = library.run(objective, batch)
    assert found == pytest.approx(value, rel=3e-6)
    if library.name != 'numpy':  # whose slopes are differences, in which nothing is held fast
        assert np.abs(at - slope).max() <= 2e-4 * np.abs(slope).max()


@pytest.mark.backends('numpy', 'torch', 'keras-tensorflow', 'keras-torch', 'paddle')  # jax compiles every operation
@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('batch', [cases.classes, cases.several_labels, cases.sessions, cases.pairs])
def test_value_and_slope(library, batch, options):
    batch = batch()
    agree(library, Objective(get('CircleLoss', **options)), batch, *expected(batch, batch.tuples, options))


def test_of_mined_triplets_every_pair_counts_once(library):
    batch = cases.classes()
    tuples = once(batch.tuples.keep(oracles.in_band(1 - cos(batch), 'semihard', 0.3)))
    objective = Objective(get('CircleLoss'), TripletMarginMiner(0.3, 'semihard'))
    agree(library, objective, batch, *expected(batch, tuples, {}))
