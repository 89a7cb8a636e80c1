"""Hard negatives from a whole corpus: documents that a model holds for similar to a query, and that are not its own."""

from typing import Any, Literal

import numpy as np

from finetuner.console import logger
from finetuner.encoding.records import embed_records
from finetuner.errors import ArgumentError, DataError, whole_number
from finetuner.synthesis.candidates import Found, Search, mine
from finetuner.synthesis.limits import Limits
from finetuner.synthesis.material import Column, Material, gather
from finetuner.synthesis.scoring import Score
from finetuner.typing import CollateFn, PreprocessFn


def mine_hard_negatives(
    model: Any,
    queries: Any,
    corpus: Any = None,
    *,
    positives: Any = None,
    query_labels: Any = None,
    corpus_labels: Any = None,
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    sampling: Literal['top', 'random'] = 'top',
    seed: int = 0,
    score: Score | None = None,
    output: Literal['pairs', 'scores'] = 'pairs',
    metric: Literal['cosine', 'dot'] = 'cosine',
    query_embeddings: Any = None,
    corpus_embeddings: Any = None,
    batch_size: int | None = None,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    device: str | None = None,
    num_workers: int = 0,
    show_progress: bool | None = None,
) -> list[tuple[Any, ...]]:
    """Training data with hard negatives: for each query the documents nearest to it that do not belong to it.

    The search is exact, over the whole corpus. Equal documents are one. Never a negative of a query are its positives,
    those of an equal query, documents equal to any of these or to the query itself, and documents that share a label
    with it. Among the others the nearest can still be true answers that nobody marked: a margin leaves them out, and
    `relative_margin=0.05` is a good start.

    Args:
        model: anything that `embed` takes; None with `query_embeddings` and `corpus_embeddings`.
        queries: a list of contents, or anything else with items; or pairs, `[(query, document), …]`, a table or a data
            set with such columns.
        corpus: the documents. With pairs None takes theirs, and others are added to them; with `query_labels` alone
            None takes the queries, to mine labelled items among themselves.
        positives: for each query the index of its document in the corpus, or a list of them. None with pairs; with
            labels None takes the nearest document of the query's label.
        query_labels: for each query a label, or a list of them.
        corpus_labels: the same for each document.
        num_negatives: for each query; fewer where there are no more.
        range_min: how many of the nearest candidates are skipped, whatever their scores.
        range_max: how many of the nearest are looked at. None looks at all of them; where they are drawn or scored
            again, at `range_min + 10 * num_negatives`.
        absolute_margin: a negative's score must be this much below that of the query's positive, the lowest of
            several.
        relative_margin: it must be below by this part of the positive's score, 0.05 for 5 %.
        max_score: no negative has more.
        min_score: no negative has less.
        sampling: 'top' takes the best candidates, 'random' draws among those that are left.
        seed: of the drawing.
        score: a second opinion such as a cross-encoder: `f(query, document) -> number`, or `f(pairs) -> numbers`, which
            is what a function with one required argument gets. Candidates and positives are scored by it, and margins,
            limits and the order of negatives go by these scores.
        output: 'pairs' gives rows `(query, positive, negative, …)`; 'scores' rows `(query, positive, negative, margin)`
            with the difference of their scores, for MarginMSELoss.
        metric: 'cosine', or 'dot' for models that are searched by dot product.
        query_embeddings: (Q, D), instead of those of the model; of pairs one for each row.
        corpus_embeddings: (M, D); of pairs one for each row, then those of the corpus.
        batch_size: items that the model encodes at a time; 64.
        preprocess_fn: as in `embed`.
        collate_fn: as in `embed`.
        device: as in `embed`.
        num_workers: as in `embed`.
        show_progress: None shows a bar on a terminal.

    Returns:
        Rows that `fit` takes as they are, one for each query and positive, in the order of the queries; of 'scores' one
        for each of their negatives. A pair without a negative stays among the 'pairs'.

    Raises:
        ArgumentError: an argument is impossible, or arguments do not fit together.
        DataError: data cannot be read, or no document can be a negative.

    >>> import numpy as np
    >>> rows = mine_hard_negatives(
    ...     None,
    ...     [('flights', 'low fares'), ('trains', 'timetable')],
    ...     ['cheap hotels'],
    ...     num_negatives=1,
    ...     query_embeddings=np.eye(2),
    ...     corpus_embeddings=np.array([[1, 0.2], [0, 1], [1, 0.4]]),
    ... )  # doctest: +ELLIPSIS
    Mined 2 hard negatives for 2 pairs...
    >>> rows
    [('flights', 'low fares', 'cheap hotels'), ('trains', 'timetable', 'cheap hotels')]
    """
    limits = Limits(num_negatives, range_min, range_max, absolute_margin, relative_margin, max_score, min_score)
    for name, value, known in (
        ('sampling', sampling, ('top', 'random')),
        ('output', output, ('pairs', 'scores')),
        ('metric', metric, ('cosine', 'dot')),
    ):
        if value not in known:
            raise ArgumentError(f'{name}={value!r}: expected {known[0]!r} or {known[1]!r}.')
    whole_number('seed', seed, 0)
    if score is not None and not callable(score):
        raise ArgumentError(f'score={score!r}: expected a function f(query, document) or f(pairs).')
    material = gather(queries, corpus, positives, query_labels, corpus_labels)
    options = {
        'batch_size': batch_size,
        'preprocess_fn': preprocess_fn,
        'collate_fn': collate_fn,
        'device': device,
        'num_workers': num_workers,
        'show_progress': show_progress,
    }
    vectors = [
        _vectors(model, column, given, name, metric, options)
        for column, given, name in (
            (material.queries, query_embeddings, 'query_embeddings'),
            (material.documents, corpus_embeddings, 'corpus_embeddings'),
        )
    ]
    if vectors[0].shape[1] != vectors[1].shape[1]:
        raise ArgumentError(
            f'Queries and documents cannot be compared: their vectors have {vectors[0].shape[1]} and '
            f'{vectors[1].shape[1]} numbers. Take both from one model.'
        )
    raw = preprocess_fn is not None  # contents as it takes them
    search = Search(material, vectors[0], vectors[1], show_progress)
    found = mine(search, limits, score, seed if sampling == 'random' else None, raw)
    _tell(found, limits)
    return _rows(material, found, output, raw)


def _vectors(model: Any, column: Column, given: Any, name: str, metric: str, options: dict[str, Any]) -> np.ndarray:
    # (U, D) float32 of the distinct contents.
    if given is None:
        if model is None:
            raise ArgumentError(f'There is neither a model nor {name}=: give one of them.')
        vectors = embed_records(model, column.distinct(), **options)
    else:
        given = given.detach().cpu() if hasattr(given, 'detach') else given
        vectors = np.asarray(given, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(column.group):
            raise ArgumentError(
                f'{name}= must be (N, D) with one vector for each of {len(column.group)} items, got {vectors.shape}.'
            )
        vectors = vectors[column.first] if len(column.first) < len(vectors) else vectors
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f'The vector of {column.records.names[int(column.first[bad[0]])]} is not finite, '
            f'one of {len(bad)} such: look at the model or at {name}=.'
        )
    if metric == 'cosine':
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.where(length > 0, length, 1)
    return np.ascontiguousarray(vectors, np.float32)


def _tell(found: Found, limits: Limits) -> None:
    scores = found.scores[found.pairs[:, 0]]
    there = scores > -np.inf
    counts = there.sum(axis=1)
    if not counts.any():
        raise DataError(f'No document can be a negative of any query. Give {limits.hint()}.')
    short = int((counts < limits.num_negatives).sum())
    few = f' {short:,} of them have fewer than {limits.num_negatives}: give {limits.hint()}.' if short else ''
    logger.info(
        f'Mined {int(counts.sum()):,} hard negatives for {len(counts):,} pairs.{few} '
        f'Mean score of positives {found.positives.mean():.3f}, of negatives {scores[there].mean():.3f}.'
    )


def _rows(material: Material, found: Found, output: str, raw: bool) -> list[tuple[Any, ...]]:
    queries = {number: material.queries.content(number, raw) for number in np.unique(found.pairs[:, 0]).tolist()}
    used = np.unique(np.concatenate([found.pairs[:, 1], found.places[found.scores > -np.inf]]))
    documents = {number: material.documents.content(number, raw) for number in used.tolist()}
    rows: list[tuple[Any, ...]] = []
    places, scores, positives = found.places.tolist(), found.scores.tolist(), found.positives.tolist()
    counts = (found.scores > -np.inf).sum(axis=1).tolist()
    for (query, positive), near in zip(found.pairs.tolist(), positives, strict=True):
        pair = queries[query], documents[positive]
        negatives = [documents[place] for place in places[query][: counts[query]]]
        if output == 'pairs':
            rows.append((*pair, *negatives))
        else:
            rows += [(*pair, one, near - far) for one, far in zip(negatives, scores[query], strict=False)]
    return rows
