"""Who multiplies the vectors of a search: numpy, PyTorch on a device, or faiss. None of them is imported to ask.

An engine finds, in float32, what may be among the nearest; `search` compares that again in float64. So all engines
give the same results.
"""

import sys
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from finetuner.dispatch import load
from finetuner.errors import ArgumentError, MissingExtraError, nearest

ENGINES = ('numpy', 'torch', 'faiss')

Best = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(n,) rows, ascending, with their columns, ascending within a row, and scores."""


class Engine(Protocol):
    """Finds the best of a block."""

    name: str

    def place(self, rows: np.ndarray) -> Any:
        """Float32 rows (N, D) where this engine computes."""

    def best(self, queries: Any, tile: Any, k: int, bound: np.ndarray, slack: np.ndarray) -> Best:
        """The pairs whose score, the product of the two vectors, may be among the k highest.

        Args:
            queries: (B, D), placed.
            tile: (C, D), placed.
            k: how many are sought.
            bound: (B,) float32 scores below these do not count; -inf while fewer than k have been found.
            slack: (B,) float32 what a score may be below the k-th highest and still count.
        """


def plenty(k: int) -> int:
    """Of more pairs for each query it is quicker to choose the best before they are taken in."""
    return 4 * k + 64


class Numpy:
    """Numpy, on the CPU."""

    name = 'numpy'

    def place(self, rows: np.ndarray) -> Any:
        return rows

    def product(self, queries: Any, tile: Any) -> np.ndarray:
        """(B, C) scores."""
        scores: np.ndarray = queries @ tile.T
        return scores

    def best(self, queries: Any, tile: Any, k: int, bound: np.ndarray, slack: np.ndarray) -> Best:
        scores = self.product(queries, tile)
        width = scores.shape[1]
        if k < width and np.isneginf(bound).any():
            last = np.partition(scores, width - k, axis=1)[:, width - k]
            bound = np.maximum(bound, last - slack)
        flat = np.flatnonzero(scores >= bound[:, None])
        if k < width and flat.size > len(scores) * plenty(k):  # this tile has much that is better than all before
            last = np.partition(scores, width - k, axis=1)[:, width - k]
            flat = np.flatnonzero(scores >= np.maximum(bound, last - slack)[:, None])
        rows, columns = np.divmod(flat, width)
        return rows, columns, scores.ravel()[flat]


class Faiss(Numpy):
    """The exact search of faiss, on the CPU."""

    name = 'faiss'

    def __init__(self) -> None:
        try:
            self._knn = import_module('faiss').knn
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "engine='faiss' needs the package 'faiss', which is not installed. "
                "Install it with: pip install 'finetuner[faiss]', or leave engine out."
            ) from error

    def best(self, queries: Any, tile: Any, k: int, bound: np.ndarray, slack: np.ndarray) -> Best:
        width = min(k + 16, len(tile))
        scores, columns = self._knn(queries, tile, width, metric=0)  # METRIC_INNER_PRODUCT
        if k <= width:
            bound = np.maximum(bound, scores[:, k - 1] - slack)
        found = scores >= bound[:, None]
        # Where all that was asked for counts, there may be more.
        full = found[:, -1].copy() if width < len(tile) else np.zeros(len(found), bool)
        found[full] = False
        rows, at = np.nonzero(found)
        parts = [(rows, columns[rows, at], scores[rows, at])]
        again = np.flatnonzero(full)
        if again.size:
            rows, places, values = super().best(queries[again], tile, k, bound[again], slack[again])
            parts.append((again[rows], places, values))
        rows, places, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((places, rows))
        return rows[order], places[order], values[order]


def engine(name: str | None = None, device: str | None = None) -> Engine:
    """The engine of a name.

    Args:
        name: 'numpy', 'torch' or 'faiss'; None takes PyTorch where it is imported already or a device other than
            the CPU is named, else numpy.
        device: where PyTorch computes; None takes a GPU if there is one.

    Raises:
        ArgumentError: there is no such engine, or it computes on the CPU alone and a device is named.
        MissingExtraError: it is not installed.
    """
    if name is None:
        name = 'torch' if device not in (None, 'cpu') or 'torch' in sys.modules else 'numpy'
    if name not in ENGINES:
        raise ArgumentError(f'There is no engine {name!r} to search with. {nearest(str(name), ENGINES)}')
    if name == 'torch':
        return cast(Engine, load('torch', 'search').engine(device))
    if device not in (None, 'cpu'):
        raise ArgumentError(
            f"engine={name!r} computes on the CPU; device={device!r} is of PyTorch: pass engine='torch', or no device."
        )
    return Faiss() if name == 'faiss' else Numpy()
