import numpy as np
import pytest
from numpy.testing import assert_allclose

from finetuner.errors import ArgumentError
from finetuner.evaluation import legacy, metrics
from finetuner.evaluation.measures import default_metrics, depth, main_metric, measures, resolve

# Two queries; the index holds 2 and 6 relevant items.
RELEVANCE = np.array([[1, 0, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
N_RELEVANT = np.array([2, 6])


def values(*arguments, **options):
    return {m.name: m(RELEVANCE, N_RELEVANT).tolist() for m in measures(*arguments, **options)}


def test_one_limit_gives_the_literal_names():
    assert list(values(None, 3)) == list(metrics.METRICS)
    assert values('precision_at_k', 3) == {'precision_at_k': [1 / 3, 2 / 3]}


def test_a_list_of_limits_gives_a_name_for_each():
    found = values(['precision_at_k', 'average_precision'], [1, 5])
    assert found == {
        'precision_at_1': [1, 0],
        'precision_at_5': [2 / 5, 4 / 5],
        'average_precision': metrics.average_precision(RELEVANCE[:, :5], N_RELEVANT).tolist(),
    }
    assert list(values('hit_at_k', [4])) == ['hit_at_4']


def test_a_name_may_say_its_own_number():
    assert values(['precision_at_2', 'precision_at_k'], 4) == {
        'precision_at_2': [1 / 2, 1 / 2],
        'precision_at_k': [2 / 4, 3 / 4],
    }
    assert values('precision_at_6', 2) == {'precision_at_6': [2 / 6, 5 / 6]}


def test_metrics_of_r_are_not_cut_at_the_limit():
    assert values(['r_precision', 'reciprocal_rank'], 1) == {'r_precision': [1 / 2, 5 / 6], 'reciprocal_rank': [1, 0]}


def test_no_limit_counts_everything():
    assert values('precision_at_k', None) == {'precision_at_k': [2 / 6, 5 / 6]}


def test_legacy_gives_the_definitions_of_the_original():
    found = values(None, 4, legacy=True)
    assert list(found) == list(legacy.METRICS)
    for name, value in found.items():
        assert_allclose(value, legacy.METRICS[name](RELEVANCE[:, :4], N_RELEVANT))
    assert values('map_at_r', 4, legacy=True) == values('map_at_r', 4)
    # its ideal list comes from all that was retrieved, also where k is smaller
    assert values('ndcg_at_2', 6, legacy=True) == {'ndcg_at_2': legacy.ndcg_at_k(RELEVANCE, N_RELEVANT, 2).tolist()}


@pytest.mark.parametrize('old', [True, False])
@pytest.mark.parametrize('limit', [3, 20, None])
def test_the_default_metrics_are_a_choice_like_any_other(old, limit):
    assert values(default_metrics(old), limit, legacy=old) == values(None, limit, legacy=old)


def test_a_metric_of_the_original_form_sees_one_query_after_the_other():
    calls = []

    def share(binary_relevance, max_rel, weight=1.0, **kwargs):
        calls.append((binary_relevance, max_rel, weight, kwargs))
        return weight * sum(binary_relevance) / max_rel

    chosen = measures({'mine': (share, {'weight': 2.0})}, 3)
    assert chosen[0](np.array([[1, 0, -1, 1], [1, 1, 0, 0]]), N_RELEVANT).tolist() == [1.0, 2 / 3]
    assert calls == [([1, 0], 2, 2.0, {}), ([1, 1, 0], 6, 2.0, {})]


def test_a_metric_that_does_not_ask_for_the_number_of_relevant_items_does_not_get_it():
    assert values({'mine': (lambda relevance: relevance[0], {}), 'bare': sum}, 6) == {'mine': [1, 0], 'bare': [2, 5]}


def test_a_metric_with_n_relevant_sees_all_queries_at_once():
    def first(relevance, n_relevant):
        return relevance[:, 0] * n_relevant

    assert values({'mine': (first, {})}) == {'mine': [2, 0]}


def test_a_chosen_k_may_go_beyond_the_limit():
    chosen = {'deep': (metrics.precision_at_k, {'k': 6}), 'shallow': (metrics.precision_at_k, {})}
    assert values(chosen, 2) == {'deep': [2 / 6, 5 / 6], 'shallow': [1 / 2, 1 / 2]}
    assert depth(measures(chosen, 2), N_RELEVANT, 100) == 6


@pytest.mark.parametrize(
    ('choice', 'limit', 'expected'),
    [
        ('precision_at_k', 3, 3),
        ('precision_at_k', [1, 7], 7),
        ('precision_at_9', 3, 9),
        ('map_at_r', 3, 6),
        (['map_at_r', 'recall_at_k'], 20, 20),
        ('recall_at_k', None, 50),
        (['alignment', 'purity'], None, 1),
        (['alignment', 'hit_at_2'], 1, 2),
        ('recall_at_k', 80, 50),
    ],
)
def test_depth_is_as_many_results_as_are_needed(choice, limit, expected):
    assert depth(measures(choice, limit), N_RELEVANT, 50) == expected


@pytest.mark.parametrize(
    ('choice', 'limit', 'message'),
    [
        ('precision', 20, "no metric 'precision'.*'precision_at_k'"),
        ('map_at_5', 20, "no metric 'map_at_5'"),
        ([7], 20, 'no metric 7'),
        ('precision_at_0', 20, 'at least 1'),
        (None, 0, 'at least 1.*it is 0'),
        (None, [], r'it is \[\]'),
        (None, [5, True], r'it is \[5, True\]'),
        (None, 2.5, 'it is 2.5'),
        ({'mine': 5}, 20, "'mine' is 5"),
        ({'mine': (sum, 3)}, 20, r'\(callable, keyword arguments\)'),
    ],
)
def test_impossible_choices_are_refused(choice, limit, message):
    with pytest.raises(ArgumentError, match=message):
        measures(choice, limit)


@pytest.mark.parametrize(
    'wrong', [lambda relevance: relevance, lambda relevance: 'good', lambda relevance, n_relevant: 1]
)
def test_a_metric_of_ones_own_that_gives_no_numbers_is_named(wrong):
    with pytest.raises(ArgumentError, match="'mine' must give one number per query"):
        values({'mine': (wrong, {})})


def test_an_infinite_value_is_refused_and_none_is_not():
    for wrong in (lambda relevance: float('inf'), lambda relevance, n_relevant: -np.inf * n_relevant):
        with pytest.raises(ArgumentError, match="'mine' gave an infinite value"):
            values({'mine': (wrong, {})})
    assert np.isnan(values({'mine': (lambda relevance: float('nan'), {})})['mine']).all()


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['alignment', 'hit_at_k', 'average_precision'], 'average_precision'),
        (['alignment', 'knn_accuracy', 'hit_at_k'], 'hit_at_k'),
        (['alignment', 'knn_accuracy'], 'alignment'),
    ],
)
def test_queries_are_chosen_by_what_they_find_if_that_is_known(names, expected):
    assert main_metric(None, names) == expected


def test_monitors_take_either_name():
    one, several = list(values('precision_at_k', 20)), list(values('precision_at_k', [5, 1]))
    assert resolve('precision_at_k', one, 20) == 'precision_at_k'
    assert resolve('precision_at_20', one, 20) == 'precision_at_k'
    assert resolve('precision_at_1', several, [5, 1]) == 'precision_at_1'
    assert resolve('precision_at_k', several, [5, 1]) == 'precision_at_5'
    with pytest.raises(ArgumentError, match=r"no result 'precision_at_3'.*'precision_at_k'"):
        resolve('precision_at_3', one, 20)
