import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import search
from finetuner.evaluation.search import DISTANCES, ExactIndex, top_k

quick = settings(deadline=None, max_examples=60)


LISTS, WHOLE = 1, 10**9  # float32 lists whenever they can be, and never


@contextmanager
def way(few):
    """Search by way of lists in float32 where the index has more than `few` times k vectors."""
    before, search._FEW = search._FEW, few
    try:
        yield
    finally:
        search._FEW = before


ways = st.sampled_from([LISTS, WHOLE])


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
@pytest.mark.parametrize('k', [1, 3, 7, 200, 500])
def test_finds_what_brute_force_finds(rng, metric, k):
    queries, index = rng.standard_normal((20, 9)), rng.standard_normal((200, 9))
    places, distances = top_k(queries, index, k, metric)
    assert_array_equal(places, brute_force(queries, index, k, metric))
    expected = [[distance(q, index[p], metric) for p in row] for q, row in zip(queries, places, strict=True)]
    assert_allclose(distances, expected, rtol=1e-12, atol=1e-12)


signs = hnp.arrays(np.int8, st.tuples(st.integers(1, 30), st.just(3)), elements=st.sampled_from([-1, 1]))


@pytest.mark.parametrize('metric', DISTANCES)
@quick
@given(queries=signs, index=signs, k=st.integers(1, 35), block=st.integers(1, 40), few=ways)
def test_equal_distances_come_in_the_order_of_the_index(metric, queries, index, k, block, few):
    # Eight different vectors at most, and four different distances: nearly everything is a tie.
    with way(few):
        places, _ = top_k(queries, index, k, metric, block=block)
    assert_array_equal(places, brute_force(queries, index, k, metric))


@pytest.mark.parametrize('metric', DISTANCES)
@quick
@given(data=st.data(), index=signs, k=st.integers(1, 35), block=st.integers(1, 40), few=ways)
def test_own_place_is_left_out(metric, data, index, k, block, few):
    own = np.array(data.draw(st.lists(st.integers(-1, len(index) - 1), min_size=len(index), max_size=len(index))))
    with way(few):
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


def test_whole_numbers_of_any_type_are_places():
    x = np.eye(4)
    for kind in (np.int8, np.uint64, float):
        assert_array_equal(top_k(x[:2], x, np.int32(1), exclude=np.array([0, 1], kind))[0], [[1], [0]])


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
        (dict(exclude=np.array([False, True])), 'from 0 to 4, or -1 for none; of query 0 it is False'),
        (dict(exclude=np.array([0, 9999])), 'of query 1 it is 9999'),
        (dict(exclude=np.array([0.0, np.nan])), 'of query 1 it is nan'),
        (dict(exclude=np.array([0.5, 1])), 'of query 0 it is 0.5'),
        (dict(exclude=np.array([-1, -7])), 'of query 1 it is -7'),
        (dict(exclude=[None, 1]), 'of query 0 it is None'),
        (dict(k=2.5), 'k=2.5: expected a whole number of at least 1'),
        (dict(k=None), 'k=None'),
        (dict(k='3'), "k='3'"),
        (dict(k=True), 'k=True'),
        (dict(block=1e6), 'block=1000000.0: expected a whole number of at least 1'),
        (dict(block=0), 'block=0'),
        (dict(block=-5), 'block=-5'),
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


def spread(metric, gaps):
    """A query, and vectors whose distances to it differ by these gaps; all else is the same."""
    q = np.array([1.0, 0, 0, 0])
    cosines = 0.5 + gaps
    x = np.column_stack([cosines, np.sqrt(1 - cosines**2), np.zeros(len(gaps)), np.zeros(len(gaps))])
    return q[None] * (3 if metric == 'dot' else 1), x


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('close', [30, 200, 1500])  # the last are more than a list takes
@pytest.mark.parametrize('name', ['numpy', 'faiss'])
def test_what_float32_cannot_tell_apart_is_found_in_the_order_of_float64(rng, metric, close, name):
    if name == 'faiss':
        pytest.importorskip('faiss')
    order = rng.permutation(2000)
    gaps = np.where(order < close, (order + 1) * 1e-11, -0.3 - order * 1e-4)
    queries, index = spread(metric, gaps)
    places, _ = top_k(queries, index, 12, metric, engine=name)
    assert_array_equal(places[0], np.argsort(-gaps)[:12])
    assert len(np.unique((0.5 + gaps[places[0]]).astype(np.float32))) == 1


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('kind', ['plain', 'copies', 'whole numbers', 'collapsed', 'by cluster', 'lengths'])
def test_lists_find_what_a_search_in_float64_finds(rng, metric, kind):
    index = rng.standard_normal((1500, 8))
    if kind == 'copies':
        index = index[rng.integers(0, 700, 1500)]
        index[:300] = index[7]
    elif kind == 'whole numbers':
        index = np.sign(index[:, :6])
    elif kind == 'collapsed':
        index = (rng.standard_normal(8) + 1e-4 * index).astype(np.float32)
    elif kind == 'by cluster':
        index = (3 * rng.standard_normal((15, 8))[np.arange(1500) // 100] + 0.01 * index).astype(np.float32)
    elif kind == 'lengths':
        index *= 10.0 ** rng.uniform(-6, 6, (1500, 1))
    own = rng.integers(-1, 1500, 60)
    queries = np.concatenate([index[own[:30]], rng.standard_normal((30, index.shape[1]))])
    with way(WHOLE):
        expected = top_k(queries, index, 9, metric, own)
    with way(LISTS):
        places, distances = top_k(queries, index, 9, metric, own, block=1 << 14)
    assert_array_equal(places, expected[0])
    scale = 1 if metric == 'cosine' else np.abs(index).max() ** (1 if metric == 'euclidean' else 2)
    assert_allclose(distances, expected[1], atol=1e-7 * scale if metric == 'euclidean' else 1e-12 * scale)


@pytest.mark.parametrize('metric', DISTANCES)
def test_numbers_beyond_float32_are_searched(rng, metric):
    for size in (1e-60, 1e60):
        index = rng.standard_normal((300, 5)) * size
        assert_array_equal(top_k(index[:9], index, 3, metric)[0], brute_force(index[:9], index, 3, metric))


def test_a_memory_map_is_searched_without_being_loaded(rng, tmp_path):
    vectors = rng.standard_normal((20_000, 64)).astype(np.float32)
    vectors[15_000:] = vectors[:5_000]
    np.save(tmp_path / 'index.npy', vectors)  # 5 MB
    index = np.load(tmp_path / 'index.npy', mmap_mode='r')
    queries, expected = vectors[:50], top_k(vectors[:50], vectors, 3)
    tracemalloc.start()
    try:
        places, distances = top_k(queries, index, 3, block=1 << 14, engine='numpy')
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert_array_equal(places, expected[0])
    assert_array_equal(distances, expected[1])
    assert peak < 4e6, peak  # 1.3 MB of it are what is known of each vector


def test_engines_find_the_same(rng):
    pytest.importorskip('faiss')
    index = rng.standard_normal((3000, 20)).astype(np.float32)
    index[2000:] = index[:1000]
    for metric in DISTANCES:
        expected = top_k(index[:80], index, 5, metric, np.arange(80), engine='numpy')
        found = top_k(index[:80], index, 5, metric, np.arange(80), engine='faiss', block=1 << 15)
        assert_array_equal(found[0], expected[0])
        assert_array_equal(found[1], expected[1])
