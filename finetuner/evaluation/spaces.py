"""Metrics of the vectors themselves, by name, and what they see of an evaluation.

A metric that has a parameter `space` is asked once, and not for blocks of results.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from finetuner.data.labels import dense, each
from finetuner.data.records import Records
from finetuner.data.views import listed
from finetuner.errors import DataError
from finetuner.evaluation import clusters, geometry, votes as polls
from finetuner.evaluation.ground_truth import GroundTruth, LabelTruth


class Space:
    """The vectors of an evaluation, and what is known about them.

    Attributes:
        queries: (n, D) of the queries that are asked.
        index: (M, D) of what is searched.
        rows: (n,) which queries of the ground truth they are.
        truth: what belongs together.
        distance: by which vectors are compared.
        data: the query data.
    """

    def __init__(
        self,
        queries: np.ndarray,
        index: np.ndarray,
        rows: np.ndarray,
        truth: GroundTruth,
        distance: str,
        data: Records,
    ) -> None:
        self.queries, self.index, self.rows, self.truth = queries, index, rows, truth
        self.distance, self.data = distance, data

    @cached_property
    def clusters(self) -> tuple[np.ndarray, np.ndarray]:
        """The clusters of the queries that have a label, as many as they have classes, and their classes."""
        codes = dense(self.data.labels or ())[0][self.truth.queries[self.rows], 0]
        known = codes >= 0
        vectors = self.queries[known]
        if self.distance == 'cosine':
            vectors = geometry.unit(vectors).astype(vectors.dtype if vectors.dtype.kind == 'f' else np.float64)
        return clusters.kmeans(vectors, len(np.unique(codes[known]))), codes[known]


def nmi(space: Space) -> float:
    """`clusters.nmi` of the queries, by k-means into as many clusters as there are classes."""
    return clusters.nmi(*space.clusters)


def purity(space: Space) -> float:
    """`clusters.purity` of the same clusters."""
    return clusters.purity(*space.clusters)


def alignment(space: Space) -> np.ndarray:
    """(n,) `geometry.alignment`, the mean of each query with its relevant items."""
    number = np.full(len(space.truth.queries), -1)
    number[space.rows] = np.arange(len(space.rows))
    sets = ((number[rows][number[rows] >= 0], places) for rows, places in space.truth.sets())
    several = (
        isinstance(space.truth, LabelTruth) and max(space.truth.labels.shape[1], space.truth.index_labels.shape[1]) > 1
    )
    compared = geometry.to_overlapping if several else geometry.to_sets
    return compared(space.queries, space.index, space.truth.own[space.rows], sets)


def uniformity(space: Space) -> float:
    """`geometry.uniformity` of what is searched."""
    return geometry.uniformity(space.index)


def knn_accuracy(
    relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None, *, votes: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """`votes.knn_accuracy` of the k results; `votes` are the labels of the queries and of what was found."""
    return polls.knn_accuracy(*votes, k)


METRICS: dict[str, Callable[..., Any]] = {
    'alignment': alignment,
    'knn_accuracy': knn_accuracy,
    'nmi': nmi,
    'purity': purity,
    'uniformity': uniformity,
}
"""Computed where they are asked for by name; they are not among the usual ones."""


def check(functions: dict[str, Callable[..., Any]], data: Records) -> None:
    """Refuse metrics that need a label of each query, where there are none.

    Args:
        functions: the metrics by their names.
        data: the query data.

    Raises:
        DataError: the data has no labels, or more than one of an item where one is needed.
    """
    for name, function in functions.items():
        if function not in (nmi, purity, knn_accuracy):
            continue
        if data.kind != 'class':
            raise DataError(
                f'{name} compares vectors with the classes of items, and query_data has {data.summary()} without '
                f"labels. Expected a label per item; metrics=['alignment', 'uniformity'] need none."
            )
        several = [row for row, label in enumerate(data.labels or ()) if len(each(label)) > 1]
        if several and function is not knn_accuracy:
            raise DataError(
                f'{name} compares clusters with classes, of which an item has one; there are several labels on '
                f"{listed(data.names, several)}. metrics=['knn_accuracy'] takes several."
            )


def less_is_better(name: str) -> bool:
    """Whether a number gets better as it falls: a loss, alignment, uniformity; the name may have a prefix.

    >>> less_is_better('unseen/alignment'), less_is_better('val_loss'), less_is_better('map_at_r')
    (True, True, False)
    """
    return name.endswith('loss') or name.rpartition('/')[2] in geometry.LESS_IS_BETTER
