"""How well a model retrieves: query data is searched in index data, and every query has its own ground truth."""

import operator
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from finetuner.console import logger
from finetuner.data.readers import contents, read
from finetuner.data.records import Label, Records
from finetuner.data.views import listed
from finetuner.errors import ArgumentError, DataError, enumerated, nearest
from finetuner.evaluation import averages, measures as chosen
from finetuner.evaluation.carried import carried, check_vectors
from finetuner.evaluation.correlation import CORRELATIONS, correlation, similarities, targets
from finetuner.evaluation.engines import Engine, engine as engine_of
from finetuner.evaluation.ground_truth import GroundTruth, ground_truth
from finetuner.evaluation.intervals import RESAMPLES, intervals
from finetuner.evaluation.measures import Choice, Limit, Measure
from finetuner.evaluation.metrics import Metric
from finetuner.evaluation.search import ExactIndex, known
from finetuner.evaluation.spaces import Space, check
from finetuner.evaluation.unchanged import unchanged_by_failure
from finetuner.typing import CollateFn, PreprocessFn

# The most results judged at a time.
_RESULTS = 1 << 20
KEPT = 5
"""How many results of a query are kept."""


class Evaluator:
    """Retrieval metrics of a model on some data.

    Args:
        query_data: labelled items, documents with matches graded 1 (or higher) and -1, or pairs: anything that `fit`
            takes. Of scored pairs it is measured how well the similarities follow the scores.
        index_data: what is searched; None searches the query data itself (of sessions their matches, of pairs their
            positives and negatives).
        model: gives the embeddings; None takes those that the documents carry.
        metrics: names of metrics, or `{name: (callable, keyword arguments)}`; None computes all of
            `evaluation.metrics`, without those of the vectors themselves: 'nmi', 'purity', 'knn_accuracy', 'alignment'
            and 'uniformity'. Of scored pairs there are 'spearman' and 'pearson'.

    Attributes:
        means: what the last evaluation gave.
        settings: its options that decide which results count.
        similarities: of scored pairs those of the last evaluation, one a score.
        per_query: the values of the last evaluation by metric, each (Q,); NaN for queries without a relevant item.
        nearest: (Q, 5) which places of the index were found first by each, nearest first; -1 is none.
        query_names: what the Q queries are called.
        embeddings: the vectors that the last evaluation compared: of the queries that were asked, and of the index;
            None before it. They are kept as they came, not copied: set None to let go of them.
        asked: which of the Q queries were asked.
        distance: what they were compared by.
        unanswered: the names of the queries without a relevant item in the index; they are left out of the means.

    Raises:
        DataError: the data cannot be read, or tells no relevant items.
        ArgumentError: there is no such metric.
    """

    def __init__(self, query_data: Any, index_data: Any = None, model: Any = None, metrics: Choice = None) -> None:
        self.query_data = read(query_data)
        self.index_data: Records | None = None
        if index_data is not None and not _same(index_data, query_data):
            # What is relevant to sessions and pairs is said by the queries alone.
            self.index_data = (read if self.query_data.kind == 'class' else contents)(index_data)
        self.model = model
        self.metrics = metrics if metrics is None or isinstance(metrics, str | Mapping) else list(metrics)
        self.per_query: dict[str, np.ndarray] = {}
        self.nearest = np.zeros((0, KEPT), np.int64)
        self.query_names: list[str] = []
        self.embeddings: tuple[np.ndarray, np.ndarray] | None = None
        self.asked = np.zeros(0, np.int64)
        self.distance = ''
        self.unanswered: list[str] = []
        self.similarities = np.empty(0)
        self.means: dict[str, float] = {}
        self.settings: dict[str, Any] = {}
        self._truths: dict[bool, GroundTruth] = {}
        if self.query_data.kind == 'score' and index_data is not None:
            raise DataError('Scored pairs are compared with each other: leave index_data out.')
        self.names()

    def names(self, limit: Limit = 20) -> list[str]:
        """What the results are called.

        Raises:
            ArgumentError: a metric or the limit is impossible.
        """
        if self.query_data.kind != 'score':
            measures = chosen.measures(self.metrics, limit)
            check({measure.name: measure.function for measure in measures}, self.query_data)
            return [measure.name for measure in measures]
        wanted = [self.metrics] if isinstance(self.metrics, str) else list(self.metrics or CORRELATIONS)
        for name in wanted:
            if name not in CORRELATIONS:
                raise ArgumentError(f'There is no metric {name!r} of scored pairs. {nearest(name, CORRELATIONS)}')
        return wanted

    @staticmethod
    def default_metrics(legacy: bool = False) -> dict[str, tuple[Metric, dict[str, Any]]]:
        """All metrics as `{name: (callable, keyword arguments)}`, to choose from or to add to."""
        return chosen.default_metrics(legacy)

    @unchanged_by_failure
    def evaluate(
        self,
        *,
        exclude_self: bool = True,
        limit: Limit = 20,
        distance: str = 'cosine',
        legacy: bool = False,
        rows: np.ndarray | None = None,
        engine: str | None = None,
        batch_size: int | None = None,
        preprocess_fn: PreprocessFn | None = None,
        collate_fn: CollateFn | None = None,
        device: str | None = None,
        num_workers: int = 0,
        show_progress: bool | None = None,
    ) -> dict[str, float]:
        """The mean of every metric over the queries that have a relevant item.

        Documents that are queries also get their own values, `document.evaluations[name].value`.

        Args:
            exclude_self: a query is neither retrieved for itself nor relevant to itself.
            limit: how many results count: one number gives `precision_at_k`, a list of numbers `precision_at_1`, …;
                None counts the whole index. `r_precision` and `map_at_r` look at as many as are relevant.
            distance: 'cosine', 'euclidean', 'sqeuclidean' or 'dot'.
            legacy: the original's definitions of the metrics, see `evaluation.legacy`.
            rows: numbers of the queries that are asked; None asks all.
            engine: what searches: 'numpy', 'torch' or 'faiss', which all find the same; None takes PyTorch, on the
                device of the model, if the model is of PyTorch, else numpy.
            batch_size: items encoded at a time.
            preprocess_fn: from an item to its content.
            collate_fn: from a list of contents to the model's input.
            device: 'cpu', 'cuda', or None for a GPU if there is one.
            num_workers: processes that prepare batches.
            show_progress: None shows a bar on a terminal.

        Raises:
            DataError: no query has a relevant item, one is missing in the index, or without a model a document has
                no embedding.
            ArgumentError: a limit, the distance or the engine is impossible.
        """
        distance = known(distance)
        finder = self._engine(engine, device)
        options = {
            'batch_size': batch_size,
            'preprocess_fn': preprocess_fn,
            'collate_fn': collate_fn,
            'device': device,
            'num_workers': num_workers,
            'show_progress': show_progress,
        }
        self.settings = {'exclude_self': exclude_self, 'limit': chosen.plain(limit), 'legacy': legacy}
        if self.query_data.kind == 'score':
            return self._correlate(distance, options)
        wanted, truth = chosen.measures(self.metrics, limit, legacy), self.truth(exclude_self)
        asked = np.arange(len(truth.queries)) if rows is None else rows
        self.embeddings = queries, index = self.vectors(truth, asked, **options)
        self.asked, self.distance = asked, distance
        check_vectors(queries, self.query_data.names, truth.queries[asked], 'query_data')
        searched, role = (self.query_data, 'query_data') if self.index_data is None else (self.index_data, 'index_data')
        check_vectors(index, searched.names, truth.index, role)
        return self.judge(truth, ExactIndex(index, distance, engine=finder), queries, wanted, asked)

    def truth(self, exclude_self: bool = True) -> GroundTruth:
        """What should be found for each query; made once.

        Raises:
            DataError: the data tells no relevant items, or no query has one.
        """
        if exclude_self not in self._truths:
            truth = ground_truth(self.query_data, self.index_data, exclude_self)
            lonely, count = np.flatnonzero(truth.n_relevant == 0), len(truth.queries)
            if len(lonely) == count:
                raise DataError(
                    f'None of the {count} queries has a relevant item in the index{self._labels()}, so there is '
                    f'nothing to measure. Expected labels, matches or pairs that bind queries to items of the index.'
                )
            if lonely.size:
                logger.warning(
                    f'{len(lonely)} of {count} queries have no relevant item in the index and are left out of the '
                    f'means: {listed(self.query_data.names, truth.queries[lonely])}.'
                )
            self._truths[exclude_self] = truth
            self.query_names = self.query_names or [str(self.query_data.names[int(item)]) for item in truth.queries]
        truth = self._truths[exclude_self]
        self.unanswered = [self.query_names[row] for row in np.flatnonzero(truth.n_relevant == 0)]
        return truth

    def vectors(self, truth: GroundTruth, asked: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of the queries that are asked (n, D) and of the index (M, D), of the model or the documents."""
        other, items = self.query_data if self.index_data is None else self.index_data, truth.queries[asked]
        if self.model is None:
            return carried(self.query_data, items), carried(other, truth.index)
        from finetuner.encoding.records import embed_records

        if other is self.query_data:
            every = embed_records(self.model, other, **options)
            return _taken(every, items), _taken(every, truth.index)
        index = embed_records(self.model, other, **options)[truth.index]
        return embed_records(self.model, self.query_data.chosen(items), **options), index

    def _correlate(self, distance: str, options: dict[str, Any]) -> dict[str, float]:
        data = self.query_data
        if self.model is None:
            vectors = carried(data, np.arange(len(data)))
        else:
            from finetuner.encoding.records import embed_records

            vectors = embed_records(self.model, data, **options)
        check_vectors(vectors, data.names, np.arange(len(data)), 'query_data')
        self.similarities = similarities(data, vectors, distance)
        self.means = {name: correlation(name, self.similarities, targets(data)) for name in self.names()}
        return dict(self.means)

    def judge(
        self, truth: GroundTruth, index: ExactIndex, queries: np.ndarray, wanted: list[Measure], asked: np.ndarray
    ) -> dict[str, float]:
        """Search, compare with the ground truth, and keep the values of every query that is asked."""
        place = np.full(len(truth.queries), -1)
        place[asked] = np.arange(len(asked))
        answered = asked[truth.n_relevant[asked] > 0]
        rows = answered[np.argsort(truth.n_relevant[answered], kind='stable')]  # those that need few results, together
        self.nearest = np.full((len(truth.queries), KEPT), -1)
        values = {measure.name: np.full(len(truth.queries), np.nan) for measure in wanted}
        size = len(index.vectors)
        while len(rows):
            count = max(_RESULTS // max(chosen.depth(wanted, truth.n_relevant[rows[:_RESULTS]], size), KEPT), 1)
            part, rows = rows[:count], rows[count:]
            width = max(chosen.depth(wanted, truth.n_relevant[part], size), min(KEPT, size))
            places, _ = index.search(queries[place[part]], width, truth.own[part])
            self.nearest[part, : places.shape[1]] = places[:, :KEPT]
            relevance = truth.relevance(part, places)
            more: Mapping[str, Any] = {
                'grades': partial(truth.ideal, part, places.shape[1]),
                'votes': partial(truth.votes, part, places),
            }
            for measure in wanted:
                if not measure.whole:
                    values[measure.name][part] = measure(relevance, truth.n_relevant[part], more)
        space = Space(queries, index.vectors, asked, truth, index.metric, self.query_data)
        self.means = chosen.means(wanted, values, space)
        self.per_query = values
        self._write(truth, values, np.sort(answered))
        return dict(self.means)

    def macro(self) -> dict[str, float]:
        """The mean over classes of `per_class`, so that small classes count as much as large ones.

        Raises:
            DataError: the queries have no labels.
            ArgumentError: nothing was evaluated yet.
        """
        return averages.macro(self)

    def per_class(self) -> dict[str, dict[Label, float]]:
        """By metric and label, the mean over the queries of that label that have an answer; of several labels in each.

        Metrics of all vectors together have none. Raises as `macro`.
        """
        return averages.per_class(self)

    def intervals(
        self, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
    ) -> dict[str, tuple[float, float]]:
        """Between what the metrics of the last evaluation lie, if queries like these are drawn anew (bootstrap).

        Args:
            confidence: the part of draws that lie within.
            seed: what chance starts from.
            resamples: how many times queries are drawn; of scored pairs these are the pairs.

        Returns:
            (low, high) by metric; metrics of all vectors together, and those of a single query, have no interval.

        Raises:
            ArgumentError: nothing was evaluated yet, or a number is impossible.
            DataError: a single query has an answer, or there are fewer than three scores.
        """
        return intervals(self, confidence, seed, resamples)

    def _engine(self, name: str | None, device: str | None) -> Engine:
        from finetuner.inference import encoder

        framework = None if self.model is None else encoder(self.model).framework
        if name is None and framework is not None:
            name = 'torch' if framework == 'torch' else 'numpy'
        return engine_of(name, device if framework is None or name == 'torch' else None)

    def _write(self, truth: GroundTruth, values: dict[str, np.ndarray], rows: np.ndarray) -> None:
        # Documents of docarray before 0.30 have a place for it.
        items, stored = self.query_data.contents, self.query_data.documents
        if not isinstance(getattr(items[0], 'evaluations', None), defaultdict):
            return
        for row in rows.tolist():
            item = int(truth.queries[row])
            document = items[item]
            for name, each in values.items():
                document.evaluations[name].value = float(each[row])
            if stored is not None and stored is not items:  # on disk
                stored[item] = document

    def _labels(self) -> str:
        if self.index_data is None or self.query_data.labels is None:
            return ''
        ours, theirs = (list(dict.fromkeys(data.labels or ())) for data in (self.query_data, self.index_data))
        return f' (labels of query_data: {enumerated(ours, most=3)}; of index_data: {enumerated(theirs, most=3)})'


def _taken(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    # All of them are not copied.
    return vectors if np.array_equal(rows, np.arange(len(vectors))) else vectors[rows]


def _same(a: Any, b: Any) -> bool:
    # One object, or tuples of the same objects, such as (contents, labels).
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(operator.is_, a, b))
    return a is b
