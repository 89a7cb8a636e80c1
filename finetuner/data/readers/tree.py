"""Reads documents that hold documents: labels, sessions of matches, pairs of chunks.

What is decided is the same for every version of docarray; a version only says how a document is asked.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from finetuner.data.readers.sequences import normal_labels
from finetuner.data.records import Records
from finetuner.data.views import View, listed
from finetuner.errors import DataError

TAG, SCORE = 'finetuner_label', 'finetuner_score'
MOST = 127
"""The highest grade of a match; larger numbers are rather classes, or numbers of items."""
_TOLD = {
    'class': f'a {TAG}',
    'session': 'matches',
    'pair': 'two chunks',
    'score': f'two chunks and a {SCORE}',
    'instance': 'nothing to learn from',
}


class Asks(NamedTuple):
    """How to ask a document for its label, its score, its matches, its two parts, its content and its id."""

    label: Callable[[Any], Any]
    score: Callable[[Any], Any]
    matches: Callable[[Any], Sequence[Any]]
    parts: Callable[[Any], Sequence[Any]]
    content: Callable[[Any], Any]
    id: Callable[[Any], Any]


class Ids(View):
    """What errors call documents: their ids."""

    def __init__(self, documents: Sequence[Any], asks: Asks) -> None:
        self.n, self.documents, self.asks = len(documents), documents, asks

    def get(self, i: int) -> str:
        """The name of document i."""
        return f'document {self.asks.id(self.documents[i])!r}'


class Inner(View):
    """Documents inside of documents: item i is number `places[i]` of the roots' `ask`, or the root itself at -1."""

    def __init__(
        self, documents: Sequence[Any], ask: Callable[[Any], Sequence[Any]], roots: list[int], places: list[int]
    ) -> None:
        self.n, self.documents, self.ask = len(roots), documents, ask
        self.roots, self.places = np.array(roots, np.int64), np.array(places, np.int64)

    def get(self, i: int) -> Any:
        """Document i."""
        root, place = self.documents[int(self.roots[i])], int(self.places[i])
        return root if place < 0 else self.ask(root)[place]


def read_tree(documents: Sequence[Any], asks: Asks, supervision: str | None) -> Records:
    """Records of documents; all of them are looked at, not the first alone.

    A label makes classes, two chunks a pair, matches a session; documents with none of these are instances, or if
    others have labels, items whose label is missing.

    Raises:
        DataError: documents differ in what they have, or a match has no grade; names them.
    """
    ids = Ids(documents, asks)
    labels = [asks.label(document) for document in documents]
    kinds = [supervision or _kind(document, label, asks) for document, label in zip(documents, labels, strict=True)]
    found = sorted(sorted(set(kinds) - {'instance'}), key=kinds.count)
    usual = found[-1] if found else 'instance'
    lenient = (usual, 'instance') if usual in ('class', 'session') else (usual,)
    odd = [place for place, kind in enumerate(kinds) if kind not in lenient]
    if odd:
        raise DataError(
            f'Most documents have {_TOLD[usual]}, but {listed(ids, odd)} {"has" if len(odd) == 1 else "have"} '
            f'{_TOLD[kinds[odd[0]]]}: all must teach in the same way.'
        )
    if usual == 'class':
        return Records(
            'class', documents, ids, normal_labels(labels, ids), default_content=asks.content, documents=documents
        )
    if usual == 'session':
        return _sessions(documents, asks, ids)
    if usual in ('pair', 'score'):
        return _pairs(documents, asks, ids, usual == 'score')
    return Records('instance', documents, ids, default_content=asks.content, documents=documents)


def _kind(document: Any, label: Any, asks: Asks) -> str:
    if label is not None:
        return 'class'
    if len(asks.matches(document)):
        return 'session'
    if len(asks.parts(document)) == 2:
        return 'pair' if asks.score(document) is None else 'score'
    return 'instance'


def _sessions(documents: Sequence[Any], asks: Asks, ids: Ids) -> Records:
    roots: list[int] = []
    places: list[int] = []
    grades: list[int] = []
    for number, document in enumerate(documents):
        for place, match in enumerate([document, *asks.matches(document)], -1):
            grade = 0 if place < 0 else _grade(asks.label(match))
            if place >= 0 and not grade:
                raise DataError(
                    f'Match {asks.id(match)!r} of {ids[number]} has {TAG} {asks.label(match)!r}: '
                    f'expected 1 for what belongs to the document, a higher grade up to {MOST} for what belongs to it '
                    f'more, or -1 for what does not.'
                )
            roots.append(number)
            places.append(place)
            grades.append(grade)
    items = Inner(documents, asks.matches, roots, places)
    return Records(
        'session',
        items,
        Ids(items, asks),
        session=np.array(roots, np.int64),
        grade=np.array(grades, np.int64),
        default_content=asks.content,
    )


def _grade(label: Any) -> int:
    # A whole number from 1, -1, or 0 for anything else; protocol buffers made floats of some.
    if hasattr(label, '__array__') and len(getattr(label, 'shape', (1,))) == 0:
        label = np.asarray(label).item()  # a tensor
    if isinstance(label, bool) or not isinstance(label, Real | Decimal) or not float(label).is_integer():
        return 0
    grade = int(float(label))
    return grade if grade == -1 or 1 <= grade <= MOST else 0


def _pairs(documents: Sequence[Any], asks: Asks, ids: Ids, scored: bool) -> Records:
    n = len(documents)
    scores = None
    if scored:
        try:
            scores = np.array([[float(asks.score(document))] for document in documents], np.float32)
        except (TypeError, ValueError) as error:
            raise DataError(f'A {SCORE} is no number: {error}.') from error
    items = Inner(documents, asks.parts, [*range(n), *range(n)], [0] * n + [1] * n)
    return Records(
        'score' if scored else 'pair',
        items,
        Ids(items, asks),
        rows=np.arange(2 * n).reshape(2, n).T,
        scores=scores,
        default_content=asks.content,
    )
