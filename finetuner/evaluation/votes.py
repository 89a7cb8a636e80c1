"""Whether the nearest neighbours of an item tell its class."""

import numpy as np

from finetuner.errors import ArgumentError, whole_number

# Votes counted at a time.
_VOTES = 1 << 20


def knn_accuracy(labels: np.ndarray, found: np.ndarray, k: int | None = None) -> np.ndarray:
    """(Q,) 1 where the k nearest vote for a label that the query has, else 0.

    Each neighbour has a vote for each of its labels. Of labels with as many votes the one that was found first wins.

    Args:
        labels: (Q,) codes of the queries' labels, or (Q, L) for several; -1 is none.
        found: (Q, W) codes of the labels of what was found for each, nearest first, or (Q, W, L); -1 is none.
        k: how many neighbours vote; None for all W.

    Raises:
        ArgumentError: a shape or k is impossible.

    >>> knn_accuracy([7, 7], [[7, 8, 8], [7, 8, 9]])
    array([0., 1.])
    """
    own, theirs = np.asarray(labels), np.asarray(found)
    own = own[:, None] if own.ndim == 1 else own
    if own.ndim != 2 or theirs.ndim not in (2, 3) or len(own) != len(theirs):
        raise ArgumentError(
            f'knn_accuracy takes labels (Q,) and the labels of what was found (Q, W), a row for each query; '
            f'these have shapes {np.shape(labels)} and {theirs.shape}.'
        )
    votes = theirs[:, : None if k is None else whole_number('k', k, 1)]
    right, width = np.zeros(len(own)), int(np.prod(votes.shape[1:]))
    step = max(_VOTES // max(width, 1), 1)
    for a in range(0, len(own) if width else 0, step):
        right[a : a + step] = _right(own[a : a + step], votes[a : a + step].reshape(-1, width))
    return right


def _right(own: np.ndarray, votes: np.ndarray) -> np.ndarray:
    # (B,) whether the winner of (B, V) votes is among the labels (B, L).
    count, width = votes.shape
    order = np.argsort(votes, axis=1, kind='stable')
    ranked = np.take_along_axis(votes, order, axis=1)
    begins = np.ones(votes.shape, bool)
    begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    # A run of equal votes: how many, and which of them came first.
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, votes.size))
    runs, label = starts // width, ranked.ravel()[starts]
    weight = np.where(label < 0, -1, sizes * width + (width - 1 - order.ravel()[starts]))
    best = np.maximum.reduceat(weight, np.searchsorted(runs, np.arange(count)))
    chosen = np.full(count, -1)
    wins = (weight == best[runs]) & (weight >= 0)
    chosen[runs[wins]] = label[wins]
    right: np.ndarray = ((own == chosen[:, None]) & (own >= 0)).any(axis=1)
    return right
