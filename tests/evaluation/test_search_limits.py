"""Sizes at which float32, and then float64, end."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from finetuner.errors import DataError
from finetuner.evaluation import search
from finetuner.evaluation.engines import Numpy
from finetuner.evaluation.search import DISTANCES, top_k
from finetuner.evaluation.shortlist import Rounded, shortlists
from tests.evaluation.test_shortlist import rounded


def exactly(queries, index, k, metric):
    """(Q, k) places and distances, compared in 64 bits of mantissa, with the exponents of long double."""
    q, x = queries.astype(np.longdouble), index.astype(np.longdouble)
    if metric == 'cosine':
        q, x = (a / np.sqrt(np.square(a).sum(1))[:, None] for a in (q, x))
    d = np.square(q[:, None] - x[None]).sum(-1) if 'euclidean' in metric else -(q @ x.T)
    d = np.sqrt(d) if metric == 'euclidean' else 1 + d if metric == 'cosine' else d
    places = np.argsort(d, axis=1, kind='stable')[:, :k]
    return places, np.take_along_axis(d, places, 1).astype(float)


def agree(queries, index, metric, k=3):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        places, distances = top_k(queries, index, k, metric, engine='numpy')
    expected = exactly(queries, index, k, metric)
    assert_array_equal(places, expected[0])
    # Of a square what is below the rounding of the sizes is 0.
    near = 1e-12 if metric == 'cosine' else 1e-7 * np.abs(expected[1]).max()
    assert_allclose(distances, expected[1], rtol=1e-9, atol=near)


def test_a_tiny_vector_is_found_by_its_direction():
    x = np.random.default_rng(0).standard_normal((2000, 2)).astype(np.float32)
    x = np.concatenate([[[1e-40, 0]], x[np.abs(np.arctan2(x[:, 1], x[:, 0])) > 0.1]]).astype(np.float32)
    places, distances = top_k(np.array([[1, 0]], np.float32), x, 1, engine='numpy')
    assert_array_equal(places, [[0]])
    assert_array_equal(distances, [[0]])


@pytest.mark.parametrize('size', [1e-41, 1e-35, 1e35, 1e38])
def test_scores_of_directions_are_within_the_error_at_every_size_of_float32(rng, size):
    centre = rng.uniform(-1, 1, 200)
    index = (size * (centre + 1e-4 * rng.uniform(-1, 1, (300, 200)))).astype(np.float32)
    queries = centre + 1e-3 * rng.uniform(-1, 1, (20, 200))
    found = rounded(index, 'cosine')
    tile = found.tile(0, 300)
    q, _ = found.queries(queries, np.square(queries).sum(1))
    unit = index.astype(float) / np.sqrt(np.square(index.astype(float)).sum(1))[:, None]
    wrong = q @ tile.T - (queries / np.sqrt(np.square(queries).sum(1))[:, None]) @ unit.T
    wrong -= (wrong.max(1) + wrong.min(1))[:, None] / 2  # the centre, which is the same for all
    assert 0 < found.error < 1e-4
    assert np.abs(wrong).max() <= found.error


@pytest.mark.parametrize('broken', ['tile', 'query', 'huge loss'])
def test_what_is_not_finite_in_float32_is_left_to_float64(rng, monkeypatch, broken):
    index, queries = rng.standard_normal((300, 4)), rng.standard_normal((5, 4))
    asked = Rounded.queries

    def queries_(self, *args):
        q, lost = asked(self, *args)
        if broken == 'query':
            q[2] = np.nan
        elif broken == 'huge loss':
            lost[2] = 1e200
        return q, lost

    monkeypatch.setattr(Rounded, 'queries', queries_)
    known = rounded(index, 'dot')
    if broken == 'tile':
        known._centre = np.full(4, np.nan, np.float32)
    squares = np.square(queries).sum(1)
    [(_, found)] = shortlists(Numpy(), known, queries, squares, 3, 1 << 22)
    assert_array_equal(found.crowded, [broken == 'tile' or row == 2 for row in range(5)])


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('size', [1e-40, 1e-38, 1e37])
def test_float32_of_every_size_is_searched_exactly(rng, metric, size):
    index = (rng.standard_normal((600, 5)) * size).astype(np.float32)
    agree(index[:9], index, metric)


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize(('queries', 'index'), [(1, 1e-140), (1e150, 1e150), (1e150, 1e-140)])
def test_float64_of_many_sizes_is_searched_exactly(rng, metric, queries, index):
    x = rng.standard_normal((600, 5))
    if queries == 1 and 'euclidean' in metric:
        queries = 1e-130
    agree(x[:9] * queries, x * index, metric)


@pytest.mark.parametrize('metric', DISTANCES)
def test_vectors_whose_squares_are_no_numbers_are_named(rng, metric):
    x = rng.standard_normal((600, 5))
    long = x.copy()
    long[7] *= 1e155
    with pytest.raises(DataError, match=r'too long is vector 7 of the index\. Divide all vectors'):
        top_k(x[:3], long, 3, metric)
    with pytest.raises(DataError, match='too long is vector 7 of the queries'):
        top_k(long[:9], x, 3, metric)
    short = x * 1e-163
    short[4] = 0
    named = 'vector 0, 1, 2, 3, 5 and 594 more' if metric == 'cosine' else 'All vectors'
    with pytest.raises(DataError, match=rf'{named}.* of the index.*Multiply all vectors'):
        top_k(x[:3], short, 3, metric)
    if metric == 'cosine':
        with pytest.raises(DataError, match='too short, and not zero, is vector 0, 1, 2 and 3 of the queries'):
            top_k(short[:5], x, 3, metric)
    else:  # among longer ones they are as good as zero, but for their direction
        like = x if metric == 'dot' else 0 * x
        assert_array_equal(top_k(short[:3], x, 3, metric)[0], top_k(like[:3], x, 3, metric)[0])


def test_zero_vectors_are_not_too_short():
    for metric in DISTANCES:
        assert_array_equal(top_k(np.zeros((1, 3)), np.zeros((200, 3)), 2, metric)[0], [[0, 1]])


@pytest.mark.parametrize('metric', ['euclidean', 'sqeuclidean'])
@pytest.mark.parametrize('few', [1, 10**9])  # by lists where they can tell, and in float64 throughout
@pytest.mark.parametrize('kind', ['whole numbers', 'far', 'farther'])
def test_vectors_far_from_zero_are_told_apart(rng, monkeypatch, metric, few, kind):
    monkeypatch.setattr(search, '_FEW', few)
    if kind == 'whole numbers':  # such as seconds since 1970
        index = (1_700_000_000 + rng.permutation(900))[:, None]
    else:
        index = rng.standard_normal((900, 4)) + (1e5 if kind == 'far' else 1e7)
    queries = index[:20] + (0 if kind == 'whole numbers' else 0.01)
    places, distances = top_k(queries, index, 3, metric, engine='numpy')
    expected = exactly(queries, index, 3, metric)
    assert_array_equal(places, expected[0])
    assert_allclose(distances, expected[1], rtol=1e-6, atol=0 if kind == 'whole numbers' else 1e-12)


@pytest.mark.parametrize('few', [1, 10**9])
def test_a_few_long_vectors_take_nothing_from_the_others(rng, monkeypatch, few):
    monkeypatch.setattr(search, '_FEW', few)
    index = rng.standard_normal((900, 4))
    index[5:9] = 1e10
    queries = np.delete(index[:20], slice(5, 9), axis=0)
    expected = exactly(queries, index, 3, 'sqeuclidean')
    places, distances = top_k(queries, index, 3, 'sqeuclidean', engine='numpy')
    assert_array_equal(places, expected[0])
    assert_allclose(distances, expected[1], rtol=1e-9, atol=1e-12)
