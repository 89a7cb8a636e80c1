"""Means by class."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import Evaluator
from tests.evaluation.models import Same


def evaluated(data, **options):
    evaluator = Evaluator(data, model=Same(None), metrics=['precision_at_1', 'reciprocal_rank'])
    evaluator.evaluate(**options)
    return evaluator


def line(*places):
    return np.array([[np.cos(place), np.sin(place)] for place in places], np.float32)


def test_a_small_class_counts_as_much_as_a_large_one():
    # Of the three x each finds another x first; the two y find an x, and then the other y.
    evaluator = evaluated((line(0, 0.1, 0.2, 0.35, -0.3), ['x', 'x', 'x', 'y', 'y']))
    assert evaluator.per_query['precision_at_1'].tolist() == [1, 1, 1, 0, 0]
    assert evaluator.means['precision_at_1'] == 3 / 5
    assert evaluator.per_class()['precision_at_1'] == {'x': 1, 'y': 0}
    assert evaluator.macro() == {'precision_at_1': 1 / 2, 'reciprocal_rank': (1 + (1 / 4 + 1 / 4) / 2) / 2}


def test_an_item_of_several_labels_counts_for_each():
    evaluator = evaluated((line(0, 0.1, 1.5, 1.6), [('x', 'y'), 'x', 'z', ('y', 'z')]))
    assert evaluator.per_query['reciprocal_rank'].tolist() == [1, 1, 1, 1]
    found = evaluated((line(0, 0.1, 1.5, 0.2), [('x', 'y'), 'x', 'z', ('y', 'z')]))
    each = found.per_query['reciprocal_rank']
    assert found.per_class()['reciprocal_rank'] == {
        'x': pytest.approx(each[[0, 1]].mean()),
        'y': pytest.approx(each[[0, 3]].mean()),
        'z': pytest.approx(each[[2, 3]].mean()),
    }


def test_classes_without_an_answer_and_queries_not_asked_do_not_count():
    data = (line(0, 0.1, 1, 2, 2.1), ['x', 'x', 'alone', 'y', 'y'])
    assert set(evaluated(data).per_class()['precision_at_1']) == {'x', 'y'}
    assert set(evaluated(data, rows=np.array([0, 2])).per_class()['precision_at_1']) == {'x'}


def test_data_without_labels_has_no_classes():
    evaluator = Evaluator([('q', 'a'), ('r', 'b')])
    for ask in (evaluator.macro, evaluator.per_class):
        with pytest.raises(DataError, match=r'has 2 pairs without labels. Expected .* \(contents, labels\)'):
            ask()


def test_nothing_is_known_before_an_evaluation():
    with pytest.raises(ArgumentError, match=r'call evaluator\.evaluate\(\) first'):
        Evaluator((line(0, 1), ['x', 'x'])).macro()
