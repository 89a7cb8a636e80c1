"""What is mined: queries, documents, and what is known to belong together, with everything equal counted once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.data.inspection import fingerprint
from finetuner.data.labels import dense, each, normal
from finetuner.data.readers.source import contents, read
from finetuner.data.records import Label, Records
from finetuner.data.views import Cells
from finetuner.errors import ArgumentError, DataError


@dataclass(frozen=True)
class Column:
    """Contents, and which of them are equal.

    Attributes:
        records: the n contents as they were given.
        group: (n,) the number of the distinct content that each is.
        first: (U,) where each distinct content stands first.
        labels: (U, L) the labels of each distinct content as codes, -1 where it has fewer; None where there are none.
    """

    records: Records
    group: np.ndarray
    first: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        """The number of distinct contents."""
        return len(self.first)

    def content(self, distinct: int, raw: bool) -> Any:
        """A distinct content; `raw` as a `preprocess_fn` wants it."""
        item = self.records.contents[int(self.first[distinct])]
        return item if raw else self.records.default_content(item)

    def distinct(self) -> Records:
        """The distinct contents."""
        return _chosen(self.records, self.first)


@dataclass(frozen=True)
class Material:
    """Queries and documents.

    Attributes:
        queries: the queries.
        documents: the documents.
        pairs: (R, 2) rows of a query and its positive, by distinct number, in the order they were given; None where
            only labels say what belongs together.
        own: (P, 2) sorted and distinct: what must never be a negative of a query, labels aside.
    """

    queries: Column
    documents: Column
    pairs: np.ndarray | None
    own: np.ndarray


def gather(queries: Any, corpus: Any, positives: Any, query_labels: Any, corpus_labels: Any) -> Material:
    """The material of what people give, see `mine_hard_negatives`.

    Raises:
        DataError: it cannot be read, or an index or a label is wrong; names the query.
        ArgumentError: what belongs together is not said, or said in part.
    """
    if corpus is None and query_labels is not None and corpus_labels is None:
        corpus, corpus_labels = queries, query_labels
    if (query_labels is None) != (corpus_labels is None):
        missing, there = ('query', 'corpus') if query_labels is None else ('corpus', 'query')
        raise ArgumentError(f'{there}_labels are given without {missing}_labels=: give both, or neither.')
    if positives is None and query_labels is None:
        places: np.ndarray | None
        asked, documents, places = _of_pairs(queries, corpus)
    else:
        if corpus is None:
            raise ArgumentError('positives= are places in a corpus, and there is none: give corpus=, or pairs alone.')
        asked, documents = contents(queries), contents(corpus)
        places = None if positives is None else _places(positives, asked, len(documents))
    for records, what in ((asked, 'queries'), (documents, 'documents')):
        if not len(records):
            raise DataError(f'There are no {what}: give at least one.')
    left, right, keys = _labelled(asked, documents, query_labels, corpus_labels)
    own = [] if places is None else [np.column_stack([left.group[places[:, 0]], right.group[places[:, 1]]])]
    return Material(left, right, own[0] if own else None, _sorted([*own, keys]))


def _of_pairs(data: Any, corpus: Any) -> tuple[Records, Records, np.ndarray]:
    # Queries, documents and the places of rows, of pairs; further columns are documents like those of a corpus.
    try:
        records = read(data, supervision='pair')
    except DataError as error:
        raise DataError(
            f'Without positives= or labels the first data must be pairs, [(query, document), …]. {error}'
        ) from error
    if records.kind != 'pair' or records.rows is None:
        raise DataError(
            f'Without positives= or labels the first data must be pairs, [(query, document), …]; '
            f'these are {records.summary()}.'
        )
    rows = records.rows
    asked, given = _chosen(records, rows[:, 0]), _chosen(records, rows[:, 1:].T[rows[:, 1:].T >= 0])
    number = np.arange(len(rows))
    if corpus is not None:
        more = contents(corpus)
        both = Cells(
            [given.contents, more.contents], [0] * len(given) + [1] * len(more), [*range(len(given)), *range(len(more))]
        )
        load = records.default_content if len(given) else more.default_content
        given = Records('instance', both, [*given.names, *more.names], default_content=load)
    return asked, given, np.column_stack([number, number])


def _chosen(records: Records, items: np.ndarray) -> Records:
    return Records(
        'instance',
        _cells(records.contents, items),
        _cells(records.names, items),
        default_content=records.default_content,
    )


def _cells(whole: Sequence[Any], items: np.ndarray) -> Cells:
    if isinstance(whole, Cells):  # not a view of a view
        return Cells(whole.table, whole.columns[items].tolist(), whole.rows[items].tolist())
    return Cells([whole], [0] * len(items), items.tolist())


def _places(positives: Any, queries: Records, count: int) -> np.ndarray:
    # (P, 2) rows of a query and a document, both by their place.
    if isinstance(positives, Mapping):
        raise ArgumentError(
            'positives= are a dict: expected a list with the index of its document, or a list of them, for each query '
            'in their order.'
        )
    if not hasattr(positives, '__len__') or len(positives) != len(queries):
        came = f'{len(positives)} of them' if hasattr(positives, '__len__') else type(positives).__name__
        raise ArgumentError(
            f'positives= need the index of its documents for each of the {len(queries)} queries, or a list of them; '
            f'came {came}.'
        )
    rows = []
    for query, given in enumerate(positives):
        several = given if isinstance(given, list | tuple | set) or np.shape(given) else [given]
        for place in several:
            if isinstance(place, bool | np.bool_) or not isinstance(place, int | np.integer) or not 0 <= place < count:
                raise DataError(
                    f'The positive of {queries.names[query]} is {place!r}: expected the index of a document in the '
                    f'corpus, 0 to {count - 1}.'
                )
            rows.append((query, int(place)))
    return np.array(rows, np.int64).reshape(-1, 2)


def _labelled(asked: Records, documents: Records, ours: Any, theirs: Any) -> tuple[Column, Column, np.ndarray]:
    # Both columns with their labels, and (P, 2) which distinct query is the same content as which document.
    left, first = _grouped(asked)
    right, where = _grouped(documents)
    labels: list[Any] = [None, None]
    if ours is not None:
        sides = [_unions(ours, asked, left, 'query'), _unions(theirs, documents, right, 'corpus')]
        codes, _ = dense([*sides[0], *sides[1]])
        labels = [codes[: len(sides[0])], codes[len(sides[0]) :]]
    same = [(number, where[key]) for key, number in first.items() if key in where]
    columns = [
        Column(records, group, np.unique(group, return_index=True)[1], found)
        for records, group, found in zip((asked, documents), (left, right), labels, strict=True)
    ]
    return columns[0], columns[1], np.array(same, np.int64).reshape(-1, 2)


def _grouped(records: Records) -> tuple[np.ndarray, dict[Any, int]]:
    # (n,) the number of the distinct content that each is, in order of appearance; and the number by its key.
    numbers: dict[Any, int] = {}
    group = np.empty(len(records), np.int64)
    for place in range(len(records)):
        item = records.contents[place]
        if not isinstance(item, str):
            item = fingerprint(records.default_content(item)) or id(item)
        group[place] = numbers.setdefault(item, len(numbers))
    return group, numbers


def _unions(labels: Any, records: Records, group: np.ndarray, whose: str) -> list[Label]:
    # All labels of each distinct content.
    if isinstance(labels, Mapping):
        raise ArgumentError(f'{whose}_labels= are a dict: expected a list with a label for each item in their order.')
    if not hasattr(labels, '__len__') or len(labels) != len(records):
        came = f'{len(labels)}' if hasattr(labels, '__len__') else type(labels).__name__
        raise ArgumentError(
            f'{whose}_labels= need one label, or a list, for each of {len(records)} items; came {came}.'
        )
    found: list[dict[Label, None]] = [{} for _ in range(int(group.max()) + 1)]
    for place, label in enumerate(labels):
        try:
            found[group[place]].update(dict.fromkeys(each(normal(label))))
        except TypeError as error:
            raise DataError(f'The label of {records.names[place]} is wrong: {error}.') from None
    return [tuple(several) for several in found]


def _sorted(rows: Sequence[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate(rows).reshape(-1, 2), axis=0)
