"""From vectors and what is known to the negatives of every query."""

from dataclasses import dataclass

import numpy as np

from finetuner.errors import DataError
from finetuner.synthesis.limits import Limits
from finetuner.synthesis.material import Material
from finetuner.synthesis.nearest import nearest
from finetuner.synthesis.scoring import Score, scores_of

FAR = 10  # candidates for each negative, where they are drawn or scored again


@dataclass(frozen=True)
class Found:
    """What was mined, by the numbers of distinct queries and documents.

    Attributes:
        pairs: (R, 2) queries and positives.
        positives: (R,) the score of each pair.
        places: (Q, K) the negatives of each query, best first.
        scores: (Q, K) their scores; -inf where there are no more.
    """

    pairs: np.ndarray
    positives: np.ndarray
    places: np.ndarray
    scores: np.ndarray


class Search:
    """Finds documents for queries, those left out that are known to belong to them.

    Args:
        material: what is known.
        queries: (Q, D) float32.
        documents: (U, D) float32.
        show_progress: None shows a bar on a terminal.
    """

    def __init__(
        self, material: Material, queries: np.ndarray, documents: np.ndarray, show_progress: bool | None = None
    ) -> None:
        self.material, self.queries, self.documents, self.show = material, queries, documents, show_progress
        self.labels = material.queries.labels, material.documents.labels

    def similarity(self, pairs: np.ndarray) -> np.ndarray:
        """(P,) of (P, 2) queries and documents."""
        found: np.ndarray = np.einsum('pd,pd->p', self.queries[pairs[:, 0]], self.documents[pairs[:, 1]])
        return found.astype(float)

    def nearest(self, k: int, out: np.ndarray, ceiling: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest candidates of each query: (Q, k) scores, -inf where there are no more, and documents.

        Args:
            k: how many.
            out: (P, 2) sorted pairs that are out of the question.
            ceiling: (Q,) no candidate has a larger score; None is no limit.
        """
        most = None if ceiling is None or np.isinf(ceiling).all() else ceiling.astype(np.float32)[:, None]

        def mask(tile: np.ndarray, rows: slice, columns: slice) -> None:
            if self.labels[0] is not None:
                np.copyto(tile, -np.inf, where=self._share(rows, columns))
            if most is not None:
                np.copyto(tile, -np.inf, where=tile > most[rows])
            _strike(tile, rows, columns, out)

        scores, places = nearest(self.queries, self.documents, k, mask, self.show)
        return scores.astype(float), places

    def companions(self) -> np.ndarray:
        """(R, 2) of each query the nearest document that shares a label with it and is not the same."""

        def mask(tile: np.ndarray, rows: slice, columns: slice) -> None:
            np.copyto(tile, -np.inf, where=~self._share(rows, columns))
            _strike(tile, rows, columns, self.material.own)

        scores, places = nearest(self.queries, self.documents, 1, mask, self.show)
        return _listed(scores, places)

    def _share(self, rows: slice, columns: slice) -> np.ndarray:
        ours, theirs = self.labels
        assert ours is not None and theirs is not None
        shared = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        for a in ours[rows].T:
            for b in theirs[columns].T:
                shared |= (a[:, None] == b) & (a >= 0)[:, None]
        return shared


def _strike(tile: np.ndarray, rows: slice, columns: slice, out: np.ndarray) -> None:
    start, stop = np.searchsorted(out[:, 0], [rows.start, rows.stop])
    part = out[start:stop]
    part = part[(part[:, 1] >= columns.start) & (part[:, 1] < columns.stop)]
    tile[part[:, 0] - rows.start, part[:, 1] - columns.start] = -np.inf


def _listed(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(scores > -np.inf)
    return np.column_stack([rows, places[rows, columns]])


def mine(
    search: Search, limits: Limits, score: Score | None = None, draw: int | None = None, raw: bool = False
) -> Found:
    """The negatives of every query.

    Args:
        search: finds candidates.
        limits: which of them may be negatives.
        score: judges candidates and positives instead of the similarity.
        draw: a seed, to draw among the candidates; None takes the best.
        raw: whether `score` gets contents as a `preprocess_fn` would.

    Raises:
        DataError: no query has a positive.
    """
    out, k = search.material.own, limits.num_negatives
    pairs = search.companions() if search.material.pairs is None else search.material.pairs
    if not len(pairs):
        raise DataError('No query has a positive among the documents: look at positives=, or at the labels of both.')
    positives = search.similarity(pairs)
    if limits.range_max is None and score is None and draw is None:
        if limits.range_min:
            out = np.unique(np.concatenate([out, _listed(*search.nearest(limits.range_min, out))]), axis=0)
        scores, places = search.nearest(k, out, _ceiling(limits, pairs, positives, len(search.queries)))
        scores[scores < limits.floor] = -np.inf
        return Found(pairs, positives, places, scores)
    scores, places = search.nearest(limits.range_max or limits.range_min + FAR * k, out)
    scores, places = scores[:, limits.range_min :], places[:, limits.range_min :]
    if score is not None:
        positives, scores = _judged(search.material, pairs, places, scores, score, raw)
    scores[scores > _ceiling(limits, pairs, positives, len(search.queries))[:, None]] = -np.inf
    scores[scores < limits.floor] = -np.inf
    if draw is not None:
        lots = np.random.default_rng(draw).random(scores.shape)
        kept = np.argsort(np.where(scores > -np.inf, lots, 2.0), axis=1, kind='stable')[:, :k]
        scores, places = np.take_along_axis(scores, kept, axis=1), np.take_along_axis(places, kept, axis=1)
    order = np.lexsort((places, -scores))[:, :k]
    return Found(pairs, positives, np.take_along_axis(places, order, axis=1), np.take_along_axis(scores, order, axis=1))


def _ceiling(limits: Limits, pairs: np.ndarray, positives: np.ndarray, count: int) -> np.ndarray:
    # By the lowest of several positives, to be on the safe side.
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, pairs[:, 0], positives)
    return limits.ceiling(lowest)


def _judged(
    material: Material, pairs: np.ndarray, places: np.ndarray, scores: np.ndarray, score: Score, raw: bool
) -> tuple[np.ndarray, np.ndarray]:
    # The scores of pairs and of candidates by a second opinion, which is asked once for each.
    known, which = np.unique(pairs, axis=0, return_inverse=True)
    rows, columns = np.nonzero((scores > -np.inf) & np.isin(np.arange(len(scores)), pairs[:, 0])[:, None])
    asked = np.concatenate([known, np.column_stack([rows, places[rows, columns]])])
    queries = {query: material.queries.content(query, raw) for query in np.unique(asked[:, 0]).tolist()}
    documents = {place: material.documents.content(place, raw) for place in np.unique(asked[:, 1]).tolist()}
    values = scores_of(score, [(queries[query], documents[place]) for query, place in asked.tolist()])
    judged = np.full(scores.shape, -np.inf)
    judged[rows, columns] = values[len(known) :]
    return values[: len(known)][which.ravel()], judged
