import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation.search import DISTANCES, ExactIndex, smallest, top_k

quick = settings(deadline=None, max_examples=60)


def distance(q, x, metric):
    """One distance after the other, by definition; exact for small integers of equal norm."""
    q, x = q.astype(float), x.astype(float)
    if metric == 'dot':
        return -q.dot(x)
    if metric == 'cosine':
        sizes = np.sqrt(q.dot(q)) * np.sqrt(x.dot(x))
        return 1 - (q.dot(x) / sizes if sizes else 0.0)
    square = np.square(q - x).sum()
    return np.sqrt(square) if metric == 'euclidean' else square


def brute_force(queries, index, k, metric, exclude=None):
    """(Q, k) places by a stable sort of every distance; -1 where nothing is left."""
    found = []
    for row, q in enumerate(queries):
        d = np.array([distance(q, x, metric) for x in index])
        order = [place for place in np.argsort(d, kind='stable') if exclude is None or place != exclude[row]]
        found.append([*order, -1][: min(k, len(index))])
    return np.array(found)


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('k', [1, 7, 200, 500])
def test_finds_what_brute_force_finds(rng, metric, k):
    queries, index = rng.standard_normal((20, 9)), rng.standard_normal((200, 9))
    places, distances = top_k(queries, index, k, metric)
    assert_array_equal(places, brute_force(queries, index, k, metric))
    expected = [[distance(q, index[p], metric) for p in row] for q, row in zip(queries, places, strict=True)]
    assert_allclose(distances, expected, rtol=1e-12, atol=1e-12)


signs = hnp.arrays(np.int8, st.tuples(st.integers(1, 30), st.just(3)), elements=st.sampled_from([-1, 1]))


@pytest.mark.parametrize('metric', DISTANCES)
@quick
@given(queries=signs, index=signs, k=st.integers(1, 35), block=st.integers(1, 40))
def test_equal_distances_come_in_the_order_of_the_index(metric, queries, index, k, block):
    # Eight different vectors at most, and four different distances: nearly everything is a tie.
    places, _ = top_k(queries, index, k, metric, block=block)
    assert_array_equal(places, brute_force(queries, index, k, metric))


@pytest.mark.parametrize('metric', DISTANCES)
@quick
@given(data=st.data(), index=signs, k=st.integers(1, 35), block=st.integers(1, 40))
def test_own_place_is_left_out(metric, data, index, k, block):
    own = np.array(data.draw(st.lists(st.integers(-1, len(index) - 1), min_size=len(index), max_size=len(index))))
    places, distances = top_k(index, index, k, metric, exclude=own, block=block)
    assert_array_equal(places, brute_force(index, index, k, metric, own))
    assert (np.isinf(distances) == (places == -1)).all()


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('width', [5, 64, 131])
def test_copies_of_a_vector_are_found_in_their_order(rng, metric, width):
    # A matrix product rounds equal columns differently; their order must not depend on it.
    base = rng.standard_normal((11, width)).astype(np.float32)
    copies = rng.integers(0, len(base), 300)
    queries = rng.standard_normal((37, width)).astype(np.float32)
    for block in (1 << 22, 1000, 7):
        places, distances = top_k(queries, base[copies], 300, metric, block=block)
        for row, d in zip(places, distances, strict=True):
            found = copies[row]
            changes = np.flatnonzero(np.diff(found))
            assert len(changes) == len(base) - 1  # the copies of each vector stand together
            for group in np.split(np.arange(300), changes + 1):
                assert (np.diff(row[group]) > 0).all()
                assert (d[group] == d[group[0]]).all()


def test_vectors_of_one_direction_are_equally_near_by_cosine(rng):
    q = rng.standard_normal((1, 50))
    index = np.concatenate([rng.standard_normal((3, 50)), q * 3, q / 7, q])
    places, distances = top_k(q, index, 3)
    assert_array_equal(places, [[3, 4, 5]])
    assert_array_equal(distances, [[0, 0, 0]])


@pytest.mark.parametrize('metric', ['cosine', 'euclidean', 'sqeuclidean'])
@pytest.mark.parametrize('width', [3, 128, 768])
def test_a_vector_is_at_distance_zero_from_itself(rng, metric, width):
    vectors = 100 * rng.standard_normal((80, width)).astype(np.float32)
    places, distances = top_k(vectors, vectors, 1, metric)
    assert_array_equal(places[:, 0], np.arange(80))
    assert_array_equal(distances, np.zeros((80, 1)))


def test_zero_vector_is_at_cosine_distance_one():
    places, distances = top_k(np.zeros((1, 2)), np.array([[1.0, 0], [0, 0], [-1, 0]]), 3)
    assert_array_equal(places, [[0, 1, 2]])
    assert_array_equal(distances, [[1, 1, 1]])


@pytest.mark.parametrize('metric', DISTANCES)
def test_float32_far_from_the_origin_is_searched_exactly(rng, metric):
    index = (1000 + 1e-3 * rng.standard_normal((300, 4))).astype(np.float32)
    places, _ = top_k(index[:20], index, 5, metric if metric != 'cosine' else 'sqeuclidean')
    assert_array_equal(places, brute_force(index[:20], index, 5, metric if metric != 'cosine' else 'sqeuclidean'))


@pytest.mark.parametrize('metric', DISTANCES)
def test_result_does_not_depend_on_the_block(rng, metric):
    queries, index = rng.standard_normal((50, 16)), rng.standard_normal((400, 16))
    whole = top_k(queries, index, 30, metric)
    for block in (1, 100, 5000):
        places, distances = top_k(queries, index, 30, metric, block=block)
        assert_array_equal(places, whole[0])
        assert_allclose(distances, whole[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('distinct', [True, False])
def test_memory_does_not_grow_with_queries_times_index(rng, distinct):
    queries, index = rng.standard_normal((1500, 8)), rng.standard_normal((20_000, 8))
    if not distinct:
        index[10_000:] = index[:10_000]
    block = 1 << 18  # 2 MB of distances; all of them are 240 MB
    tracemalloc.start()
    try:
        top_k(queries, index, 10, block=block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16e6


def test_an_index_is_searched_several_times(rng):
    vectors = rng.standard_normal((60, 5))
    index = ExactIndex(vectors, 'euclidean')
    for k in (3, 60):
        places, distances = index.search(vectors[:10], k, np.arange(10))
        expected, _ = top_k(vectors[:10], vectors, k, 'euclidean', np.arange(10))
        assert_array_equal(places, expected)
        assert_array_equal(distances[:, -1] == np.inf, np.full(10, k == 60))


def test_nothing_to_search_or_nobody_who_asks():
    assert top_k(np.ones((2, 3)), np.ones((0, 3)), 5)[0].shape == (2, 0)
    assert top_k(np.ones((0, 3)), np.ones((4, 3)), 2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(metric='cosin'), "no distance 'cosin'.*'cosine'"),
        (dict(k=0), 'at least 1'),
        (dict(queries=np.ones(3)), r'queries must be an array of shape \(N, D\).*\(3,\)'),
        (dict(queries=np.ones((2, 4))), 'one length.*4 and 3'),
        (dict(index=np.array([['a', 'b', 'c']])), 'index must be an array'),
        (dict(index=np.ones((2, 0))), 'index must be an array'),
        (dict(exclude=np.zeros(3, int)), r'shape \(2,\)'),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        top_k(**{'queries': np.ones((2, 3)), 'index': np.ones((5, 3)), 'k': 2, **arguments})


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_named(bad):
    index = np.ones((5, 3), np.float32)
    index[3, 1] = bad
    with pytest.raises(DataError, match='vector 3 of the index'):
        top_k(np.ones((2, 3)), index, 2)


@quick
@given(
    d=hnp.arrays(
        float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2, np.inf])
    ),
    k=st.integers(1, 14),
)
def test_smallest_is_the_start_of_a_stable_sort(d, k):
    columns, values = smallest(d, k)
    expected = np.argsort(d, axis=1, kind='stable')[:, :k]
    assert_array_equal(columns, expected)
    assert_array_equal(values, np.take_along_axis(d, expected, 1))
