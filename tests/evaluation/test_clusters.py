"""Clusters of vectors, and what they share with the classes."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics as sklearn

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import clusters

groups = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n).map(np.array)] * 2)
)


@settings(deadline=None, max_examples=60)
@given(groups)
def test_nmi_is_that_of_scikit_learn(both):
    ours, theirs = clusters.nmi(*both), sklearn.normalized_mutual_info_score(both[1], both[0])
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert ours == pytest.approx(clusters.nmi(*both[::-1]), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(groups)
def test_purity_is_the_part_of_the_most_frequent_labels(both):
    table = sklearn.cluster.contingency_matrix(both[1], both[0])  # classes by clusters
    assert clusters.purity(*both) == pytest.approx(table.max(axis=0).sum() / table.sum(), abs=1e-12)


def test_four_items_by_hand():
    # Clusters by labels are the table [[2, 0], [1, 1]]: p log(p / (p_cluster p_label)) of each of its cells.
    shared = 0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3) + 0.25 * np.log(2)
    h_clusters, h_labels = np.log(2), -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert clusters.nmi([0, 0, 1, 1], ['a', 'a', 'a', 'b']) == pytest.approx(2 * shared / (h_clusters + h_labels))
    assert clusters.purity([0, 0, 1, 1], ['a', 'a', 'a', 'b']) == 3 / 4


def test_groups_of_other_lengths_are_refused():
    for metric in (clusters.nmi, clusters.purity):
        with pytest.raises(ArgumentError, match='these are 2 clusters and 1 labels'):
            metric([0, 1], [0])


def blobs(count, classes, width=8, dtype=np.float32):
    chance = np.random.default_rng(5)
    labels = chance.integers(0, classes, count)
    centres = 8 * chance.standard_normal((classes, width))
    return (centres[labels] + chance.standard_normal((count, width))).astype(dtype), labels


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize('seed', range(3))
def test_groups_that_lie_apart_are_found(dtype, seed):
    vectors, labels = blobs(500, 12, dtype=dtype)
    assert clusters.nmi(clusters.kmeans(vectors, 12, seed), labels) == pytest.approx(1)


def test_clusters_are_as_tight_as_those_of_scikit_learn(rng):
    from sklearn.cluster import KMeans

    vectors = rng.standard_normal((400, 4))  # no groups at all: many local optima

    def spread(found):
        return sum(((vectors[found == c] - vectors[found == c].mean(0)) ** 2).sum() for c in np.unique(found))

    ours = [spread(clusters.kmeans(vectors, 10, seed)) for seed in range(5)]
    theirs = [spread(KMeans(10, n_init=1, random_state=seed).fit_predict(vectors)) for seed in range(5)]
    assert np.mean(ours) < 1.03 * np.mean(theirs)


def test_every_vector_is_nearest_to_the_mean_of_its_cluster(rng):
    vectors = rng.standard_normal((200, 3))
    found = clusters.kmeans(vectors, 7)
    centres = np.stack([vectors[found == c].mean(0) for c in range(7)])
    assert (((vectors[:, None] - centres) ** 2).sum(-1).argmin(1) == found).all()


def test_blocks_change_nothing(monkeypatch):
    vectors, _ = blobs(300, 6)
    whole = clusters.kmeans(vectors, 6)
    monkeypatch.setattr(clusters, '_DISTANCES', 100)
    assert (clusters.kmeans(vectors, 6) == whole).all()


def test_no_cluster_is_empty():
    vectors = np.repeat(np.eye(3), 10, axis=0)  # three different vectors, five clusters
    assert len(np.unique(clusters.kmeans(vectors, 5))) == 5
    nearest = clusters._filled(np.array([0, 0, 0, 2]), np.array([1.0, 3.0, 2.0, 9.0]), 3)
    assert nearest.tolist() == [0, 1, 0, 2]  # the farthest is alone in its cluster, and stays


def test_chance_is_a_seed(rng):
    vectors = rng.standard_normal((100, 3))
    assert (clusters.kmeans(vectors, 8, 1) == clusters.kmeans(vectors, 8, 1)).all()
    assert (clusters.kmeans(vectors, 8, 1) != clusters.kmeans(vectors, 8, 2)).any()


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_groups_far_from_the_origin_are_found(dtype):
    vectors, labels = blobs(400, 4, dtype=np.float64)
    assert clusters.nmi(clusters.kmeans((vectors + 100_000).astype(dtype), 4), labels) == pytest.approx(1)


@pytest.mark.parametrize('wrong', [np.nan, -np.inf])
def test_vectors_that_are_not_finite_are_refused(wrong):
    vectors = np.eye(3)
    vectors[1, 2] = wrong
    with pytest.raises(DataError, match='kmeans takes finite vectors; NaN or infinite is vector 1'):
        clusters.kmeans(vectors, 2)


def test_impossible_clusters_are_refused(rng):
    with pytest.raises(ArgumentError, match='k=4: expected at most as many clusters as there are vectors, 3'):
        clusters.kmeans(np.eye(3), 4)
    with pytest.raises(ArgumentError, match='k=0'):
        clusters.kmeans(np.eye(3), 0)
    with pytest.raises(ArgumentError, match=r'\(N, D\); these have shape \(3,\)'):
        clusters.kmeans(np.ones(3), 1)
