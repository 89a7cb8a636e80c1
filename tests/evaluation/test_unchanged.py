"""An evaluation that fails leaves what the one before it gave."""

import numpy as np
import pytest

from finetuner.evaluation import Evaluator
from tests.evaluation.models import Same


def test_an_evaluation_that_fails_leaves_the_one_before_it():
    def fails(relevance, n_relevant):
        raise ValueError('mine')

    evaluator = Evaluator((np.eye(4, dtype=np.float32), [0, 0, 1, 1]), model=Same(None), metrics=['hit_at_k'])
    evaluator.evaluate(limit=2)
    before = dict(vars(evaluator))
    evaluator.metrics = {'fails': fails}
    with pytest.raises(ValueError, match='mine'):
        evaluator.evaluate(limit=3, distance='dot', rows=np.arange(2), exclude_self=False)
    after = dict(vars(evaluator))
    assert after.pop('metrics') == {'fails': fails}
    assert all(after[name] is before[name] for name in after)
    assert evaluator.settings['limit'] == 2
