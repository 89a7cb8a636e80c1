"""How well similarities follow given scores: rank correlation and linear correlation."""

from typing import cast

import numpy as np

from finetuner.data.records import Records

CORRELATIONS = ('spearman', 'pearson')
_ROWS = 8192  # compared at a time


def correlation(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """The correlation of (n,) numbers with (n,) others; 0 where one side is all alike.

    Args:
        name: 'pearson', or 'spearman', which is that of the ranks, of which equal numbers share the mean.
        a: (n,).
        b: (n,).

    >>> correlation('spearman', np.array([0.1, 0.2, 0.9]), np.array([1.0, 3.0, 2.0]))
    0.5
    """
    if name == 'spearman':
        a, b = ranks(a), ranks(b)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each of (n,) numbers, from 1; equal numbers share the mean of theirs.

    >>> ranks(np.array([5.0, 1.0, 5.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: np.ndarray = (last - (counts - 1) / 2)[where.reshape(-1)]
    return mean


def similarities(records: Records, vectors: np.ndarray, distance: str) -> np.ndarray:
    """How similar the items of each scored row are, (R * S,) in the order of `targets`.

    Args:
        records: scored pairs; or rows with a margin, of which the similarity to the second item less that to the third
            is taken.
        vectors: (n, D) of all items.
        distance: 'cosine', 'dot', or 'euclidean' and 'sqeuclidean', which count as negative.
    """
    rows, scores = cast(np.ndarray, records.rows), cast(np.ndarray, records.scores)
    found = []
    for start in range(0, len(rows), _ROWS):
        anchors, *others = (vectors[column].astype(np.float64) for column in rows[start : start + _ROWS].T)
        each = np.stack([similarity(anchors, other, distance) for other in others], axis=1)
        found.append(each[:, :1] - each[:, 1:] if scores.shape[1] < each.shape[1] else each)
    return np.concatenate(found).reshape(-1)


def targets(records: Records) -> np.ndarray:
    """The scores of all rows, (R * S,)."""
    return cast(np.ndarray, records.scores).astype(np.float64).reshape(-1)


def similarity(a: np.ndarray, b: np.ndarray, distance: str) -> np.ndarray:
    """(n,) how similar vectors (n, D) are to others (n, D), row by row; of a distance its negative."""
    if distance in ('cosine', 'dot'):
        if distance == 'cosine':
            a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
        products: np.ndarray = (a * b).sum(axis=1)
        return products
    squared: np.ndarray = ((a - b) ** 2).sum(axis=1)
    return -(squared if distance == 'sqeuclidean' else np.sqrt(squared))
