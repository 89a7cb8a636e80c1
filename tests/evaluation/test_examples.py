"""Which queries are examples of a change."""

import numpy as np
import pytest

from finetuner.evaluation import Evaluator
from finetuner.evaluation.examples import Found, examples


@pytest.mark.parametrize(('metric', 'order'), [('hit_at_k', [3, 2, 0]), ('alignment', [0, 1, 3])])
def test_those_that_improved_most_come_before_those_that_worsened(metric, order):
    evaluator = Evaluator((['a', 'b', 'c', 'd'], [0, 0, 1, 1]))
    places = np.full((4, 5), -1)
    before = Found(np.full(4, 0.5), places)
    after = Found(np.array([0.1, 0.2, 0.7, 0.9]), places)
    found = examples(evaluator, True, metric, before, after, 3)
    assert [example['query'] for example in found] == [['a', 'b', 'c', 'd'][row] for row in order]
    assert found[0]['after'] == after.values[order[0]]
