import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from finetuner.evaluation.selection import smallest

quick = settings(deadline=None, max_examples=60)

# Some differ in bits that the columns take.
NUMBERS = [0.0, -0.0, 1.0, 1 + 2**-50, 1 + 2**-52, -1.0, -1 - 2**-51, 1e300, -1e-300, np.inf, -np.inf]


@quick
@given(
    d=hnp.arrays(float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from(NUMBERS)),
    k=st.integers(1, 14),
)
def test_smallest_is_the_start_of_a_stable_sort(d, k):
    columns, values = smallest(d, k)
    expected = np.argsort(d, axis=1, kind='stable')[:, :k]
    assert_array_equal(columns, expected)
    assert_array_equal(values, np.take_along_axis(d, expected, 1))


@pytest.mark.parametrize('k', [1, 40, 299, 300])
def test_rows_are_sorted_for_themselves(k):
    rng = np.random.default_rng(0)
    d = np.round(rng.standard_normal((20, 300)), 1)
    d[3:6] += 1e-15 * rng.integers(0, 3, (3, 300))
    columns, values = smallest(d, k)
    expected = np.argsort(d, axis=1, kind='stable')[:, :k]
    assert_array_equal(columns, expected)
    assert_array_equal(values, np.take_along_axis(d, expected, 1))


def test_nothing_is_sorted():
    assert [part.shape for part in smallest(np.empty((0, 4)), 2)] == [(0, 2), (0, 2)]
    assert [part.shape for part in smallest(np.empty((4, 0)), 2)] == [(4, 0), (4, 0)]


def test_the_last_place_goes_to_the_smallest_though_it_differs_in_the_last_bits_alone():
    columns, values = smallest(np.array([[1 + 2**-51, 1.0, 2.0, 1.0]]), 1)
    assert_array_equal(columns, [[1]])
    assert_array_equal(values, [[1.0]])
