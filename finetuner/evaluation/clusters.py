"""How well groups of vectors are the classes: k-means, and what its clusters share with the labels."""

import numpy as np

from finetuner.errors import ArgumentError, whole_number
from finetuner.evaluation.geometry import finite

# Vectors that are compared with all centres at a time hold at most so many distances.
_DISTANCES = 1 << 22
_ROUNDS = 100


def kmeans(vectors: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """(N,) numbers of clusters, from 0 to k - 1.

    Centres are drawn one after the other, each far from those before it and the best of a few (greedy k-means++); then
    every vector goes to its nearest centre, and every centre to the mean of its vectors, until nothing moves or for
    100 rounds. Vectors are never compared with each other, and in blocks with the centres.

    Args:
        vectors: (N, D) finite numbers; computed in their own precision, float32 or float64, less their mean.
        k: how many clusters.
        seed: what chance starts from.

    Raises:
        ArgumentError: the shape or k is impossible.
        DataError: a number is NaN or infinite.

    Source: Lloyd, 1982; Arthur and Vassilvitskii, 2007.

    >>> kmeans(np.array([[0.0], [5.0], [0.1], [5.1]]), 2).tolist()
    [1, 0, 1, 0]
    """
    x = np.asarray(vectors)
    x = x if x.dtype == np.float32 else x.astype(np.float64)
    if x.ndim != 2:
        raise ArgumentError(f'kmeans takes vectors (N, D); these have shape {x.shape}.')
    if whole_number('k', k, 1) > len(x):
        raise ArgumentError(f'k={k}: expected at most as many clusters as there are vectors, {len(x)}.')
    x = _centred(finite('kmeans', x))
    centres, nearest = _drawn(x, k, np.random.default_rng(seed)), np.full(len(x), -1)
    for _ in range(_ROUNDS):
        before = nearest
        nearest, distances = _assigned(x, centres)
        nearest = _filled(nearest, distances, k)
        if (nearest == before).all():
            break
        centres = _means(x, nearest, k)
    return nearest


def _centred(x: np.ndarray) -> np.ndarray:
    # Far from the origin the squares of float32 leave nothing of the distances.
    found, mean, step = np.empty_like(x), x.mean(axis=0, dtype=np.float64), max(_DISTANCES // max(x.shape[1], 1), 1)
    for a in range(0, len(x), step):
        found[a : a + step] = x[a : a + step] - mean
    return found


def nmi(clusters: np.ndarray, labels: np.ndarray) -> float:
    """`2 I / (H(clusters) + H(labels))`, the normalised mutual information; 1 where both are one group.

    Args:
        clusters: (N,) groups, of anything that can be compared.
        labels: (N,) other groups.

    >>> round(nmi([0, 0, 1, 1], ['a', 'a', 'a', 'b']), 4)
    0.3437
    """
    together, rows, columns = _table(clusters, labels)
    ours, theirs = _entropy(np.bincount(rows, together)), _entropy(np.bincount(columns, together))
    shared = max(ours + theirs - _entropy(together), 0.0)
    return 2 * shared / (ours + theirs) if ours + theirs > 0 else 1.0


def purity(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The part of all items whose label is the most frequent one of their cluster.

    Args:
        clusters: (N,) groups.
        labels: (N,) labels.

    Source: Manning, Raghavan and Schütze, Introduction to information retrieval, 2008, section 16.3.

    >>> purity([0, 0, 1, 1], ['a', 'a', 'a', 'b'])
    0.75
    """
    together, rows, _ = _table(clusters, labels)
    most = np.zeros(rows.max() + 1, np.int64)
    np.maximum.at(most, rows, together)
    return float(most.sum() / together.sum())


def _table(clusters: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # How often each cluster and label occur together, where they do, and the number of the one and of the other.
    a, b = (np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1) for groups in (clusters, labels))
    if len(a) != len(b) or not len(a):
        raise ArgumentError(f'Every item has a cluster and a label; these are {len(a)} clusters and {len(b)} labels.')
    pairs, together = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    return together, pairs[0], pairs[1]


def _entropy(counts: np.ndarray) -> float:
    parts = counts[counts > 0] / counts.sum()
    return float(-(parts * np.log(parts)).sum())


def _drawn(x: np.ndarray, k: int, chance: np.random.Generator) -> np.ndarray:
    # (k, D) of the vectors: the first by chance, each further one with the square of its distance to those before.
    squares = np.einsum('ij,ij->i', x, x)
    tries = 2 + int(np.log(k))
    chosen = [int(chance.integers(len(x)))]
    closest = _away(x, squares, np.array(chosen))[:, 0]
    while len(chosen) < k:
        total = np.cumsum(closest, dtype=np.float64)
        if total[-1] > 0:
            some = np.searchsorted(total, chance.random(tries) * total[-1], side='right')
        else:  # all that is left equals a centre
            some = chance.integers(0, len(x), tries)
        some = np.minimum(some, len(x) - 1)
        left = np.minimum(_away(x, squares, some), closest[:, None])
        best = int(left.sum(axis=0, dtype=np.float64).argmin())
        closest = left[:, best]
        chosen.append(int(some[best]))
    return x[chosen]


def _away(x: np.ndarray, squares: np.ndarray, some: np.ndarray) -> np.ndarray:
    # (N, S) squared distances to the vectors of these numbers; exactly 0 to themselves.
    d: np.ndarray = np.maximum(squares[:, None] + squares[some] - 2 * (x @ x[some].T), 0)
    d[some, np.arange(len(some))] = 0
    return d


def _assigned(x: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # The nearest centre of each vector, and the squared distance to it less the square of the vector.
    nearest, distances = np.empty(len(x), np.int64), np.empty(len(x), x.dtype)
    squares, step = np.einsum('ij,ij->i', centres, centres), max(_DISTANCES // len(centres), 1)
    for a in range(0, len(x), step):
        d = squares - 2 * (x[a : a + step] @ centres.T)
        nearest[a : a + step] = d.argmin(axis=1)
        distances[a : a + step] = d.min(axis=1)
    return nearest, distances + np.einsum('ij,ij->i', x, x)


def _filled(nearest: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    # An empty cluster takes the vector that is farthest from its centre, of a cluster that keeps another.
    counts = np.bincount(nearest, minlength=k)
    farthest = iter(np.argsort(-distances, kind='stable').tolist() if (counts == 0).any() else [])
    for empty in np.flatnonzero(counts == 0):
        one = next(place for place in farthest if counts[nearest[place]] > 1)
        counts[nearest[one]] -= 1
        nearest[one], counts[empty] = empty, 1
    return nearest


def _means(x: np.ndarray, nearest: np.ndarray, k: int) -> np.ndarray:
    sums, step = np.zeros((k, x.shape[1])), max(_DISTANCES // x.shape[1], 1)
    for a in range(0, len(x), step):
        order = np.argsort(nearest[a : a + step], kind='stable')
        groups, starts = np.unique(nearest[a : a + step][order], return_index=True)
        sums[groups] += np.add.reduceat(x[a : a + step][order].astype(np.float64), starts)
    return (sums / np.bincount(nearest, minlength=k)[:, None]).astype(x.dtype)
