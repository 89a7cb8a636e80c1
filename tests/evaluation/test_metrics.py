import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose
from sklearn import metrics as sklearn

from finetuner.errors import ArgumentError
from finetuner.evaluation import metrics
from finetuner.evaluation.metrics import METRICS
from tests.evaluation import oracles

EXACT = 1e-12

# Five results, right at ranks 1, 3 and 4; the index holds four relevant items.
RELEVANCE, N_RELEVANT = [[1, 0, 1, 1, 0]], [4]
LOG3 = np.log2(3)
IDEAL = 1 + 1 / LOG3 + 1 / 2 + 1 / np.log2(5)
BY_HAND = [
    # name, all five results, the first two
    ('precision_at_k', 3 / 5, 1 / 2),
    ('recall_at_k', 3 / 4, 1 / 4),
    ('f1_score_at_k', 2 / 3, 1 / 3),
    ('hit_at_k', 1, 1),
    ('dcg_at_k', 1 + 1 / 2 + 1 / np.log2(5), 1),
    ('ndcg_at_k', (1 + 1 / 2 + 1 / np.log2(5)) / IDEAL, 1 / (1 + 1 / LOG3)),
    ('average_precision', (1 + 2 / 3 + 3 / 4) / 4, 1 / 4),
    ('reciprocal_rank', 1, 1),
    ('r_precision', 3 / 4, 1 / 4),
    ('map_at_r', (1 + 2 / 3 + 3 / 4) / 4, 1 / 4),
]


@pytest.mark.parametrize(('name', 'whole', 'first_two'), BY_HAND)
def test_value_computed_by_hand(name, whole, first_two):
    assert_allclose(METRICS[name](RELEVANCE, N_RELEVANT), [whole], rtol=EXACT)
    assert_allclose(METRICS[name](RELEVANCE, N_RELEVANT, k=2), [first_two], rtol=EXACT)


def test_every_metric_has_a_value_computed_by_hand():
    assert {name for name, *_ in BY_HAND} == set(METRICS)


def test_metrics_of_r_do_not_look_beyond_r():
    late = [[0, 1, 1, 1]]  # R = 2: only the first two results count
    assert_allclose(metrics.r_precision(late, [2 + 1]), [2 / 3], rtol=EXACT)
    assert_allclose(metrics.map_at_r(late, [3]), [(1 / 2 + 2 / 3) / 3], rtol=EXACT)
    assert_allclose(metrics.r_precision([[0, 0, 1, 1]], [2]), [0])
    assert_allclose(metrics.map_at_r([[0, 0, 1, 1]], [2]), [0])


def test_what_was_not_retrieved_counts_as_wrong():
    short = [[1, -1, -1, -1]]
    assert_allclose(metrics.precision_at_k(short, [1], k=4), [1 / 4])
    assert_allclose(metrics.precision_at_k([[1]], [1], k=4), [1 / 4])
    assert_allclose(metrics.average_precision([[0, 1]], [5]), [1 / 10])
    assert_allclose(metrics.ndcg_at_k([[0, 1]], [1]), [1 / LOG3])
    assert_allclose(metrics.dcg_at_k(short, [1]), [1])


def test_ideal_list_is_as_long_as_k_though_less_was_retrieved():
    assert_allclose(metrics.ndcg_at_k([[1]], [2], k=2), [1 / (1 + 1 / LOG3)], rtol=EXACT)


@pytest.mark.parametrize('name', METRICS)
def test_no_relevant_item_and_no_result_score_zero(name):
    assert_allclose(METRICS[name]([[0, 0, 0]], [0]), [0])
    assert_allclose(METRICS[name](np.zeros((2, 0)), [0, 3]), [0, 0])


@pytest.mark.parametrize('name', METRICS)
def test_perfect_list_scores_one(name):
    expected = IDEAL if name == 'dcg_at_k' else 1
    assert_allclose(METRICS[name]([[1, 1, 1, 1]], [4]), [expected], rtol=EXACT)


def test_grades_weigh_the_gain():
    graded, total = [[1, 3, 0]], [3]
    gain = 1 + 3 / LOG3
    assert_allclose(metrics.dcg_at_k(graded, total), [gain], rtol=EXACT)
    ideal = 3 + 2 / LOG3 + 1 / 2
    assert_allclose(metrics.ndcg_at_k(graded, total, grades=[[1, 2, 3, 0]]), [gain / ideal], rtol=EXACT)
    assert_allclose(metrics.precision_at_k(graded, total), [2 / 3])
    with pytest.raises(ArgumentError, match='grades='):
        metrics.ndcg_at_k(graded, total)
    with pytest.raises(ArgumentError, match=r'a row for each of the 1 queries; its shape is \(2, 1\)'):
        metrics.ndcg_at_k(graded, total, grades=[[3], [3]])


def test_grades_that_lack_what_was_found_are_refused():
    with pytest.raises(ArgumentError, match='Query 1 found more than the best .*, 3 against 2.6.*the 2 highest'):
        metrics.ndcg_at_k([[3, 0], [3, 0]], [2, 2], grades=[[3, 3], [2, 1]])
    assert metrics.ndcg_at_k([[3, 0, 0]], [3], k=1, grades=[[3]])[0] == 1  # the highest are enough


def test_gains_may_grow_with_the_power_of_the_grade():
    graded, total = [[1, 3, -1]], [3]
    gain = 1 + 7 / LOG3
    assert_allclose(metrics.dcg_at_k(graded, total, gain='exponential'), [gain], rtol=EXACT)
    found = metrics.ndcg_at_k(graded, total, gain='exponential', grades=[[1, 2, 3]])
    assert_allclose(found, [gain / (7 + 3 / LOG3 + 1 / 2)], rtol=EXACT)
    for name in ('dcg_at_k', 'ndcg_at_k'):  # of 0 and 1 the two are one
        assert_allclose(METRICS[name](RELEVANCE, N_RELEVANT, gain='exponential'), METRICS[name](RELEVANCE, N_RELEVANT))
    with pytest.raises(ArgumentError, match="gain='exponental' is unknown. Did you mean 'exponential'"):
        metrics.dcg_at_k(graded, total, gain='exponental')


@pytest.mark.parametrize('name', [name for name in METRICS if 'dcg' not in name])
def test_to_other_metrics_every_grade_is_relevant(name):
    graded = np.array([[3, 0, 1, 2, 0], [0, 1, 1, 0, 5]])
    assert_allclose(METRICS[name](graded, [4, 3], k=4), METRICS[name](np.minimum(graded, 1), [4, 3], k=4))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (([1, 0], [1]), r'relevance \(Q, W\)'),
        (([[1, 0]], [1, 1]), r'one row per query'),
        (([[1, 0]], [1], 0), 'at least 1'),
        (([[0, 0], [1, 1]], [1, 1]), 'Query 1 has 2 relevant results, but n_relevant is 1'),
    ],
)
def test_impossible_input_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        metrics.recall_at_k(*arguments)


@st.composite
def rankings(draw):
    """Relevance of a few queries, how many relevant items there are, and a k."""
    queries, width = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    row = st.lists(st.integers(0, 1), min_size=width, max_size=width)
    relevance = np.array(draw(st.lists(row, min_size=queries, max_size=queries)))
    missed = draw(st.lists(st.integers(0, 5), min_size=queries, max_size=queries))
    return relevance, np.maximum(relevance.sum(1) + missed, 1), draw(st.none() | st.integers(1, 15))


@pytest.mark.parametrize('name', METRICS)
@settings(deadline=None, max_examples=50)
@given(case=rankings())
def test_equals_the_definition_query_by_query(name, case):
    relevance, total, k = case
    slow = [getattr(oracles, name)(list(row), int(n), k) for row, n in zip(relevance, total, strict=True)]
    assert_allclose(METRICS[name](relevance, total, k), slow, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize('name', METRICS)
@settings(deadline=None, max_examples=50)
@given(case=rankings(), data=st.data())
def test_a_relevant_item_that_moves_up_never_lowers_the_value(name, case, data):
    relevance, total, k = case
    place = data.draw(st.integers(0, relevance.shape[1] - 1))
    better = relevance.copy()
    if place:
        better[:, place - 1 : place + 1] = -np.sort(-better[:, place - 1 : place + 1], axis=1)
    assert (METRICS[name](better, total, k) >= METRICS[name](relevance, total, k) - EXACT).all()


@pytest.mark.parametrize('k', [1, 5, 20, 60])
def test_agrees_with_scikit_learn(rng, k):
    truth = rng.integers(0, 2, (30, 60))
    truth[:, 0] = 1
    scores = rng.permuted(np.tile(np.arange(60.0), (30, 1)), axis=1)  # no ties
    order = np.argsort(-scores, axis=1)
    relevance, total = np.take_along_axis(truth, order, 1), truth.sum(1)
    chosen = np.zeros_like(truth)
    np.put_along_axis(chosen, order[:, :k], 1, axis=1)
    rows = range(len(truth))

    def each(f):
        return [f(truth[i], chosen[i], zero_division=0) for i in rows]

    assert_allclose(metrics.precision_at_k(relevance, total, k), each(sklearn.precision_score), rtol=1e-9)
    assert_allclose(metrics.recall_at_k(relevance, total, k), each(sklearn.recall_score), rtol=1e-9)
    assert_allclose(metrics.f1_score_at_k(relevance, total, k), each(sklearn.f1_score), rtol=1e-9)
    assert_allclose(metrics.dcg_at_k(relevance, total, k).mean(), sklearn.dcg_score(truth, scores, k=k), rtol=1e-9)
    assert_allclose(metrics.ndcg_at_k(relevance, total, k).mean(), sklearn.ndcg_score(truth, scores, k=k), rtol=1e-9)
    whole = [sklearn.average_precision_score(truth[i], scores[i]) for i in rows]
    assert_allclose(metrics.average_precision(relevance, total), whole, rtol=1e-9)


@pytest.mark.parametrize('k', [3, 10, None])
def test_graded_relevance_agrees_with_scikit_learn(rng, k):
    truth = rng.integers(0, 4, (20, 10)).astype(float)
    scores = rng.permuted(np.tile(np.arange(10.0), (20, 1)), axis=1)
    relevance = np.take_along_axis(truth, np.argsort(-scores, axis=1), 1)
    total = (truth > 0).sum(1)
    assert_allclose(metrics.dcg_at_k(relevance, total, k).mean(), sklearn.dcg_score(truth, scores, k=k), rtol=1e-9)
    found = metrics.ndcg_at_k(relevance, total, k, grades=truth)
    assert_allclose(found.mean(), sklearn.ndcg_score(truth, scores, k=k), rtol=1e-9)


# Computed by ranx 0.3.21 of the grades of 12 items and the 8 that were found, by queries; linear and `burges` gains.
GRADES = np.array(
    [
        [0, 0, 3, 1, 2, 2, 2, 0, 1, 0, 1, 3],
        [0, 0, 2, 0, 3, 3, 3, 2, 3, 1, 0, 2],
        [0, 2, 3, 1, 3, 0, 1, 3, 0, 2, 1, 2],
        [0, 3, 3, 2, 3, 3, 0, 0, 1, 2, 3, 1],
    ]
)
FOUND = np.array(
    [[8, 5, 11, 2, 7, 0, 10, 6], [11, 4, 5, 1, 3, 10, 6, 7], [5, 4, 10, 0, 11, 8, 9, 2], [0, 9, 6, 3, 11, 5, 2, 7]]
)
RANX = [
    ('precision_at_k', 5, {}, [0.8, 0.6, 0.6, 0.6]),
    ('recall_at_k', 5, {}, [0.5, 0.375, 0.3333333333, 0.3333333333]),
    ('f1_score_at_k', 5, {}, [0.6153846154, 0.4615384615, 0.4285714286, 0.4285714286]),
    ('hit_at_k', 5, {}, [1.0, 1.0, 1.0, 1.0]),
    ('reciprocal_rank', None, {}, [1.0, 1.0, 0.5, 0.5]),
    ('average_precision', None, {}, [0.6830357143, 0.5245535714, 0.3292328042, 0.3312169312]),
    ('average_precision', 5, {}, [0.5, 0.375, 0.1962962963, 0.1777777778]),
    ('dcg_at_k', 5, {}, [5.0538891814, 5.3927892607, 3.1664948752, 2.5100654305]),
    ('dcg_at_k', 5, {'gain': 'exponential'}, [9.4075251672, 10.916508275, 6.0770666967, 3.5716717422]),
    ('ndcg_at_k', 5, {}, [0.6713590906, 0.637556731, 0.3944388183, 0.2837714356]),
    ('ndcg_at_k', 5, {'gain': 'exponential'}, [0.6121065898, 0.5717903386, 0.349878115, 0.173052703]),
    ('r_precision', None, {}, [0.75, 0.625, 0.5555555556, 0.5555555556]),
    ('ndcg_at_k', 12, {}, [0.705291887, 0.6917827506, 0.4932416407, 0.4223509573]),
]


@pytest.mark.parametrize(('name', 'k', 'options', 'expected'), RANX)
def test_agrees_with_ranx(name, k, options, expected):
    relevance, total = np.take_along_axis(GRADES, FOUND, axis=1), (GRADES > 0).sum(axis=1)
    graded = {'grades': GRADES} if name == 'ndcg_at_k' else {}
    assert_allclose(METRICS[name](relevance, total, k, **options, **graded), expected, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(grades=st.lists(st.integers(0, 9), min_size=1, max_size=10), k=st.none() | st.integers(1, 12), data=st.data())
def test_the_ideal_list_and_no_other_has_an_ndcg_of_one(grades, k, data):
    total, gain = [sum(g > 0 for g in grades)], data.draw(st.sampled_from(metrics.GAINS))
    best = sorted(grades, reverse=True)
    other = data.draw(st.permutations(grades))

    def ndcg(found):
        return metrics.ndcg_at_k([found], total, k, grades=[grades], gain=gain)[0]

    assert ndcg(best) == pytest.approx(1.0 if total[0] else 0.0, rel=EXACT)
    width = k or len(grades)
    if other[:width] != best[:width]:
        assert ndcg(list(other)) < ndcg(best)
