"""Exact nearest neighbours: every vector is compared, in blocks, so that memory does not grow with the index.

1. Equal vectors of the index are compared once and share the result. A matrix product rounds the same column
   differently at different places; without this, equal vectors would stand in an order of chance.
2. Blocks of queries meet blocks of distinct vectors in float64; a block is cut down to its k nearest, ties in the
   order of the index, and merged with the k nearest so far.
"""

from collections.abc import Iterator

import numpy as np

from finetuner.errors import ArgumentError, DataError, enumerated, nearest
from finetuner.evaluation.distinct import distinct

DISTANCES = ('cosine', 'euclidean', 'sqeuclidean', 'dot')

# Distances below this part of the vectors' size are rounding: the vectors (for cosine, their directions) are equal.
_ROUNDING = 16 * 2.0**-52
# More columns than this in a block gain no speed.
_COLUMNS = 16384


def top_k(
    queries: np.ndarray,
    index: np.ndarray,
    k: int,
    metric: str = 'cosine',
    exclude: np.ndarray | None = None,
    block: int = 1 << 22,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest vectors of an index for every query, nearest first, equal distances in the order of the index.

    Args:
        queries: (Q, D) finite numbers.
        index: (M, D) finite numbers.
        k: how many; all M if there are fewer.
        metric: 'cosine' (`1 - cos`; a zero vector is at distance 1 from all), 'euclidean', 'sqeuclidean', or 'dot'
            (the negative product, so that less is nearer).
        exclude: (Q,) a place in the index that is not to be found for this query: its own; -1 for none.
        block: the most distances held at a time; 8 bytes each, and a few times that for choosing among them.

    Returns:
        (Q, min(k, M)) places in the index and the distances to them. Where a query has fewer neighbours, because
        its own place is excluded, the last place is -1 and its distance infinite.

    Raises:
        ArgumentError: a shape, k or the metric is impossible.
        DataError: a vector is not finite.

    >>> places, distances = top_k(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]), 2)
    >>> places, distances
    (array([[1, 2]]), array([[0., 0.]]))
    """
    return ExactIndex(index, metric, block).search(queries, k, exclude)


class ExactIndex:
    """An index that is searched several times; arguments as for `top_k`.

    Attributes:
        vectors: (M, D) as given.
        metric: as given.
    """

    def __init__(self, vectors: np.ndarray, metric: str = 'cosine', block: int = 1 << 22) -> None:
        self.metric = known(metric)
        self.vectors = _checked(vectors, 'index')
        self.block = block
        self._first, self._group = distinct(self.vectors)
        self._squares = np.concatenate(
            [np.zeros(0), *(_squares(self._distinct(a, b)) for a, b in _steps(len(self._first), self._width(0)))]
        )

    def search(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `top_k`."""
        queries = _checked(queries, 'queries')
        if queries.shape[1] != self.vectors.shape[1]:
            raise ArgumentError(
                f'Queries and index must have vectors of one length; '
                f'they have {queries.shape[1]} and {self.vectors.shape[1]}.'
            )
        if k < 1:
            raise ArgumentError(f'k counts results and is at least 1; it is {k!r}.')
        own = np.full(len(queries), -1) if exclude is None else np.asarray(exclude)
        if own.shape != (len(queries),):
            raise ArgumentError(f'exclude has one place per query, shape ({len(queries)},); it has {own.shape}.')
        k = min(k, len(self.vectors))
        tiles = self._tiles(k)
        widest = max((len(places) for _, _, places, _ in tiles), default=1)
        places = np.empty((len(queries), k), np.intp)
        distances = np.empty((len(queries), k))
        for a, b in _steps(len(queries), max(self.block // max(widest, self.vectors.shape[1]), 1)):
            places[a:b], distances[a:b] = self._nearest(queries[a:b].astype(float), own[a:b], k, tiles)
        return places, distances

    def _nearest(
        self, queries: np.ndarray, own: np.ndarray, k: int, tiles: list['_Tile']
    ) -> tuple[np.ndarray, np.ndarray]:
        # (B, k) places and distances of one block of queries.
        sizes = _squares(queries)[:, None]
        near, far = np.empty((len(queries), 0), np.intp), np.empty((len(queries), 0))
        for a, b, places, columns in tiles:
            d = self._distances(queries, sizes, a, b)
            if columns is not None:
                d = d[:, columns]
            at = np.minimum(np.searchsorted(places, own), len(places) - 1)
            rows = np.flatnonzero(places[at] == own)
            d[rows, at[rows]] = np.inf
            chosen, values = smallest(d, k)
            near, far = np.concatenate([near, places[chosen]], axis=1), np.concatenate([far, values], axis=1)
            if near.shape[1] > chosen.shape[1]:
                order = np.lexsort((near, far), axis=1)[:, :k]
                near, far = np.take_along_axis(near, order, 1), np.take_along_axis(far, order, 1)
        near[near == own[:, None]] = -1
        return near, far

    def _distances(self, queries: np.ndarray, sizes: np.ndarray, a: int, b: int) -> np.ndarray:
        # (B, b - a) distances to the distinct vectors a … b; worked on in place, for this is the large array.
        d: np.ndarray = queries @ self._distinct(a, b).T
        squares = self._squares[a:b]
        if self.metric == 'dot':
            np.negative(d, out=d)
            return d
        if self.metric == 'cosine':
            d /= np.sqrt(np.where(sizes > 0, sizes, 1))
            d /= np.sqrt(np.where(squares > 0, squares, 1))
            np.subtract(1, d, out=d)
            d[d < _ROUNDING] = 0
            return d
        d *= -2
        d += sizes
        d += squares
        d[d < _ROUNDING * (sizes + squares)] = 0
        if self.metric == 'euclidean':
            np.sqrt(d, out=d)
        return d

    def _distinct(self, a: int, b: int) -> np.ndarray:
        # The distinct vectors a … b in float64.
        rows: np.ndarray = self.vectors[a:b] if self._group is None else self.vectors[self._first[a:b]]
        return rows.astype(float)

    def _width(self, k: int) -> int:
        # How many columns a block may have.
        return max(min(_COLUMNS, self.block // int(self.vectors.shape[1])), k + 1)

    def _tiles(self, k: int) -> list['_Tile']:
        # Distinct vectors a … b; the places in the index that share them, ascending; the vector of each place.
        if self._group is None:
            return [(a, b, np.arange(a, b), None) for a, b in _steps(len(self._first), self._width(k))]
        order = np.argsort(self._group, kind='stable')
        starts = np.searchsorted(self._group[order], np.arange(len(self._first) + 1))
        # Of equal vectors only the first k can be among the k nearest; one more, for one may be excluded.
        order = order[np.arange(len(order)) - starts[self._group[order]] <= k]
        ends = np.searchsorted(self._group[order], np.arange(len(self._first) + 1))
        tiles: list[_Tile] = []
        a = 0
        while a < len(self._first):
            b = max(int(np.searchsorted(ends, ends[a] + self._width(k), 'right')) - 1, a + 1)
            places = np.sort(order[ends[a] : ends[b]])
            tiles.append((a, b, places, self._group[places] - a))
            a = b
        return tiles


_Tile = tuple[int, int, np.ndarray, np.ndarray | None]


def known(metric: str) -> str:
    """`metric`, if there is a distance of that name.

    Raises:
        ArgumentError: there is none.
    """
    if metric not in DISTANCES:
        raise ArgumentError(f'There is no distance {metric!r} to search by. {nearest(str(metric), DISTANCES)}')
    return metric


def smallest(d: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the k smallest values of each row, ascending, equal values in the order of the columns.

    Args:
        d: (B, N) numbers.
        k: how many; all N if there are fewer.

    Returns:
        (B, min(k, N)) columns and their values.
    """
    rows, width = d.shape
    if k < width:
        last = np.partition(d, k - 1, axis=1)[:, k - 1 : k]
        chosen = d <= last
        over = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k)
        if over.size:  # several at the last place: the first of them that fill it
            part, bound = d[over], last[over]
            below, ties = part < bound, part == bound
            room = k - np.count_nonzero(below, axis=1)[:, None]
            chosen[over] = below | (ties & (np.cumsum(ties, axis=1, dtype=np.int32) <= room))
        columns = (np.flatnonzero(chosen) % width).reshape(rows, k)
    else:
        columns = np.broadcast_to(np.arange(width), d.shape)
    values = np.take_along_axis(d, columns, axis=1)
    order = np.argsort(values, axis=1, kind='stable')
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _squares(rows: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.einsum('ij,ij->i', rows, rows)
    return squares


def _steps(count: int, step: int) -> Iterator[tuple[int, int]]:
    for a in range(0, count, step):
        yield a, min(a + step, count)


def _checked(vectors: np.ndarray, role: str) -> np.ndarray:
    array = np.asarray(vectors)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in 'fiub':
        raise ArgumentError(
            f'The {role} must be an array of shape (N, D), one vector of numbers per row; '
            f'it has shape {array.shape} and type {array.dtype}.'
        )
    if array.dtype.kind == 'f':
        for a, b in _steps(len(array), max((1 << 20) // array.shape[1], 1)):
            bad = np.flatnonzero(~np.isfinite(array[a:b]).all(axis=1)) + a
            if bad.size:
                raise DataError(
                    f'Vectors must be finite; NaN or infinite is vector {enumerated(bad.tolist())} of the {role}.'
                )
    return array
