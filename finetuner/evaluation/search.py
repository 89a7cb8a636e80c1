"""Exact nearest neighbours: every vector is compared, in blocks, so that memory does not grow with the index.

1. Equal vectors of the index are compared once and share the result. A matrix product rounds the same column
   differently at different places; without this, equal vectors would stand in an order of chance.
2. Where few are sought among many, a product in float32 finds what may be among the nearest, see `shortlist`, and
   that is compared in float64. Which engine multiplies does not change what comes out.
3. Else, and where too much is alike for float32 to tell apart, all is compared in float64: blocks of queries meet
   blocks of distinct vectors, and a block is merged with the k nearest so far.
"""

import numpy as np

from finetuner.errors import ArgumentError, nearest, whole_number
from finetuner.evaluation import engines
from finetuner.evaluation.copies import Copies, Tile
from finetuner.evaluation.selection import smallest
from finetuner.evaluation.shortlist import Rounded, Shortlist, most, shortlists
from finetuner.evaluation.survey import measured, steps, survey, vectors_of

DISTANCES = ('cosine', 'euclidean', 'sqeuclidean', 'dot')
_EUCLIDEAN = ('euclidean', 'sqeuclidean')

# Distances below this part of the vectors' size are rounding: the vectors (for cosine, their directions) are equal.
_ROUNDING = 16 * 2.0**-52
# More columns than this in a block gain no speed.
_COLUMNS = 16384
# Of an index of fewer vectors than this times k a list would be long.
_FEW = 48


def top_k(
    queries: np.ndarray,
    index: np.ndarray,
    k: int,
    metric: str = 'cosine',
    exclude: np.ndarray | None = None,
    block: int = 1 << 22,
    *,
    engine: str | None = None,
    device: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest vectors of an index for every query, nearest first, equal distances in the order of the index.

    Args:
        queries: (Q, D) finite numbers.
        index: (M, D) finite numbers; a memory map is read in blocks.
        k: how many; all M if there are fewer.
        metric: 'cosine' (`1 - cos`; a zero vector is at distance 1 from all), 'euclidean', 'sqeuclidean', or 'dot'
            (the negative product, so that less is nearer).
        exclude: (Q,) a place in the index that is not to be found for this query: its own; -1 for none.
        block: the most distances held at a time; 8 bytes each, and a few times that for choosing among them. Beside
            it there are the results, and 60 bytes for every vector of the index.
        engine: what multiplies where few are sought among many: 'numpy', 'torch' or 'faiss'; None takes PyTorch where
            it is imported already, else numpy. All find the same.
        device: where PyTorch multiplies; None takes a GPU if there is one.

    Returns:
        (Q, min(k, M)) places in the index and the distances to them. Where a query has fewer neighbours, because
        its own place is excluded, the last place is -1 and its distance infinite.

    Raises:
        ArgumentError: a shape, k, a place, the metric, the block, the engine or the device is impossible.
        DataError: a vector is not finite, or so long or short that its square is no number of float64.
        MissingExtraError: the engine is not installed.

    >>> places, distances = top_k(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]), 2)
    >>> places, distances
    (array([[1, 2]]), array([[0., 0.]]))
    """
    return ExactIndex(index, metric, block, engine=engine, device=device).search(queries, k, exclude)


class ExactIndex:
    """An index that is searched several times; arguments as for `top_k`.

    Attributes:
        vectors: (M, D) as given.
        metric: as given.
        engine: what multiplies.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        metric: str = 'cosine',
        block: int = 1 << 22,
        *,
        engine: str | engines.Engine | None = None,
        device: str | None = None,
    ) -> None:
        self.metric = known(metric)
        self.engine = engines.engine(engine, device) if engine is None or isinstance(engine, str) else engine
        self.vectors = vectors_of(vectors, 'index')
        self.block = whole_number('block', block, 1)
        looked = survey(self.vectors, metric == 'cosine')
        self._centre, self._copies = looked.centre, Copies(looked.first, looked.group)
        self._squares = looked.squares if looked.group is None else looked.squares[looked.first]
        self._origin = _origin(looked.centre, self._squares) if metric in _EUCLIDEAN else None

    def search(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `top_k`."""
        queries = vectors_of(queries, 'queries')
        if queries.shape[1] != self.vectors.shape[1]:
            raise ArgumentError(
                f'Queries and index must have vectors of one length; '
                f'they have {queries.shape[1]} and {self.vectors.shape[1]}.'
            )
        k = min(whole_number('k', k, 1), len(self.vectors))
        own = _excluded(exclude, len(queries), len(self.vectors))
        squares = measured(queries, self.metric == 'cosine')
        places, distances = np.empty((len(queries), k), np.intp), np.empty((len(queries), k))
        left = np.ones(len(queries), bool)  # to be compared in float64 throughout
        # One more than are sought, for one may be excluded.
        if _FEW * (k + 1) <= len(self._squares):
            for a, b in steps(len(queries), max(self.block // max(most(k + 1), self.vectors.shape[1]), 1)):
                self._shortly(queries[a:b], squares[a:b], own[a:b], places[a:b], distances[a:b], left[a:b])
        again = np.flatnonzero(left)
        tiles = self._copies.tiles(k, self._width(k)) if again.size else []
        widest = max((len(found) for _, _, found, _ in tiles), default=1)
        for a, b in steps(len(again), max(self.block // max(widest, self.vectors.shape[1]), 1)):
            part = again[a:b]
            places[part], distances[part] = self._wholly(queries[part].astype(float), own[part], k, tiles)
        return places, distances

    def _shortly(
        self,
        queries: np.ndarray,
        squares: np.ndarray,
        own: np.ndarray,
        places: np.ndarray,
        distances: np.ndarray,
        left: np.ndarray,
    ) -> None:
        # Fill in places and distances, and what is `left`, by way of shortlists.
        k = places.shape[1]
        rounded = Rounded(self.vectors, self._squares, self._centre, self._copies, self.metric)
        for start, found in shortlists(self.engine, rounded, queries, squares, k + 1, self.block):
            rows = np.flatnonzero(~found.crowded)
            left[start + rows] = False
            for a, b in steps(len(rows), max(self.block // (self.vectors.shape[1] * most(k + 1)), 1)):
                at = start + rows[a:b]
                columns, d = self._compared(queries[at].astype(float), squares[at], found, rows[a:b])
                near, far = smallest(d, k + 1)
                places[at], distances[at] = self._copies.spread(
                    np.take_along_axis(columns, near, 1), far, own[at], k, self.block
                )

    def _compared(
        self, queries: np.ndarray, squares: np.ndarray, found: Shortlist, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # (B, W) the lists of some queries, ascending, and the distances; infinite where a list has ended.
        begins, ends = np.searchsorted(found.rows, rows), np.searchsorted(found.rows, rows, 'right')
        at = begins[:, None] + np.arange((ends - begins).max())
        there = at < ends[:, None]
        columns = found.columns[np.minimum(at, len(found.columns) - 1)]
        vectors = self.vectors[self._copies.first[columns]].astype(float)
        sizes = self._squares[columns]
        if self._origin is not None:
            vectors -= self._origin
            queries = queries - self._origin
            squares, sizes = np.vecdot(queries, queries), np.vecdot(vectors, vectors)
        d = self._distances(np.vecdot(vectors, queries[:, None]), squares[:, None], sizes)
        return columns, np.where(there, d, np.inf)

    def _wholly(self, queries: np.ndarray, own: np.ndarray, k: int, tiles: list[Tile]) -> tuple[np.ndarray, np.ndarray]:
        # (B, k) places and distances of one block of queries, all compared in float64.
        if self._origin is not None:
            queries = queries - self._origin
        squares = np.vecdot(queries, queries)[:, None]
        near, far = np.empty((len(queries), 0), np.intp), np.empty((len(queries), 0))
        for a, b, places, columns in tiles:
            vectors, sizes = np.asarray(self.vectors[self._copies.rows(a, b)]).astype(float), self._squares[a:b]
            if self._origin is not None:
                vectors -= self._origin
                sizes = np.vecdot(vectors, vectors)
            d = self._distances(queries @ vectors.T, squares, sizes[None])
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

    def _distances(self, products: np.ndarray, queries: np.ndarray, index: np.ndarray) -> np.ndarray:
        # The distances of vectors of these products and squared lengths; made in place, for this is the large array.
        d = products
        if self.metric == 'dot':
            np.subtract(0, d, out=d)
            return d
        if self.metric == 'cosine':
            d /= np.sqrt(np.where(queries > 0, queries, 1))
            d /= np.sqrt(np.where(index > 0, index, 1))
            np.subtract(1, d, out=d)
            np.putmask(d, d < _ROUNDING, 0)
            return d
        d *= -2
        d += queries
        d += index
        few = np.nonzero(d < _ROUNDING * (queries.max(initial=0) + index.max(initial=0)))
        sizes = np.broadcast_to(queries, d.shape)[few] + np.broadcast_to(index, d.shape)[few]
        d[few] = np.where(d[few] < _ROUNDING * sizes, 0, d[few])
        if self.metric == 'euclidean':
            np.sqrt(d, out=d)
        return d

    def _width(self, k: int) -> int:
        # How many columns a block may have.
        return max(min(_COLUMNS, self.block // int(self.vectors.shape[1])), k + 1)


def known(metric: str) -> str:
    """`metric`, if there is a distance of that name.

    Raises:
        ArgumentError: there is none.
    """
    if metric not in DISTANCES:
        raise ArgumentError(f'There is no distance {metric!r} to search by. {nearest(str(metric), DISTANCES)}')
    return metric


def _origin(centre: np.ndarray, squares: np.ndarray) -> np.ndarray | None:
    # What is subtracted from vectors far from zero, so that their differences are not lost in their squares; of so few
    # digits that distances of whole numbers stay exact.
    # None if they are not far, or some are so near to zero that they would lose by it.
    if not len(squares) or not np.median(squares) / 4 <= centre @ centre <= 4 * squares.min():
        return None
    grid = 2.0 ** (np.ceil(np.log2(np.sqrt(squares.max()) or 1)) - 20)
    origin: np.ndarray = np.rint(centre / grid) * grid
    return origin


def _excluded(places: np.ndarray | None, count: int, size: int) -> np.ndarray:
    # (count,) a place in an index of `size` for each query, -1 for none.
    if places is None:
        return np.full(count, -1)
    own = np.asarray(places)
    if own.shape != (count,):
        raise ArgumentError(f'exclude has one place per query, shape ({count},); it has {own.shape}.')
    numbers = own.dtype.kind in 'iuf'
    bad = np.flatnonzero(~((own >= -1) & (own < size) & (own == np.floor(own)))) if numbers else np.arange(count)
    if bad.size:
        raise ArgumentError(
            f'exclude has a place in the index for each query, a whole number from 0 to {size - 1}, or -1 for none; '
            f'of query {bad[0]} it is {own.tolist()[bad[0]]!r}.'
        )
    return own.astype(np.intp)
