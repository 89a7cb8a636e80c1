"""What an evaluator keeps, and keeps once."""

import numpy as np

from finetuner.evaluation import Evaluator
from tests.evaluation.models import Same


def test_vectors_of_all_that_are_queries_and_index_are_not_copied():
    evaluator = Evaluator((np.eye(4, dtype='float32'), [0, 0, 1, 1]), model=Same(None))
    evaluator.evaluate()
    queries, index = evaluator.embeddings
    assert queries is index and queries.tolist() == np.eye(4).tolist()
    evaluator.evaluate(rows=np.array([3, 1]))
    assert evaluator.embeddings[0].tolist() == np.eye(4)[[3, 1]].tolist()


def test_names_of_queries_are_made_once():
    evaluator = Evaluator((np.eye(4, dtype='float32'), [0, 0, 1, 1]), model=Same(None))
    evaluator.truth()
    names = evaluator.query_names
    evaluator.truth()
    assert evaluator.query_names is names
    evaluator.truth(False)
    assert evaluator.query_names == names
