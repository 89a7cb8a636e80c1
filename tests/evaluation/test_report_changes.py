"""What a report says of ranks and pairs, against plain computations."""

import numpy as np
import pytest

from finetuner.evaluation.reports import changes
from finetuner.evaluation.reports.changes import above, answered, first_ranks, pairs, sample, similarities, truth_of
from tests.evaluation.reports import Given, spread, texts


def evaluated(count=150, classes=30, noise=1.5, **options):
    data, labels = texts(count, classes)
    found = Given(data, spread(labels, noise))
    found.evaluate(**options)
    return found


def similarity(a, b, distance):
    if distance == 'euclidean':
        return -np.linalg.norm(a - b)
    return a @ b if distance == 'dot' else a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize('distance', ['cosine', 'euclidean', 'dot'])
def test_the_rank_of_the_first_relevant_result_is_that_of_the_whole_ranking(distance):
    side, labels = evaluated(distance=distance), np.arange(150) % 30
    vectors = side.given[0].astype(float)
    expected = []
    for row in range(150):
        others = [place for place in range(150) if place != row]
        order = sorted(others, key=lambda place: -similarity(vectors[row], vectors[place], distance))
        expected.append([labels[place] == labels[row] for place in order].index(True) + 1)
    assert max(expected) > 64  # what is looked at first
    assert first_ranks(side, np.arange(150)).tolist() == expected


def test_ranks_of_some_of_those_that_were_asked():
    every = first_ranks(evaluated(), np.arange(150))
    asked = np.array([140, 3, 77, 20])
    assert first_ranks(evaluated(rows=asked), np.array([20, 140])).tolist() == every[[20, 140]].tolist()


def test_queries_without_an_answer_are_left_out():
    data = [('a', 'x'), ('b', 'x'), ('c', 'alone'), ('d', 'y'), ('e', 'y')]
    side = Given(data, np.random.default_rng(0).standard_normal((5, 3)))
    side.evaluate(rows=np.array([4, 2, 0]))
    assert answered(side).tolist() == [0, 4]


def test_pairs_are_what_they_are_called_and_never_of_an_item_with_itself():
    side, labels = evaluated(), np.arange(150) % 30
    found = pairs(side, most=400)
    assert (labels[found.rows] == labels[found.places]).tolist() == found.relevant.tolist()
    assert (found.rows != found.places).all()
    assert found.relevant.sum() == 400 and 380 <= (~found.relevant).sum() <= 400
    assert len(set(zip(found.rows.tolist(), found.places.tolist(), strict=True))) == len(found.rows)


def test_pairs_depend_on_the_seed_alone():
    one, again, other = pairs(evaluated()), pairs(evaluated(noise=9)), pairs(evaluated(), seed=1)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one.places, other.places)


@pytest.mark.parametrize('distance', ['cosine', 'euclidean', 'dot'])
def test_similarities_of_pairs(distance):
    side = evaluated(distance=distance, rows=np.arange(149, 50, -1))
    chosen = pairs(side, most=20)
    vectors = side.given[0].astype(float)
    expected = [similarity(vectors[a], vectors[b], distance) for a, b in zip(chosen.rows, chosen.places, strict=True)]
    assert np.allclose(similarities(side, chosen), expected)


def test_a_large_index_is_looked_through_for_fewer_queries(monkeypatch):
    monkeypatch.setattr(changes, '_LOOKED', 150 * 7)
    assert len(set(pairs(evaluated()).rows.tolist())) == 7


def test_samples():
    assert sample(np.arange(5), 5, 0).tolist() == [0, 1, 2, 3, 4]
    found = sample(np.arange(100, 200), 10, 0)
    assert len(set(found.tolist())) == 10 and (np.diff(found) > 0).all() and found.min() >= 100


def test_how_often_one_is_above_the_other():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 40), rng.integers(0, 7, 50)
    expected = np.mean((a[:, None] > b) + (a[:, None] == b) / 2)
    assert above(a, b) == pytest.approx(expected)


def test_truth_is_that_of_the_evaluation():
    side = evaluated(exclude_self=False)
    assert (truth_of(side).own == -1).all()
    assert (first_ranks(side, np.arange(150)) == 1).all()  # every query finds itself
