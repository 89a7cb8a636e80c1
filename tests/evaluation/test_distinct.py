import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from finetuner.evaluation import distinct as module
from finetuner.evaluation.distinct import distinct


def groups(rows):
    """The first row of each group and the group of each row, by comparing Python tuples."""
    seen = {}
    which = [seen.setdefault(tuple(row.tolist()), len(seen)) for row in rows]
    return [which.index(group) for group in range(len(seen))], which


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64, np.int64, np.uint8, bool])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_equal_rows_are_one_group(dtype, data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
    elements = st.booleans() if dtype is bool else st.integers(0, 2)
    rows = data.draw(hnp.arrays(dtype, shape, elements=elements))
    first, group = distinct(rows)
    expected_first, expected_group = groups(rows)
    assert_array_equal(first, expected_first)
    assert_array_equal(np.arange(len(rows)) if group is None else group, expected_group)
    assert (group is None) == (len(expected_first) == len(rows))


def test_both_zeros_are_equal():
    first, group = distinct(np.array([[0.0, 1.0], [-0.0, 1.0]]))
    assert_array_equal(first, [0])
    assert_array_equal(group, [0, 0])


def test_rows_of_one_fingerprint_are_compared(monkeypatch):
    monkeypatch.setattr(module, 'fingerprints', lambda rows: np.zeros(len(rows), np.uint64))
    first, group = distinct(np.array([[1, 2], [3, 4], [1, 2]]))
    assert_array_equal(first, [0, 1])
    assert_array_equal(group, [0, 1, 0])
    assert distinct(np.array([[1, 2], [3, 4]]))[1] is None


def test_integers_beyond_the_precision_of_floats_are_told_apart():
    assert distinct(np.array([[2**60], [2**60 + 1]]))[1] is None


def test_blocks_do_not_matter():
    rows = np.repeat(np.arange(3000), 2).reshape(-1, 1) * np.ones((1, 800))  # several blocks of fingerprints
    first, group = distinct(rows)
    assert_array_equal(first, np.arange(0, 6000, 2))
    assert_array_equal(group, np.repeat(np.arange(3000), 2))
