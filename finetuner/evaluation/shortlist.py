"""What may be among the k nearest of every query, found in float32 with a known error.

1. All distances ascend where a product descends: q·x for 'dot', the same of unit vectors for 'cosine', and
   q·x - |x|²/2 for the euclidean ones, which is a product of vectors with one number more.
2. Subtracting one vector from the whole index changes all scores of a query by the same amount. So the index is
   centred, and scaled into the unit ball: the vectors become short, and with them the errors of their products.
3. The product of two vectors of D numbers in float32 is wrong by at most D units in the last place of the product of
   their lengths, whatever the order of its sums. So everything within twice that of the k-th best is on the list.
4. A tile of the index is prepared once and meets all queries; a query keeps only what its bound lets through, and the
   bound rises with what it has found.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from finetuner.evaluation.copies import Copies
from finetuner.evaluation.engines import Engine, plenty
from finetuner.evaluation.survey import steps

_UNIT = 2.0**-24
_DOUBLE = 2.0**-52
_TINY = 1e-30  # what float32 may lose below its least number
_LEAST = 1e-30  # the least of the weights in float32, and one part of the largest
# Queries and vectors of the index that meet in one product.
_ROWS, _COLUMNS, _FIRST = 512, 4096, 1024


class Rounded:
    """The distinct vectors of an index, centred and scaled, in float32.

    Args:
        vectors: (M, D) numbers.
        squares: (U,) the squared lengths of the distinct ones.
        centre: (D,) the mean of the vectors, for 'cosine' of their directions.
        copies: which of them are distinct.
        metric: a distance of `search`.

    Attributes:
        size: how many vectors there are.
        error: what scores may be wrong by, so far; grows with the tiles.
    """

    def __init__(
        self, vectors: np.ndarray, squares: np.ndarray, centre: np.ndarray, copies: Copies, metric: str
    ) -> None:
        self.vectors, self.squares, self.copies, self.metric = vectors, squares, copies, metric
        self.size = len(squares)
        self.error = 0.0
        # A power of two, and a centre of float32, so that they cost no accuracy.
        self._scale = 1.0 if metric == 'cosine' else float(2.0 ** -np.ceil(np.log2(np.sqrt(squares.max()) or 1.0)))
        self._centre = (centre * self._scale).astype(np.float32)
        self._short = vectors.dtype in (np.float16, np.float32)

    @property
    def width(self) -> int:
        """The numbers of a vector here."""
        return int(self.vectors.shape[1]) + (self.metric in ('euclidean', 'sqeuclidean'))

    def tile(self, a: int, b: int) -> np.ndarray:
        """(b - a, width) float32."""
        weights: Any = _inverse(self.squares[a:b])[:, None] if self.metric == 'cosine' else self._scale
        # Beyond these sizes, the numbers or the weights lose digits in float32.
        short = self._short and (np.min(weights) >= _LEAST and np.max(weights) <= 1 / _LEAST)
        rows: np.ndarray = np.asarray(self.vectors[self.copies.rows(a, b)], np.float32 if short else np.float64)
        x = np.empty((b - a, self.width), np.float32)
        part = x[:, : rows.shape[1]]
        if short:
            np.multiply(rows, np.asarray(weights, np.float32), out=part)
            part -= self._centre
        else:
            part[:] = rows * weights - self._centre
        squares = np.vecdot(part, part).astype(float)
        sums = rows.shape[1] + 16.0
        if self.width > rows.shape[1]:
            x[:, -1] = squares / -2
            squares += np.square(squares) / 4
            sums *= 2
        longest = float(np.sqrt(squares.max(initial=0.0)))
        error = _UNIT * (sums * longest * 1.01 + 4 * (self.metric == 'cosine')) + _TINY
        self.error = max(self.error, error) if np.isfinite(error) else np.inf
        return x

    def queries(self, queries: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(B, width) float32, no longer than about 1, and (B,) what is lost already in float64.

        Args:
            queries: (B, D) float64.
            squares: (B,) their squared lengths.
        """
        lost = (queries.shape[1] + 32) * _DOUBLE
        if self.width == queries.shape[1]:
            return (queries * _inverse(squares)[:, None]).astype(np.float32), np.full(len(queries), lost)
        shifted = queries * self._scale - self._centre
        with np.errstate(over='ignore', invalid='ignore'):  # of a query much longer than the index, the loss is NaN
            length = np.sqrt(np.vecdot(shifted, shifted)) + 1
            loss = lost * 4 * (1 + np.square(np.sqrt(squares) * self._scale)) / length
        q = np.empty((len(queries), self.width), np.float32)
        q[:, :-1] = shifted / length[:, None]
        q[:, -1] = 1 / length
        return q, loss


class Shortlist:
    """What one block of queries has found so far.

    Args:
        count: how many queries.
        k: how many results are sought.

    Attributes:
        rows: (n,) numbers of queries, ascending.
        columns: (n,) what they found, ascending within a query.
        level: (count,) float32 the k-th highest score so far.
        crowded: (count,) whether so much is within the error that a list is of no use, or the error is unknown.
    """

    def __init__(self, count: int, k: int) -> None:
        self.count, self.k = count, k
        self.rows, self.columns = np.empty(0, np.intp), np.empty(0, np.intp)
        self._scores = np.empty(0, np.float32)
        self._new: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.level = np.full(count, -np.inf, np.float32)
        self.crowded = np.zeros(count, bool)

    def add(self, rows: np.ndarray, columns: np.ndarray, scores: np.ndarray, slack: np.ndarray) -> None:
        """Take in what a tile gave; what does not count any more is dropped when there is much of it.

        Args:
            rows: (n,) numbers of queries, ascending.
            columns: (n,) higher than all before.
            scores: (n,) float32.
            slack: (count,) what a score may be below the k-th highest and still count.
        """
        if len(rows):
            self._new.append((rows, columns, scores))
        if np.isneginf(self.level).any() or sum(len(new) for new, _, _ in self._new) > self.k * self.count:
            self.settle(slack)

    def give_up(self, rows: np.ndarray) -> None:
        """Take in nothing more for these queries, (count,) whether each is one."""
        self.crowded |= rows
        self.level[rows] = np.inf

    def settle(self, slack: np.ndarray) -> None:
        """Raise the level to what was taken in, and drop what is below."""
        if not self._new:
            return
        parts = zip((self.rows, self.columns, self._scores), *self._new, strict=True)
        rows, columns, scores = (np.concatenate(part) for part in parts)
        self._new = []
        order = np.argsort(rows, kind='stable')
        rows, columns, scores = rows[order], columns[order], scores[order]
        counts = np.bincount(rows, minlength=self.count)
        starts = np.cumsum(counts) - counts
        wide = plenty(self.k)
        for row in np.flatnonzero(counts > wide):  # few queries, or the first tile
            found = scores[starts[row] : starts[row] + counts[row]]
            self.level[row] = max(self.level[row], np.partition(found, len(found) - self.k)[len(found) - self.k])
        usual = np.flatnonzero((counts >= self.k) & (counts <= wide))
        if usual.size:
            at = starts[usual, None] + np.arange(counts[usual].max())
            padded = np.where(
                np.arange(at.shape[1]) < counts[usual, None], scores[np.minimum(at, len(scores) - 1)], -np.inf
            )
            last = np.partition(padded, at.shape[1] - self.k, axis=1)[:, at.shape[1] - self.k]
            self.level[usual] = np.maximum(self.level[usual], last)
        kept = scores >= (self.level - slack)[rows]
        counts = np.bincount(rows[kept], minlength=self.count)
        if counts.max() > most(self.k):
            self.give_up(counts > most(self.k))
            kept &= ~self.crowded[rows]
        self.rows, self.columns, self._scores = rows[kept], columns[kept], scores[kept]


def most(k: int) -> int:
    """The longest list; comparing all again in float64 would be less work than one that is longer."""
    return 2 * k + 256


def shortlists(
    engine: Engine, rounded: Rounded, queries: np.ndarray, squares: np.ndarray, k: int, block: int
) -> Iterator[tuple[int, Shortlist]]:
    """For blocks of queries, the number of the first and the list; the index is read once for all.

    Args:
        engine: multiplies.
        rounded: the index.
        queries: (Q, D) numbers.
        squares: (Q,) their squared lengths.
        k: how many results are sought, at most as many as there are vectors.
        block: the most scores held at a time.
    """
    width = max(min(_COLUMNS, block // 64, block // rounded.width), 1)
    height = max(min(_ROWS, block // width), 1)
    lists = []
    for a, b in steps(len(queries), height):
        q, lost = rounded.queries(queries[a:b].astype(float), squares[a:b])
        lists.append((a, Shortlist(b - a, k), engine.place(q), lost))
    # The first tile is small: of the others hardly anything is let through.
    first = min(width, max(_FIRST, 32 * k))
    for a, b in pairwise([0, *range(first, rounded.size, width), rounded.size]):
        tile = engine.place(rounded.tile(a, b))
        for _, found, q, lost in lists:
            with np.errstate(over='ignore'):
                slack = (2 * (rounded.error + lost)).astype(np.float32)
            unknown = ~np.isfinite(slack)
            found.give_up(unknown)
            slack[unknown] = 0
            rows, columns, scores = engine.best(q, tile, k, found.level - slack, slack)
            found.add(rows, columns + a, scores, slack)
            if b == rounded.size:
                found.settle(slack)
    for start, found, _, _ in lists:
        # There are k scores of every query, unless some are NaN.
        found.give_up(np.bincount(found.rows, minlength=found.count) < k)
        yield start, found


def _inverse(squares: np.ndarray) -> np.ndarray:
    # 1 / length, and 1 for zero vectors
    inverse: np.ndarray = 1 / np.sqrt(np.where(squares > 0, squares, 1))
    return inverse
