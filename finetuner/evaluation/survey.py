"""What a search knows of its vectors beforehand: they are read once, in blocks, so that a memory map stays on disk."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, DataError, enumerated
from finetuner.evaluation.distinct import distinct, fingerprints

# Numbers looked at together; they stay in the cache.
_BLOCK = 1 << 17
# The squared lengths that float64 can add and subtract; shorter ones lose digits.
_LEAST, _MOST = 1e-290, 1e307


class Survey(NamedTuple):
    """What is known of an index.

    Attributes:
        squares: (M,) float64 squared lengths.
        centre: (D,) the mean of the vectors, or of their directions.
        first: (U,) the first of each group of equal vectors, ascending.
        group: (M,) the group of each vector; None where all differ.
    """

    squares: np.ndarray
    centre: np.ndarray
    first: np.ndarray
    group: np.ndarray | None


def survey(vectors: np.ndarray, directions: bool = False) -> Survey:
    """Look at all vectors of an index.

    Args:
        vectors: (M, D) numbers.
        directions: whether the centre is that of the directions.

    Raises:
        DataError: a vector is not finite, or too long or too short to be compared in float64.
    """
    squares, shared = np.empty(len(vectors)), np.empty(len(vectors), np.uint64)
    total = np.zeros(vectors.shape[1])
    for a, b in steps(len(vectors), max(_BLOCK // vectors.shape[1], 1)):
        given = np.asarray(vectors[a:b])
        rows = given.astype(float)
        squares[a:b] = lengths(rows, a, 'index', directions)
        shared[a:b] = fingerprints(given)
        weights = np.sqrt(squares[a:b]) if directions else np.ones(b - a)
        total += np.divide(1, weights, out=np.zeros(b - a), where=weights > 0) @ rows
    if not directions and squares.max(initial=0) < _LEAST and np.any(vectors):
        raise DataError(f'All vectors of the index are too short to be compared in float64. {_hint(False)}')
    first, group = distinct(vectors, shared)
    return Survey(squares, total / max(len(vectors), 1), first, group)


def measured(queries: np.ndarray, directions: bool = False) -> np.ndarray:
    """(Q,) the squared lengths of queries; arguments and errors as of `survey`."""
    squares = np.empty(len(queries))
    for a, b in steps(len(queries), max(_BLOCK // queries.shape[1], 1)):
        squares[a:b] = lengths(np.asarray(queries[a:b]).astype(float), a, 'queries', directions)
    return squares


def lengths(rows: np.ndarray, start: int, role: str, directions: bool = False) -> np.ndarray:
    """(B,) the squared lengths of float64 rows, the first of which is number `start`.

    Args:
        rows: (B, D) numbers.
        start: the number of the first.
        role: whose they are.
        directions: whether every row needs a direction.

    Raises:
        DataError: one is not finite, or has no square in float64.
    """
    with np.errstate(over='ignore', invalid='ignore'):
        squares: np.ndarray = np.vecdot(rows, rows)
    if not (squares <= _MOST).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)) + start
        if bad.size:
            raise DataError(
                f'Vectors must be finite; NaN or infinite is vector {enumerated(bad.tolist())} of the {role}.'
            )
        bad = np.flatnonzero(squares > _MOST) + start
        raise DataError(
            f'The square of a vector must be a number of float64; too long is vector {enumerated(bad.tolist())} '
            f'of the {role}. {_hint(True)}'
        )
    if directions and (squares < _LEAST).any():
        bad = np.flatnonzero((squares < _LEAST) & rows.any(axis=1)) + start
        if bad.size:
            raise DataError(
                f'The square of a vector must be a number of float64; too short, and not zero, is vector '
                f'{enumerated(bad.tolist())} of the {role}. {_hint(False)}'
            )
    return squares


def _hint(long: bool) -> str:
    return f'{"Divide" if long else "Multiply"} all vectors, of queries and index, by a number such as 1e150.'


def vectors_of(given: np.ndarray, role: str) -> np.ndarray:
    """The array, if it has a shape and a type that can be searched; nothing is read.

    Raises:
        ArgumentError: it has not.
    """
    array = np.asarray(given)
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in 'fiub':
        raise ArgumentError(
            f'The {role} must be an array of shape (N, D), one vector of numbers per row; '
            f'it has shape {array.shape} and type {array.dtype}.'
        )
    return array


def steps(count: int, step: int) -> Iterator[tuple[int, int]]:
    """From 0 to `count` by `step`, as pairs of start and end."""
    for a in range(0, count, step):
        yield a, min(a + step, count)
