"""Retrieval metrics by their standard definitions, for many queries at once.

Every metric is called as `name(relevance, n_relevant, k=None)` and gives one value per query:

    relevance (Q, W): what was retrieved for each query, best first: 1 relevant, 0 not, -1 where nothing more was
        retrieved. Grades are allowed: `dcg_at_k` and `ndcg_at_k` weigh by them, to the others all above 0 is relevant.
    n_relevant (Q,): how many relevant items the index holds for each query.
    k: only the first k results count; None counts all W.

A query without relevant items scores 0 here; an `Evaluator` leaves it out of its means.
"""

from collections.abc import Callable

import numpy as np

from finetuner.errors import ArgumentError, nearest

Metric = Callable[..., np.ndarray]

GAINS = ('linear', 'exponential')


def precision_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`hits / k`: what is missing from a list shorter than k counts as wrong.

    >>> precision_at_k([[1, 0, 1, 0]], [3], k=2)
    array([0.5])
    """
    hits, _ = checked(relevance, n_relevant, k)
    precision: np.ndarray = hits.sum(axis=1) / (k or max(hits.shape[1], 1))
    return precision


def recall_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`hits / n_relevant`: the part of all relevant items that was found.

    >>> recall_at_k([[1, 0, 1, 0]], [4])
    array([0.5])
    """
    hits, total = checked(relevance, n_relevant, k)
    return ratio(hits.sum(axis=1), total)


def f1_score_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`2 P R / (P + R)`: the harmonic mean of precision and recall; 0 where both are.

    >>> f1_score_at_k([[1, 0, 1, 0]], [2])
    array([0.66666667])
    """
    return harmonic(precision_at_k(relevance, n_relevant, k), recall_at_k(relevance, n_relevant, k))


def hit_at_k(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """1 where there is a relevant result at all, else 0.

    >>> hit_at_k([[0, 0, 1], [0, 0, 0]], [1, 1])
    array([1., 0.])
    """
    hits, _ = checked(relevance, n_relevant, k)
    return hits.any(axis=1).astype(float)


def dcg_at_k(
    relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None, *, gain: str = 'linear'
) -> np.ndarray:
    """`sum over ranks i of gain / log2(i + 1)`, the discounted cumulative gain.

    Args:
        relevance: (Q, W) as for every metric; may be grades.
        n_relevant: (Q,) as for every metric.
        k: as for every metric.
        gain: of a grade g: 'linear', g, or 'exponential', `2 ** g - 1`. Of relevance 0 and 1 they are the same.

    Source: Järvelin and Kekäläinen, 2002; the exponential gain Burges et al., 2005.

    >>> dcg_at_k([[1, 0, 1]], [2]), dcg_at_k([[3, 0, 1]], [2]), dcg_at_k([[3, 0, 1]], [2], gain='exponential')
    (array([1.5]), array([3.5]), array([7.5]))
    """
    checked(relevance, n_relevant, k)
    return discounted(gains(np.asarray(relevance)[:, :k], gain))


def ndcg_at_k(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    *,
    grades: np.ndarray | None = None,
    gain: str = 'linear',
) -> np.ndarray:
    """`dcg / ideal dcg`, where the ideal list holds all relevant items of the index, the best first.

    Args:
        relevance: (Q, W) as for every metric.
        n_relevant: (Q,) as for every metric.
        k: as for every metric.
        grades: (Q, G) for graded relevance: the grades of all relevant items of each query, in any order, 0 for
            none; of many the highest k will do. Without it all relevant items are worth 1.
        gain: as for `dcg_at_k`.

    Raises:
        ArgumentError: `relevance` has grades other than 1 and `grades` is not given, or lacks some of them.

    >>> ndcg_at_k([[0, 1]], [1]).round(4), ndcg_at_k([[1, 3]], [2], grades=[[1, 3]]).round(4)
    (array([0.6309]), array([0.7967]))
    """
    hits, total = checked(relevance, n_relevant, k)
    gained = gains(np.asarray(relevance)[:, :k], gain)
    width = k or hits.shape[1]
    if grades is None:
        if (gained != hits).any():
            raise ArgumentError(
                'Graded relevance needs the grades of all relevant items to know the ideal list: '
                'pass grades=(Q, G) of them, or a relevance of 0 and 1.'
            )
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, width + 2)))])
        best = ideal[np.minimum(total, width).astype(int)]
    else:
        known = np.asarray(grades)
        if known.ndim != 2 or len(known) != len(hits):
            raise ArgumentError(f'grades has a row for each of the {len(hits)} queries; its shape is {known.shape}.')
        best = discounted(-np.sort(-gains(known, gain), axis=1)[:, :width])
    dcg = discounted(gained)
    beyond = np.flatnonzero(dcg > best * (1 + 1e-9))
    if beyond.size:
        raise ArgumentError(
            f'Query {beyond[0]} found more than the best possible list holds, {dcg[beyond[0]]:g} against '
            f'{best[beyond[0]]:g}: expected in grades those of all its relevant items, at least the {width} highest.'
        )
    return ratio(dcg, best)


def average_precision(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`sum over hits of the precision at their rank / n_relevant`: what was not retrieved costs as much as a miss.

    >>> average_precision([[0, 1, 0, 1]], [4])
    array([0.25])
    """
    hits, total = checked(relevance, n_relevant, k)
    return ratio(precisions(hits), total)


def reciprocal_rank(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`1 / rank of the first hit`; 0 where there is none.

    >>> reciprocal_rank([[0, 0, 1, 1], [0, 0, 0, 0]], [2, 2])
    array([0.33333333, 0.        ])
    """
    hits, _ = checked(relevance, n_relevant, k)
    if not hits.shape[1]:
        return np.zeros(len(hits))
    return np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)


def r_precision(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`hits among the first R / R`, where R is the query's `n_relevant`; give at least R results.

    >>> r_precision([[1, 0, 0, 1]], [2])
    array([0.5])
    """
    hits, total = checked(relevance, n_relevant, k)
    return ratio(within(hits, total).sum(axis=1), total)


def map_at_r(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """`average_precision` of the first R results, where R is the query's `n_relevant`; give at least R results.

    Source: Musgrave, Belongie and Lim, 2020.

    >>> map_at_r([[1, 0, 1, 1]], [3]).round(4)
    array([0.5556])
    """
    hits, total = checked(relevance, n_relevant, k)
    return ratio(precisions(within(hits, total)), total)


METRICS: dict[str, Metric] = {
    'average_precision': average_precision,
    'dcg_at_k': dcg_at_k,
    'f1_score_at_k': f1_score_at_k,
    'hit_at_k': hit_at_k,
    'map_at_r': map_at_r,
    'ndcg_at_k': ndcg_at_k,
    'precision_at_k': precision_at_k,
    'r_precision': r_precision,
    'recall_at_k': recall_at_k,
    'reciprocal_rank': reciprocal_rank,
}


def checked(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The hits among the first k, (Q, min(k, W)) booleans, and `n_relevant` (Q,) as floats.

    Raises:
        ArgumentError: a shape or k is impossible, or a query has more hits than relevant items.
    """
    found, total = np.asarray(relevance), np.asarray(n_relevant, float)
    if found.ndim != 2 or total.shape != found.shape[:1]:
        raise ArgumentError(
            f'A metric takes relevance (Q, W) and n_relevant (Q,), one row per query; '
            f'these have shapes {found.shape} and {total.shape}.'
        )
    if k is not None and k < 1:
        raise ArgumentError(f'k counts results and is at least 1, or None for all of them; it is {k!r}.')
    hits = found[:, :k] > 0
    beyond = np.flatnonzero(hits.sum(axis=1) > total)
    if beyond.size:
        row = beyond[0]
        raise ArgumentError(f'Query {row} has {hits[row].sum()} relevant results, but n_relevant is {total[row]:g}.')
    return hits, total


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, and 0 where the whole is 0."""
    divided: np.ndarray = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    return divided


def harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`2 a b / (a + b)`, and 0 where both are 0."""
    return ratio(2 * a * b, a + b)


def precisions(hits: np.ndarray) -> np.ndarray:
    """(Q,) sum over the hits of the precision at their rank."""
    # Only the hits are looked at, for in a ranking of a whole index they are few.
    counts = hits.sum(axis=1)
    rows = np.repeat(np.arange(len(hits)), counts)
    ranks = np.flatnonzero(hits) - rows * hits.shape[1] + 1
    found = np.arange(1, len(rows) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    total: np.ndarray = np.bincount(rows, found / ranks, len(hits))
    return total


def within(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The hits (Q, W) among the first `total` (Q,) results of each query."""
    counted: np.ndarray = hits & (np.arange(hits.shape[1]) < total[:, None])
    return counted


def gains(relevance: np.ndarray, gain: str) -> np.ndarray:
    """What relevance (Q, W) is worth, as floats; what was not retrieved is worth 0.

    Raises:
        ArgumentError: there is no such gain.
    """
    if gain not in GAINS:
        raise ArgumentError(f'gain={gain!r} is unknown. {nearest(str(gain), GAINS)}')
    worth: np.ndarray = np.maximum(np.asarray(relevance, float), 0)
    if gain == 'exponential':
        worth = np.exp2(worth) - 1
    return worth


def discounted(gains: np.ndarray) -> np.ndarray:
    """(Q,) sum of the gains (Q, W), each divided by log2(rank + 1)."""
    return gains @ (1 / np.log2(np.arange(2, gains.shape[1] + 2)))
