"""What should be found: the queries of a data set, the items they are searched among, and which of these are relevant.

Nothing here is of size queries x index: relevance is asked only for what was retrieved, and relevant items are counted
per label or kept as lists.

    class    every item is a query; relevant is what shares a label with it
    session  the roots are queries; relevant are their own matches of grade 1 or more, and nothing else
    pair     the distinct anchors are queries; relevant are the positives of all rows of an anchor
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from typing import cast

import numpy as np

from finetuner.data.labels import dense
from finetuner.data.records import Label, Records
from finetuner.data.views import listed
from finetuner.errors import DataError
from finetuner.evaluation.identities import check_labels, document_ids, identities, look_up, once


class GroundTruth(ABC):
    """Queries, index, and the relevance between them.

    Attributes:
        queries: (Q,) the query records' items that are queries.
        index: (M,) the index records' items that are searched; a *place* below counts these.
        own: (Q,) the query's own place in the index, where it is neither retrieved nor relevant; -1 for none.
        n_relevant: (Q,) how many places are relevant.
    """

    queries: np.ndarray
    index: np.ndarray
    own: np.ndarray
    n_relevant: np.ndarray

    def __init__(self, queries: np.ndarray, index: np.ndarray, own: np.ndarray) -> None:
        self.queries, self.index, self.own = queries, index, own

    @abstractmethod
    def relevant(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Whether places (B, W) are relevant to the queries `rows` (B,), as (B, W) booleans; anything at place -1."""

    def relevance(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """What metrics take: (B, W) 1 or the grade where relevant, 0 where not, -1 where the place is -1.

        Args:
            rows: (B,) numbers of queries.
            places: (B, W) what was retrieved for them.
        """
        found = self.relevant(rows, places)
        if (self.own[rows] >= 0).any():
            found &= places != self.own[rows][:, None]
        relevance = found.view(np.int8)
        np.putmask(relevance, places < 0, -1)
        return relevance

    def ideal(self, rows: np.ndarray, most: int) -> np.ndarray | None:
        """(B, G) the grades of all that is relevant to the queries `rows` (B,), the best first, 0 for none.

        Args:
            rows: numbers of queries.
            most: how many at most, the best.

        Returns:
            None where all that is relevant has grade 1.
        """
        return None

    @abstractmethod
    def sets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of queries, and the places that are relevant to each of these, but for its own."""

    def votes(self, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes of the labels of the queries `rows` (B,), (B, L), and of places (B, W), (B, W, L); -1 for none."""
        raise DataError('There are no labels here that could be compared: expected a label per item.')


class LabelTruth(GroundTruth):
    """Relevant is what shares a label.

    Args:
        labels: (Q, L) codes of the queries' labels, each once; -1 is no label.
        index_labels: (M, L) codes of the index, alike.
    """

    def __init__(
        self, queries: np.ndarray, index: np.ndarray, own: np.ndarray, labels: np.ndarray, index_labels: np.ndarray
    ) -> None:
        super().__init__(queries, index, own)
        # Every result of every query looks up its code: small numbers stay in the cache.
        small = np.min_scalar_type(-1 - max(labels.max(initial=0), index_labels.max(initial=0)))
        self.labels, self.index_labels = labels.astype(small), index_labels.astype(small)
        rows = np.arange(len(queries))
        self.n_relevant = self._counts() - ((own >= 0) & self.relevant(rows, own[:, None])[:, 0])

    def relevant(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        wanted = self.labels[rows]
        if wanted.shape[1] == self.index_labels.shape[1] == 1 and wanted.min(initial=0) >= 0:
            found: np.ndarray = self.index_labels[:, 0].take(places) == wanted
            return found
        found = np.zeros(places.shape, bool)
        for column in self.index_labels.T:
            there = column.take(places)
            for label in wanted.T:
                found |= (there == label[:, None]) & (label >= 0)[:, None]
        return found

    def votes(self, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.labels[rows], np.where(places[:, :, None] < 0, -1, self.index_labels[places])

    def sets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Once for each set of labels that occurs.
        places, columns = np.nonzero(self.index_labels >= 0)
        codes = self.index_labels[places, columns]
        order = np.argsort(codes, kind='stable')
        codes, places = codes[order], places[order]
        kinds, which = np.unique(self.labels, axis=0, return_inverse=True)
        starts, ends = np.searchsorted(codes, kinds, 'left'), np.searchsorted(codes, kinds, 'right')
        rows = np.argsort(which.reshape(-1), kind='stable')
        ends_of_rows = np.cumsum(np.bincount(which.reshape(-1), minlength=len(kinds)))
        for number, queries in enumerate(np.split(rows, ends_of_rows[:-1])):
            lists = [places[a:b] for a, b in zip(starts[number], ends[number], strict=True)]  # of -1 an empty one
            yield queries, lists[0] if len(lists) == 1 else _union(lists, len(self.index))

    def _counts(self) -> np.ndarray:
        # (Q,) how many items of the index share a label.
        counts = np.zeros(len(self.queries), np.int64)
        for rows, places in self.sets():
            counts[rows] = len(places)
        return counts


class ListedTruth(GroundTruth):
    """Relevant is what is listed; of a pair that is listed more than once the highest grade counts.

    Args:
        pairs: (P, 2) of query number and relevant place.
        grades: (P,) from 1, how relevant.
    """

    def __init__(
        self, queries: np.ndarray, index: np.ndarray, own: np.ndarray, pairs: np.ndarray, grades: np.ndarray
    ) -> None:
        super().__init__(queries, index, own)
        others = pairs[:, 1] != own[pairs[:, 0]]
        keys = pairs[others, 0] * max(len(index), 1) + pairs[others, 1]
        order = np.lexsort((-grades[others], keys))
        self._keys, first = np.unique(keys[order], return_index=True)
        self._grades = grades[others][order][first].astype(np.int64)
        self._graded = bool((self._grades != 1).any())
        self.n_relevant = np.bincount(self._keys // max(len(index), 1), minlength=len(queries))

    def relevant(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        if not len(self._keys):
            return np.zeros(places.shape, bool)
        found: np.ndarray = self._keys[self._at(rows, places)] == self._asked(rows, places)
        return found

    def relevance(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        found = super().relevance(rows, places)
        return np.where(found > 0, self._grades[self._at(rows, places)], found) if self._graded else found

    def ideal(self, rows: np.ndarray, most: int) -> np.ndarray | None:
        if not self._graded:
            return None
        ends = np.cumsum(self.n_relevant)[rows]
        starts = ends - self.n_relevant[rows]
        found = np.zeros((len(rows), min(most, int(self.n_relevant[rows].max(initial=0)))), np.int64)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            best = -np.sort(-self._grades[start:end])[: found.shape[1]]
            found[row, : len(best)] = best
        return found

    def sets(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        places = self._keys % max(len(self.index), 1)
        for row, some in enumerate(np.split(places, np.cumsum(self.n_relevant)[:-1])):
            yield np.array([row]), some

    def listed(self) -> np.ndarray:
        """(P, 3) of all that is relevant the number of the query, the place, and the grade; sorted."""
        queries, places = np.divmod(self._keys, max(len(self.index), 1))
        return np.column_stack([queries, places, self._grades])

    def _asked(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        keys: np.ndarray = rows[:, None].astype(np.int64) * len(self.index) + places
        return keys

    def _at(self, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self._keys, self._asked(rows, places)), len(self._keys) - 1)


def ground_truth(query: Records, index: Records | None = None, exclude_self: bool = True) -> GroundTruth:
    """What should be found for each query of a data set.

    Args:
        query: labelled items, sessions, or pairs.
        index: what is searched; None searches the query data itself: all labelled items, the matches of all sessions,
            the positives and negatives of all pairs. Documents with one id are one document, and so are equal texts
            where they stand in pairs.
        exclude_self: leave a query out of its own results and of its own relevant items. With an index of its own
            the query is recognised there by its document's id (in pairs also by its text), else by its position.

    Raises:
        DataError: the data tells no relevant items, or they are not in the index.
    """
    for role, data in (('query_data', query), ('index_data', index)):
        if data is not None and not len(data):
            raise DataError(f'There is nothing to evaluate: {role} is empty.')
    if query.kind == 'class':
        return _by_label(query, index, exclude_self)
    if query.kind in ('session', 'pair'):
        return _by_list(query, index, exclude_self)
    has = {'instance': 'has no labels', 'score': 'has scores, which say how similar two items are'}[query.kind]
    raise DataError(
        f'Cannot tell what is relevant: query_data {has}. Expected a label per item, documents with matches '
        f'graded 1 (or higher) and -1, or pairs of an anchor and its positive.'
    )


def _by_label(query: Records, index: Records | None, exclude_self: bool) -> GroundTruth:
    labels = cast(list[Label], query.labels)
    queries = np.arange(len(query))
    nowhere = np.full(len(query), -1)
    if index is None:
        codes, _ = dense(labels)
        ids = document_ids(query)
        if ids is None or len(set(ids)) == len(ids):
            return LabelTruth(queries, queries, queries if exclude_self else nowhere, codes, codes)
        places, known = once(ids, queries)
        own = look_up(ids, known)
        check_labels(query, places[own], 'query_data')
        return LabelTruth(queries, places, own if exclude_self else nowhere, codes, codes[places])
    if index.labels is None:
        raise DataError('query_data has labels but index_data has none; expected a label per item in both.')
    theirs = document_ids(index)
    places, known = np.arange(len(index)), dict[Hashable, int]()
    if theirs is not None:
        places, known = once(theirs, places)
        check_labels(index, places[look_up(theirs, known)], 'index_data')
    codes, _ = dense([*labels, *(index.labels[place] for place in places)])
    ours = document_ids(query) if exclude_self and known else None
    own = nowhere if ours is None else look_up(ours, known)
    return LabelTruth(queries, places, own, codes[: len(query)], codes[len(query) :])


def _by_list(query: Records, index: Records | None, exclude_self: bool) -> GroundTruth:
    queries, owners, positives, others = _session(query) if query.kind == 'session' else _pairs(query)
    grades = np.ones(len(positives), np.int64) if query.grade is None else query.grade[positives]
    if index is None:
        ids = document_ids(query) or range(len(query))
        places = np.unique(np.concatenate([positives, others]))
        theirs, wanted, selves = ([ids[item] for item in items] for items in (places, positives, queries))
    else:
        places = np.arange(len(index))
        found, sought = identities(index, places), identities(query, positives)
        if found is None or sought is None:
            what = 'sessions' if query.kind == 'session' else 'pairs'
            raise DataError(
                f'Cannot find the relevant items of these {what} in index_data: expected documents with ids in '
                f'both, or pairs of texts and an index of texts. Leave index_data out to search among query_data.'
            )
        theirs, wanted, selves = found, sought, identities(query, queries) or []
    places, known = once(theirs, places)
    relevant = look_up(wanted, known)
    lost = np.flatnonzero(relevant < 0)
    if lost.size:
        raise DataError(
            f'Relevant items are not in the index data: {listed(query.names, positives[lost])}, '
            f'relevant to {listed(query.names, queries[owners[lost]])}. Add them to index_data.'
        )
    own = look_up(selves, known) if exclude_self and selves else np.full(len(queries), -1)
    return ListedTruth(queries, places, own, np.column_stack([owners, relevant]).astype(np.int64), grades)


def _union(lists: list[np.ndarray], size: int) -> np.ndarray:
    # The places, of so many, that are in any of the lists; ascending.
    if 32 * sum(map(len, lists)) < size:
        return np.unique(np.concatenate(lists))
    there = np.zeros(size, bool)  # long lists are slow to sort
    for places in lists:
        there[places] = True
    return np.flatnonzero(there)


def _session(records: Records) -> tuple[np.ndarray, ...]:
    # Queries; the query number and the item of every positive; the items that are relevant to nobody.
    session, grade = cast(np.ndarray, records.session), cast(np.ndarray, records.grade)
    queries, positives = np.flatnonzero(grade == 0), np.flatnonzero(grade > 0)
    order = np.argsort(session[queries], kind='stable')
    owners = order[np.searchsorted(session[queries], session[positives], sorter=order)]
    return queries, owners, positives, np.flatnonzero(grade < 0)


def _pairs(records: Records) -> tuple[np.ndarray, ...]:
    rows = cast(np.ndarray, records.rows)
    queries, first, owners = np.unique(rows[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(first)  # in the order of the rows
    negatives = rows[:, 2:].ravel()
    return queries[order], np.argsort(order)[owners.reshape(-1)], rows[:, 1], negatives[negatives >= 0]
