"""Reducers and masked sums, where there is something to count and where there is nothing."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.reduce import REDUCERS, masked_logsumexp, quotient, reduce

TERMS = np.array([[1.0, 0.0, 3.0], [5.0, 2.0, 0.0], [7.0, 8.0, 9.0]], np.float32)
MASK = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0]], bool)
TIMES = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)


@pytest.mark.parametrize(
    ('reducer', 'once', 'often'),
    [
        ('mean', 9 / 5, (1 + 9 + 20) / 16),
        ('nonzero', 9 / 3, (1 + 9 + 20) / 8),
        ('anchor', (4 / 3 + 5 / 2) / 2, (10 / 6 + 20 / 10) / 2),
        ('sum', 9, 30),
    ],
)
def test_reducers(library, reducer, once, often):
    terms, mask, times = (library.native(x) for x in (TERMS, MASK, TIMES))
    assert float(reduce(terms, mask, reducer)) == pytest.approx(once)
    assert float(reduce(terms, mask, reducer, times)) == pytest.approx(often)


@pytest.mark.parametrize(('reducer', 'expected'), [('mean', 2), ('nonzero', 3), ('anchor', 2), ('sum', 6)])
def test_terms_of_anchors(library, reducer, expected):
    terms, mask = library.native(np.array([2.0, 0.0, 4.0, 9.0], np.float32)), np.array([1, 1, 1, 0], bool)
    assert float(reduce(terms, library.native(mask), reducer)) == pytest.approx(expected)


@pytest.mark.parametrize('reducer', REDUCERS)
def test_nothing_to_reduce_is_zero_with_slope_zero(xp, library, reducer):
    nobody = library.native(np.zeros((3, 3), bool))
    value, (slope,) = library.value_and_grad(lambda x: reduce(xp.exp(x), nobody, reducer), TERMS)
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize('reducer', REDUCERS)
def test_terms_that_do_not_count_may_be_undefined(library, reducer):
    terms = np.where(MASK, TERMS, np.float32('nan'))
    value = reduce(library.native(terms), library.native(MASK), reducer)
    assert float(value) == pytest.approx(float(reduce(TERMS, MASK, reducer)))


def test_logsumexp_of_some(xp, library):
    terms, mask, times = (library.native(x) for x in (TERMS, MASK, TIMES))
    once = xp.to_numpy(masked_logsumexp(terms, mask))
    np.testing.assert_allclose(once[:2, 0], [np.log(np.exp([1, 0, 3]).sum()), np.log(np.exp([5, 0]).sum())], rtol=1e-6)
    assert once.shape == (3, 1)
    assert once[2, 0] < -1e29
    often = xp.to_numpy(masked_logsumexp(terms, mask, times, keepdims=False))
    np.testing.assert_allclose(
        often[:2], [np.log(np.exp([1, 0, 3]) @ [1, 2, 3]), np.log(np.exp([5, 0]) @ [4, 6])], rtol=1e-6
    )


def test_quotient_of_nothing_is_zero(xp, library):
    total, number = library.native(np.array([6.0, 0.0], np.float32)), library.native(np.array([4.0, 0.0], np.float32))
    assert xp.to_numpy(quotient(total, number)).tolist() == [1.5, 0]


def test_unknown_reducer_suggests_the_nearest():
    with pytest.raises(ArgumentError, match=r"There is no reducer 'avg'. Known are: anchor, mean, nonzero, sum"):
        options.reducer('reducer', 'avg')
    with pytest.raises(ArgumentError, match="Did you mean 'nonzero'"):
        options.reducer('reducer', 'non_zero')
