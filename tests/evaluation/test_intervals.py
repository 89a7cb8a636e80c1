"""How sure a mean is, and whether two models differ."""

import json
from dataclasses import replace

import numpy as np
import pytest

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import Comparison, Evaluator, bootstrap, compare
from finetuner.evaluation.correlation import correlation
from finetuner.evaluation.metrics import hit_at_k
from tests.evaluation.models import Same

CHOSEN = ['map_at_r', 'precision_at_k', 'hit_at_1']


def points(noise, seed=0):
    """60 points of four classes, and two of which nothing else is."""
    chance = np.random.default_rng(seed)
    labels = np.array([*np.arange(60) % 4, 4, 5])
    return (np.eye(6)[labels] + noise * chance.standard_normal((62, 6))).astype(np.float32), labels


def evaluated(data, index=None, metrics=CHOSEN, **options):
    evaluator = Evaluator(data, index, Same(None), metrics)
    evaluator.evaluate(**options)
    return evaluator


def test_intervals_are_of_queries_that_have_an_answer():
    evaluator = evaluated(points(0.6), limit=5)
    found = evaluator.intervals()
    assert list(found) == CHOSEN
    for name, (low, high) in found.items():
        values = evaluator.per_query[name][:60]
        assert low < evaluator.means[name] < high
        drawn = bootstrap.means(values[:, None], 2_000, 0)[:, 0]
        assert (low, high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_an_interval_does_not_depend_on_the_other_metrics():
    assert evaluated(points(0.6)).intervals()['map_at_r'] == pytest.approx(
        evaluated(points(0.6), metrics='map_at_r').intervals()['map_at_r'], rel=1e-12
    )


def test_more_confidence_is_a_wider_interval_and_seeds_are_chance():
    evaluator = evaluated(points(0.6))
    wide, narrow = (np.diff(evaluator.intervals(confidence)['map_at_r'])[0] for confidence in (0.99, 0.5))
    assert wide > 2 * narrow
    assert evaluator.intervals(seed=1) == evaluator.intervals(seed=1) != evaluator.intervals(seed=2)


def test_metrics_with_gaps_of_their_own_are_drawn_from_what_they_have():
    def sometimes(relevance, n_relevant):
        return np.where(relevance[:, 0] > 0, 1.0, np.nan)

    evaluator = evaluated(points(0.6), metrics={'sometimes': sometimes, 'always': lambda r, n_relevant: r[:, 0]})
    found = evaluator.intervals()
    assert found['sometimes'] == (1.0, 1.0)
    assert found['always'][0] < evaluator.means['always'] < found['always'][1]


def test_metrics_of_fewer_than_two_queries_have_no_interval():
    def none(relevance, n_relevant):
        return np.full(len(relevance), np.nan)

    def first(relevance, n_relevant):
        return np.where(np.arange(len(relevance)) == 0, 1.0, np.nan)

    own = {'none': none, 'first': first, 'hit_at_1': hit_at_k}
    before, after = evaluated(points(0.6), metrics=own), evaluated(points(0.6), metrics=own)
    assert list(before.intervals()) == ['hit_at_1']
    assert np.isnan(before.means['none'])
    found = compare(before, after)
    assert [found[name].queries for name in own] == [0, 1, 60]
    with pytest.raises(DataError, match='no metric of this evaluation has values of more than one query'):
        evaluated(points(0.6), metrics={'none': none, 'first': first}).intervals()


def test_facts_have_none_where_there_is_no_number():
    one = compare(*(evaluated(points(0.6), metrics=['nmi']) for _ in range(2)))['nmi']
    assert one.queries == 62
    assert json.loads(json.dumps(one.facts(), allow_nan=False)) == {
        'before': one.before, 'after': one.after, 'difference': 0, 'low': None, 'high': None, 'p_value': None,
        'queries': 62, 'rose': None, 'fell': None, 'tied': None,
    }  # fmt: skip


@pytest.mark.parametrize('limit', [(1, 5), np.array([1, 5]), range(1, 6, 4)])
def test_limits_are_compared_by_their_numbers(limit):
    metrics = ['precision_at_k', 'map_at_r']
    before, after = (
        evaluated(points(0.6), metrics=metrics, limit=[1, 5]),
        evaluated(points(0.6), metrics=metrics, limit=limit),
    )
    assert list(compare(before, after)) == ['precision_at_1', 'precision_at_5', 'map_at_r']
    assert after.settings['limit'] == [1, 5]


def test_one_query_has_no_interval():
    with pytest.raises(DataError, match='one query with an answer'):
        evaluated((np.eye(2, dtype=np.float32), ['x', 'y']), (np.eye(2, dtype=np.float32), ['x', 'z'])).intervals()


@pytest.mark.parametrize(('options', 'message'), [({'confidence': 95}, 'part of 1'), ({'resamples': 0}, 'resamples=0')])
def test_impossible_numbers_are_refused(options, message):
    evaluator = evaluated(points(0.6))
    with pytest.raises(ArgumentError, match=message):
        evaluator.intervals(**options)
    with pytest.raises(ArgumentError, match=message):
        compare(evaluator, evaluated(points(0.6)), **options)


def test_nothing_is_known_before_an_evaluation():
    done, fresh = evaluated(points(0.6)), Evaluator(points(0.6), model=Same(None))
    for ask in (fresh.intervals, lambda: compare(fresh, done), lambda: compare(done, fresh)):
        with pytest.raises(ArgumentError, match=r'call evaluator\.evaluate\(\) first'):
            ask()


def test_two_models_are_compared_query_by_query():
    before, after = evaluated(points(0.9)), evaluated(points(0.4))
    found = compare(before, after)
    assert list(found) == CHOSEN
    for name, one in found.items():
        old, new = before.per_query[name][:60], after.per_query[name][:60]
        assert isinstance(one, Comparison)
        assert (one.before, one.after) == (before.means[name], after.means[name])
        assert one.difference == pytest.approx((new - old).mean())
        assert one.low < one.difference < one.high
        assert (one.rose, one.fell, one.tied) == ((new > old).sum(), (new < old).sum(), (new == old).sum())
        assert (one.queries, one.p_value) == (60, pytest.approx(1e-4, abs=2e-3))
    assert compare(after, before)['map_at_r'].difference == pytest.approx(-found['map_at_r'].difference)
    assert found['map_at_r'].facts()['rose'] == found['map_at_r'].rose


def test_a_model_and_itself_do_not_differ():
    one = compare(evaluated(points(0.6)), evaluated(points(0.6)))['map_at_r']
    assert one[2:] == (0, 0, 0, 1, 60, 0, 0, 60)


def test_noise_is_no_difference():
    one = compare(evaluated(points(0.6, 3)), evaluated(points(0.6, 4)))['map_at_r']
    assert one.p_value > 0.1
    assert one.low < 0 < one.high


def test_only_metrics_of_both_are_compared():
    before, after = evaluated(points(0.9)), evaluated(points(0.4), metrics=['hit_at_3', 'map_at_r'])
    assert list(compare(before, after)) == ['map_at_r']
    with pytest.raises(ArgumentError, match='before has map_at_r, precision_at_k, hit_at_1; after has hit_at_3'):
        compare(before, evaluated(points(0.4), metrics='hit_at_3'))


def other(change):
    vectors, labels = points(0.6)
    if change == 'fewer':
        return (vectors[1:], labels[1:]), {}
    if change == 'labels':
        return (vectors, np.where(np.arange(62) == 7, 0, labels)), {}
    if change == 'swapped':  # as many of each
        return (vectors, np.where(labels < 2, 1 - labels, labels)), {}
    if change == 'index':
        return (vectors, labels), {'index': (vectors[:50], labels[:50])}
    if change == 'kind':
        return [('a', 'b', 1.0)], {}
    options = {'limit': {'limit': 5}, 'self': {'exclude_self': False}, 'rows': {'rows': np.arange(9)}}
    return (vectors, labels), options[change]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('fewer', 'differ in the number of queries: 62 before, 61 after'),
        ('labels', 'the label of query 7: 3 before, 0 after'),
        ('swapped', 'the label of query 0: 0 before, 1 after'),
        ('index', 'the number of items searched: 62 before, 50 after'),
        ('limit', 'limit: 20 before, 5 after'),
        ('self', 'exclude_self: True before, False after'),
        ('rows', 'whether item 9 has a map_at_r: True before, False after'),
    ],
)
def test_evaluations_of_other_queries_are_not_compared(change, message):
    data, options = other(change)
    with pytest.raises(ArgumentError, match=message):
        compare(evaluated(points(0.6)), evaluated(data, **options))


def test_queries_of_other_names_are_not_compared():
    named = evaluated(points(0.6))
    named.query_names = [*named.query_names[:-1], 'mine']
    with pytest.raises(ArgumentError, match='query 61: item 61 before, mine after'):
        compare(evaluated(points(0.6)), named)


def test_the_index_has_the_same_labels_and_names():
    (vectors, labels), (searched, wanted) = points(0.6), points(0.6, 1)
    before = evaluated((vectors, labels), (searched, wanted))
    swapped = np.where(wanted < 2, 1 - wanted, wanted)
    with pytest.raises(ArgumentError, match='the label of searched item 0: 0 before, 1 after'):
        compare(before, evaluated((vectors, labels), (searched, swapped)))
    named = evaluated((vectors, labels), (searched, wanted))
    named.index_data = replace(named.index_data, names=[*list(named.index_data.names)[:-1], 'mine'])
    with pytest.raises(ArgumentError, match='searched item 61: item 61 before, mine after'):
        compare(before, named)
    assert compare(before, evaluated((2 * vectors, labels), (3 * searched, wanted)))  # other vectors


def test_labels_are_compared_in_any_order():
    vectors, labels = points(0.6)
    several, turned = ([pair[::step] for pair in zip(labels.tolist(), labels + 9, strict=True)] for step in (1, -1))
    assert compare(evaluated((vectors, several)), evaluated((vectors, turned)))['map_at_r'].p_value == 1


@pytest.mark.parametrize('other', ['abc', 'bca'])
def test_what_is_listed_as_relevant_is_compared(other):
    vectors = dict(zip('qrsabc', np.eye(6, dtype=np.float32), strict=True))
    sides = []
    for answers in ('abc', other):
        side = Evaluator([*zip('qrs', answers, strict=True)], list('abc'), Same(None), ['map_at_r', 'hit_at_1'])
        side.evaluate(preprocess_fn=vectors.__getitem__, collate_fn=np.array)
        sides.append(side)
    if other == 'abc':
        assert compare(*sides)['map_at_r'].tied == 3
        return
    with pytest.raises(ArgumentError, match=r'what is relevant to .*: item 0 with grade 1 before, item 1 with grade 1'):
        compare(*sides)


def test_one_evaluator_is_not_two():
    evaluator = evaluated(points(0.6))
    with pytest.raises(ArgumentError, match='one Evaluator, whose second evaluation replaced the first: make one for'):
        compare(evaluator, evaluator)


def test_queries_that_were_asked_are_compared_where_no_metric_tells_them():
    before, after = (evaluated(points(0.6), metrics='nmi', rows=rows) for rows in (np.arange(30), np.arange(1, 31)))
    with pytest.raises(ArgumentError, match='which queries were asked: item 0 before, item 1 after'):
        compare(before, after)


class TestScoredPairs:
    def rows(self, noise=0.5, scores=None):
        chance = np.random.default_rng(0)
        a, b = chance.standard_normal((2, 40, 3)).astype(np.float32)
        wanted = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        b = b + noise * chance.standard_normal(b.shape).astype(np.float32)
        return list(zip(a, b, wanted.tolist() if scores is None else scores, strict=True))

    def test_pairs_are_drawn(self):
        evaluator = evaluated(self.rows(), metrics=None)
        found = evaluator.intervals(resamples=300)
        assert list(found) == ['spearman', 'pearson']
        for name, (low, high) in found.items():
            assert low < evaluator.means[name] < high
        scores, chance = evaluator.query_data.scores.astype(float)[:, 0], np.random.default_rng(0)
        drawn = [chance.integers(0, 40, 40) for _ in range(300)]
        slow = [correlation('pearson', evaluator.similarities[d], scores[d]) for d in drawn]
        assert found['pearson'] == pytest.approx(np.quantile(slow, [0.025, 0.975]))

    @pytest.mark.parametrize('count', [1, 2])
    def test_so_few_have_no_interval(self, count):
        evaluator = evaluated(self.rows()[:count], metrics=None)
        with pytest.raises(DataError, match=f'this evaluation has {count} of them'):
            evaluator.intervals()

    def test_models_are_compared(self):
        before, after = evaluated(self.rows(2.0), metrics=None), evaluated(self.rows(0.1), metrics=None)
        one = compare(before, after, resamples=500)['spearman']
        assert 0 < one.low < one.difference < one.high
        assert (one.p_value, one.queries, one.rose) == (2 / 501, 40, None)
        again = evaluated(self.rows(0.1), metrics=None)
        assert compare(after, again, resamples=50)['pearson'].p_value == 1

    def test_other_scores_are_not_compared(self):
        scores = [float(score) for *_, score in self.rows()]
        mine = evaluated(self.rows(scores=[*scores[:-1], 0.5]), metrics=None)
        with pytest.raises(ArgumentError, match=r'the scores of row 39: \['):
            compare(evaluated(self.rows(), metrics=None), mine)
        with pytest.raises(ArgumentError, match='the shape of their scores'):
            compare(mine, evaluated(self.rows()[1:], metrics=None))
        with pytest.raises(ArgumentError, match="the kind of their data: 'class' before, 'score' after"):
            compare(evaluated(points(0.6)), mine)
