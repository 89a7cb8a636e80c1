"""The most similar documents of every query: exact, in float32, in tiles, of any size.

Two passes choose in a tile, so that few numbers are sorted: the columns are dealt to groups, the groups with the
largest maxima hold all that can be among the best, and only these are looked through.
"""

from collections.abc import Callable

import numpy as np

from finetuner.console import track

ROWS, COLUMNS = 1024, 16384
GROUP = 32

Mask = Callable[[np.ndarray, slice, slice], None]
"""`f(similarities, queries, documents)` sets to -inf what must not be found in a tile."""


def nearest(
    queries: np.ndarray, documents: np.ndarray, k: int, mask: Mask, show_progress: bool | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k documents with the largest dot product for each query, the largest first; of equal ones the earlier first.

    Args:
        queries: (Q, D) float32.
        documents: (U, D) float32.
        k: how many; no more than there are.
        mask: takes documents out.
        show_progress: None shows a bar on a terminal.

    Returns:
        (Q, k) float32 similarities, and (Q, k) the numbers of the documents. Where there are no more, -inf.
    """
    k = min(k, len(documents))
    scores = np.full((len(queries), k), -np.inf, np.float32)
    places = np.zeros((len(queries), k), np.int64)
    blocks = range(0, len(queries), ROWS)
    room = np.empty(min(len(queries), ROWS) * min(len(documents), COLUMNS), np.float32)  # the same for all tiles
    for start in track(blocks, len(blocks), 'Searching', show_progress):
        rows = slice(start, min(start + ROWS, len(queries)))
        best, where = scores[rows], places[rows]
        for first in range(0, len(documents), COLUMNS):
            columns = slice(first, min(first + COLUMNS, len(documents)))
            size = rows.stop - rows.start, columns.stop - columns.start
            tile = room[: size[0] * size[1]].reshape(size)
            np.matmul(queries[rows], documents[columns].T, out=tile)
            mask(tile, rows, columns)
            found = _largest(tile, k)
            best = np.concatenate([best, np.take_along_axis(tile, found, axis=1)], axis=1)
            where = np.concatenate([where, found + first], axis=1)
            kept = np.lexsort((where, -best))[:, :k]
            best, where = np.take_along_axis(best, kept, axis=1), np.take_along_axis(where, kept, axis=1)
        scores[rows], places[rows] = best, where
    return scores, places


def _largest(tile: np.ndarray, k: int) -> np.ndarray:
    # (B, <= k) the columns of the largest numbers of each row, in any order.
    groups = tile.shape[1] // GROUP
    if groups <= 2 * k:
        return _partitioned(tile, k)
    most = tile[:, : groups * GROUP].reshape(len(tile), GROUP, groups).max(axis=1)
    chosen = _partitioned(most, k)
    columns = (chosen[:, :, None] + groups * np.arange(GROUP)).reshape(len(tile), -1)
    rest = np.arange(groups * GROUP, tile.shape[1])
    columns = np.concatenate([columns, np.broadcast_to(rest, (len(tile), len(rest)))], axis=1)
    within = _partitioned(np.take_along_axis(tile, columns, axis=1), k)
    return np.take_along_axis(columns, within, axis=1)


def _partitioned(x: np.ndarray, k: int) -> np.ndarray:
    n = x.shape[1]
    if k >= n:
        return np.broadcast_to(np.arange(n), x.shape)
    return np.argpartition(x, n - k, axis=1)[:, n - k :]
