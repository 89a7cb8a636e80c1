"""Whether neighbours tell the class of an item."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from finetuner.errors import ArgumentError
from finetuner.evaluation.votes import knn_accuracy


def slow(own, found, k):
    votes = [label for several in found[:k] for label in several if label >= 0]
    counts = Counter(votes)
    best = max(counts, key=lambda label: (counts[label], -votes.index(label)), default=-1)
    return float(best >= 0 and best in own)


@st.composite
def cases(draw):
    queries, width, several = draw(st.integers(1, 4)), draw(st.integers(0, 8)), draw(st.integers(1, 2))
    code = st.integers(-1, 3)

    def array(*shape):
        count = int(np.prod(shape))
        return np.array(draw(st.lists(code, min_size=count, max_size=count)), int).reshape(shape)

    return array(queries, several), array(queries, width, several), draw(st.none() | st.integers(1, 10))


@settings(deadline=None, max_examples=150)
@given(cases())
def test_equals_votes_counted_one_by_one(case):
    labels, found, k = case
    expected = [slow(set(a.tolist()) - {-1}, b.tolist(), k) for a, b in zip(labels, found, strict=True)]
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


def test_impossible_shapes_are_refused():
    with pytest.raises(ArgumentError, match=r'these have shapes \(2,\) and \(1, 2\)'):
        knn_accuracy([1, 2], [[1, 2]])
