"""Whether neighbours tell the class of an item."""

import tracemalloc
from collections import Counter
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from finetuner.errors import ArgumentError
from finetuner.evaluation import votes
from finetuner.evaluation.votes import knn_accuracy


def slow(own, found, k):
    given = [label for several in found[:k] for label in several if label >= 0]
    counts = Counter(given)
    best = max(counts, key=lambda label: (counts[label], -given.index(label)), default=-1)
    return float(best >= 0 and best in own)


@st.composite
def cases(draw):
    queries, width, several = draw(st.integers(1, 4)), draw(st.integers(0, 8)), draw(st.integers(1, 2))
    code = st.integers(-1, 3)

    def array(*shape):
        count = int(np.prod(shape))
        return np.array(draw(st.lists(code, min_size=count, max_size=count)), int).reshape(shape)

    return array(queries, several), array(queries, width, several), draw(st.none() | st.integers(1, 10))


@pytest.mark.parametrize('block', [1 << 20, 5])
@settings(deadline=None, max_examples=100)
@given(case=cases())
def test_equals_votes_counted_one_by_one(case, block):
    labels, found, k = case
    expected = [slow(set(a.tolist()) - {-1}, b.tolist(), k) for a, b in zip(labels, found, strict=True)]
    with mock.patch.object(votes, '_VOTES', block):
        assert knn_accuracy(labels, found, k).tolist() == expected


def test_of_equal_votes_the_one_found_first_wins():
    assert knn_accuracy([1, 1, 1], [[1, 2, 2, 1], [2, 1, 1, 2], [2, 1, 1, 2]], k=4).tolist() == [1, 0, 0]
    assert knn_accuracy([1], [[2, 1, 1]], k=1).tolist() == [0]


def test_agrees_with_scikit_learn(rng):
    from sklearn.neighbors import KNeighborsClassifier

    vectors, labels = rng.standard_normal((120, 3)), rng.integers(0, 2, 120)
    queries, wanted = rng.standard_normal((40, 3)), rng.integers(0, 2, 40)
    order = np.argsort(((queries[:, None] - vectors) ** 2).sum(-1), axis=1)
    for k in (1, 5, 21):  # of two classes an odd number has no ties
        theirs = KNeighborsClassifier(k).fit(vectors, labels).predict(queries) == wanted
        assert (knn_accuracy(wanted, labels[order], k) == theirs).all()


def test_memory_does_not_grow_with_the_most_labels_of_an_item():
    found = np.full((2_000, 50, 20), -1, np.int32)
    found[..., 0] = np.arange(50) % 3
    tracemalloc.start()
    try:
        with mock.patch.object(votes, '_VOTES', 10_000):
            assert knn_accuracy(np.zeros(2_000, int), found).all()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # all at once took 60 MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('k', [0, -1, 2.5, True])
def test_so_many_neighbours_cannot_vote(k):
    with pytest.raises(ArgumentError, match=f'k={k}'):
        knn_accuracy([1], [[1]], k)


def test_impossible_shapes_are_refused():
    with pytest.raises(ArgumentError, match=r'these have shapes \(2,\) and \(1, 2\)'):
        knn_accuracy([1, 2], [[1, 2]])
