"""The original's definitions of the metrics, to compare with numbers it published.

Called as those in `metrics`. Where a definition is the same in both, this is the same function. The others look at
the retrieved list alone: what was not retrieved costs nothing, so the values are too good.
"""

import numpy as np

from finetuner.evaluation import metrics
from finetuner.evaluation.metrics import Metric, checked, harmonic, hit_at_k, ratio, recall_at_k, reciprocal_rank

__all__ = ['METRICS', 'hit_at_k', 'recall_at_k', 'reciprocal_rank']


def precision_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`hits / retrieved`: a list shorter than k is not held against the model.

    >>> precision_at_k([[1, 0, -1, -1, -1]], [1], k=5)
    array([0.5])
    """
    hits, _ = checked(relevance, n_relevant, k)
    return ratio(hits.sum(axis=1), (np.asarray(relevance)[:, :k] >= 0).sum(axis=1))


def f1_score_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """The harmonic mean of this module's precision and recall; 0 where both are."""
    return harmonic(precision_at_k(relevance, n_relevant, k), recall_at_k(relevance, n_relevant, k))


def average_precision(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """The mean, over the hits that were retrieved, of the precision at their rank; 0 if there are none.

    >>> average_precision([[0, 1]], [5])
    array([0.5])
    """
    hits, _ = checked(relevance, n_relevant, k)
    return ratio(metrics.precisions(hits), hits.sum(axis=1))


def r_precision(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """The precision of the list up to its last hit; 0 if there is none.

    >>> r_precision([[1, 0, 0, 1]], [2])
    array([0.5])
    """
    hits, _ = checked(relevance, n_relevant, k)
    last = np.where(hits, np.arange(1, hits.shape[1] + 1), 0).max(axis=1, initial=0)
    return ratio(hits.sum(axis=1), last)


def dcg_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`first + sum over later ranks i of relevance / log2(i)`: the first two ranks are not discounted.

    >>> dcg_at_k([[1, 1, 1]], [3]).round(4)
    array([2.6309])
    """
    checked(relevance, n_relevant, k)
    return _discounted(np.maximum(np.asarray(relevance, float), 0)[:, :k])


def ndcg_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """This module's dcg, divided by that of the retrieved list sorted; 0 if nothing in it is relevant.

    >>> ndcg_at_k([[0, 1]], [1])
    array([1.])
    """
    checked(relevance, n_relevant, k)
    gains = np.maximum(np.asarray(relevance, float), 0)
    return ratio(_discounted(gains[:, :k]), _discounted(-np.sort(-gains, axis=1)[:, :k]))


def _discounted(gains: np.ndarray) -> np.ndarray:
    return gains @ (1 / np.log2(np.maximum(np.arange(1, gains.shape[1] + 1), 2)))


METRICS: dict[str, Metric] = {
    'average_precision': average_precision,
    'dcg_at_k': dcg_at_k,
    'f1_score_at_k': f1_score_at_k,
    'hit_at_k': hit_at_k,
    'ndcg_at_k': ndcg_at_k,
    'precision_at_k': precision_at_k,
    'r_precision': r_precision,
    'recall_at_k': recall_at_k,
    'reciprocal_rank': reciprocal_rank,
}
