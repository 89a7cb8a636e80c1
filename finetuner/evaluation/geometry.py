"""How vectors lie on the sphere: near to what they belong to, and else spread out.

Both are of directions: vectors are taken at unit length. Less is better of both.

Source: Wang and Isola, Understanding contrastive representation learning through alignment and uniformity on the
hypersphere, 2020.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from finetuner.errors import ArgumentError, DataError, enumerated

LESS_IS_BETTER = ('alignment', 'uniformity')

# Similarities, or numbers of vectors, held at a time.
_HELD = 1 << 22
# Whether so many places belong to queries is held at a time.
_BELONGING = 1 << 26


def alignment(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P,) `|a - b|²` of each pair of vectors that belong together.

    Args:
        a: (P, D) vectors.
        b: (P, D) what each belongs to.

    >>> alignment([[1, 0], [2, 0]], [[0, 1], [5, 0]])
    array([2., 0.])
    """
    first, second = unit(finite('alignment', a)), unit(finite('alignment', b))
    if first.shape != second.shape:
        raise ArgumentError(f'alignment takes pairs of vectors; these have shapes {first.shape} and {second.shape}.')
    squared: np.ndarray = ((first - second) ** 2).sum(axis=1)
    return squared


def uniformity(vectors: np.ndarray, t: float = 2.0) -> float:
    """`log` of the mean of `exp(-t |a - b|²)` over all pairs of different items; 0 where all are alike.

    All pairs are compared, in blocks, so that memory does not grow with their number.

    Args:
        vectors: (N, D), at least two.
        t: how soon distance stops to count.

    >>> round(uniformity([[1, 0], [0, 1], [-1, 0], [0, -1]]), 4)
    -4.3963
    """
    x = finite('uniformity', vectors)
    count = len(x)
    if count < 2 or x.ndim != 2:
        raise ArgumentError(f'uniformity compares vectors (N, D) with each other, at least two; it got {x.shape}.')
    # float32 for speed: of unit vectors the squared distance is exact to 1e-6.
    small = np.empty(x.shape, np.float32)
    for rows in _blocks(np.arange(count), x.shape[1]):
        small[rows] = unit(x[rows])
    squares, side, total = np.einsum('ij,ij->i', small, small), int(_HELD**0.5), 0.0
    for a in range(0, count, side):
        for b in range(a, count, side):
            d = small[a : a + side] @ small[b : b + side].T
            d *= -2
            d += squares[a : a + side, None]
            d += squares[b : b + side]
            np.maximum(d, 0, out=d)
            d *= -t
            np.exp(d, out=d)
            each = float(d.sum(dtype=np.float64))
            total += each if a < b else (each - float(np.trace(d, dtype=np.float64))) / 2
    return float(np.log(total / (count * (count - 1) / 2)))


def to_sets(
    queries: np.ndarray, index: np.ndarray, own: np.ndarray, sets: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(Q,) the mean `alignment` of each query with all that belongs to it; NaN where nothing does.

    The mean over a set is `|q|² + mean |x|² - 2 q · mean x`, so that no pair is compared.

    Args:
        queries: (Q, D) vectors.
        index: (M, D) vectors.
        own: (Q,) each query's own place in the index, with which it is not compared; -1 for none.
        sets: numbers of queries, and the places in the index that belong to all of these.
    """
    found = np.full(len(queries), np.nan)
    for rows, places in sets:
        if not len(rows) or not len(places):
            continue
        total, squares = np.zeros(index.shape[1]), 0.0
        for some in _blocks(places, index.shape[1]):
            x = unit(index[some])
            total += x.sum(axis=0)
            squares += float(np.einsum('ij,ij->', x, x))
        for some in _blocks(rows, index.shape[1]):
            q, selves = unit(queries[some]), np.isin(own[some], places)
            mine = unit(index[np.where(selves, own[some], places[0])]) * selves[:, None]
            counts = len(places) - selves
            distances = (
                counts * np.einsum('ij,ij->i', q, q)
                + (squares - np.einsum('ij,ij->i', mine, mine))
                - 2 * (q @ total - np.einsum('ij,ij->i', q, mine))
            )
            found[some] = np.maximum(np.divide(distances, counts, out=np.full(len(some), np.nan), where=counts > 0), 0)
    return found


def to_overlapping(
    queries: np.ndarray, index: np.ndarray, own: np.ndarray, sets: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """What `to_sets` gives, for sets that share many of their places.

    Each query is compared with the whole index, in blocks, which costs the same however many sets there are.

    Args:
        queries: as for `to_sets`, like all others.
        index: as there.
        own: as there.
        sets: as there.
    """
    found = np.full(len(queries), np.nan)
    for rows, belongs in _masks(sets, len(index)):
        here = np.flatnonzero(own[rows] >= 0)
        belongs[here, own[rows[here]]] = False
        q, counts, total = unit(queries[rows]), belongs.sum(axis=1), np.zeros(len(rows))
        squares = np.einsum('ij,ij->i', q, q)[:, None]
        for places in _blocks(np.arange(len(index)), max(len(rows), index.shape[1])):
            x = unit(index[places])
            d = q @ x.T
            d *= -2
            d += squares
            d += np.einsum('ij,ij->i', x, x)
            d *= belongs[:, places]
            total += d.sum(axis=1)
        found[rows] = np.maximum(np.divide(total, counts, out=np.full(len(rows), np.nan), where=counts > 0), 0)
    return found


def _masks(sets: Iterable[tuple[np.ndarray, np.ndarray]], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # Numbers of some queries (B,), and whether each of `size` places belongs to them (B, size).
    step, rows = max(_BELONGING // max(size, 1), 1), list[int]()
    mask = np.zeros((step, size), bool)
    for some, places in sets:
        for row in some.tolist():
            mask[len(rows), places] = True
            rows.append(row)
            if len(rows) == step:
                yield np.array(rows), mask
                rows, mask[:] = [], False
    if rows:
        yield np.array(rows), mask[: len(rows)]


def finite(name: str, vectors: np.ndarray) -> np.ndarray:
    """The vectors (N, D) as an array.

    Args:
        name: what takes them.
        vectors: numbers.

    Raises:
        DataError: one is NaN or infinite; names the vector.
    """
    x = np.asarray(vectors)
    if x.ndim == 2 and x.dtype.kind == 'f':
        blocks = _blocks(np.arange(len(x)), x.shape[1])
        bad = [int(row) for rows in blocks for row in rows[~np.isfinite(x[rows]).all(axis=1)]]
        if bad:
            raise DataError(f'{name} takes finite vectors; NaN or infinite is vector {enumerated(bad)}.')
    return x


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) vectors at length 1 in float64; a zero vector stays."""
    x = np.asarray(vectors, np.float64)
    if x.ndim != 2:
        raise ArgumentError(f'Expected vectors (N, D); these have shape {x.shape}.')
    lengths = np.sqrt(np.einsum('ij,ij->i', x, x))[:, None]
    return x / np.where(lengths > 0, lengths, 1)


def _blocks(items: np.ndarray, width: int) -> Iterator[np.ndarray]:
    step = max(_HELD // max(width, 1), 1)
    for a in range(0, len(items), step):
        yield items[a : a + step]
