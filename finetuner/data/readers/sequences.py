"""Reads lists of contents or tuples, and `(contents, labels)`.

A row is a tuple; a list is a content. The second of two is a label if it is an integer, a string or a list of them.
Two texts are a pair where more than three quarters of the second texts differ: most classes would have one item.
A number at the end of three or more is a score.
"""

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from finetuner.console import logger
from finetuner.data.labels import normal
from finetuner.data.readers.items import rows_of
from finetuner.data.records import Label, Records
from finetuner.data.views import Column, Names, Parts, listed
from finetuner.errors import DataError


def read(data: Any, supervision: str | None = None) -> Records:
    """Records of a list, an array, or `(contents, labels)`.

    Raises:
        DataError: rows differ in what they have, or a label can be none.
    """
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple) and not isinstance(data[1], str):
        return _arrays(*data)
    if len(data) == 0:
        return Records('instance', data, Names(0))
    tuples = [isinstance(row, tuple) for row in data] if isinstance(data, list | tuple) else []
    if supervision == 'instance' or (tuples and not any(tuples)) or isinstance(data, np.ndarray):
        return _plain(data, supervision)
    if not tuples and not isinstance(data[0], tuple):
        return _plain(data, supervision)
    if not tuples:
        return _foreign(data, supervision)
    if not all(tuples):
        raise DataError(
            f'Labels are missing: rows are tuples such as (content, label), but {_have(tuples, False)} none. '
            f'Give all of them a label, or leave all labels out.'
        )
    return _rows(data, supervision)


def _plain(data: Any, supervision: str | None) -> Records:
    if supervision not in (None, 'instance'):
        raise DataError(f'The data are contents alone and teach no {supervision}: give tuples, (content, label).')
    first = data[0]
    if supervision is None and isinstance(first, list) and len(first) > 1 and all(isinstance(c, str) for c in first):
        raise DataError(
            'The rows are lists of strings: write a row as a tuple, [(content, label), …], '
            "or say that each list is one content: supervision='instance'."
        )
    return Records('instance', data, Names(len(data), 'item {}'))


def _foreign(data: Any, supervision: str | None) -> Records:
    # Some other sequence of rows, such as a torch Dataset: it is read once for its labels and then row by row.
    tails = [(None, *data[place][1:]) for place in range(len(data))]
    if any(len(tail) != 2 for tail in tails) or supervision not in (None, 'class') or not _are_labels(tails):
        return _rows([data[place] for place in range(len(data))], supervision)
    records = _rows(tails, 'class')
    return Records('class', Column(data, 0), records.names, records.labels)


def _arrays(contents: Any, labels: Any) -> Records:
    items: Any = Parts(contents) if isinstance(contents, Mapping) else contents
    if not hasattr(labels, '__len__') or not hasattr(items, '__len__'):
        raise DataError(f'Expected (contents, labels), came ({type(contents).__name__}, {type(labels).__name__}).')
    if len(items) != len(labels):
        raise DataError(f'There are {len(items)} contents and {len(labels)} labels: give one label for each content.')
    shape = getattr(labels, 'shape', (len(labels),))
    if len(shape) > 1 and any(size != 1 for size in shape[1:]):
        raise DataError(
            f'The labels have shape {tuple(shape)}: expected ({shape[0]},). '
            f'For several labels an item give a list of lists; for one-hot rows, labels.argmax(1).'
        )
    if hasattr(labels, 'iloc') or hasattr(labels, '__array__'):
        labels = np.asarray(labels).reshape(len(labels)).tolist()
    items = items.to_numpy() if hasattr(items, 'iloc') else items
    names = Names(len(items), 'item {}')
    return Records('class', items, names, labels=normal_labels(labels, names))


def _rows(data: Sequence[tuple[Any, ...]], supervision: str | None) -> Records:
    lengths = np.array([len(row) for row in data])
    names = Names(len(data))
    if lengths.min() < 2:
        raise DataError(f'Rows are tuples such as (content, label); {_have(lengths, lengths.min())} only one part.')
    if supervision == 'class' or (supervision is None and lengths.max() == 2 and _are_labels(data)):
        if lengths.max() > 2:
            raise DataError(f'Rows of labels are (content, label); {_have(lengths, lengths.max())} more parts.')
        return Records('class', Column(data, 0), names, labels=normal_labels(Column(data, 1), names))
    scored = np.array([_scores(row) for row in data])
    if supervision != 'pair' and (scored.any() or supervision == 'score'):
        return _scored(data, names, lengths, scored)
    width = int(lengths.max())
    columns = [_Ragged(data, k) for k in range(width)]
    return rows_of(columns, names, same=True)


def _scored(data: Sequence[tuple[Any, ...]], names: Names, lengths: np.ndarray, scored: np.ndarray) -> Records:
    odd = np.flatnonzero(scored == 0)
    if len(odd):
        raise DataError(f'Scored rows are (a, b, score); there is no score in {listed(names, odd)}.')
    if len(np.unique(lengths)) > 1 or len(np.unique(scored)) > 1:
        usual = np.bincount(lengths * 99 + scored).argmax()
        odd = np.flatnonzero(lengths * 99 + scored != usual)
        raise DataError(f'Scored rows must all be alike, (a, b, score); {listed(names, odd)} differ from the others.')
    count = int(scored[0])
    scores = np.array([row[-count:] for row in data], np.float32).reshape(len(data), count)
    bad = np.flatnonzero(~np.isfinite(scores).all(1))
    if len(bad):
        raise DataError(f'A score must be a finite number; it is not in {listed(names, bad)}.')
    columns = [Column(data, k) for k in range(int(lengths[0]) - count)]
    return rows_of(columns, names, scores, same=True, ragged=False)


def _scores(row: tuple[Any, ...]) -> int:
    # How many numbers stand at the end, after the two that are compared.
    count = 0
    while len(row) - count > 2 and _is_number(row[-1 - count]):
        count += 1
    return count


class _Ragged(Column):
    # A column that some rows are too short for.
    def get(self, i: int) -> Any:
        row = self.rows[i]
        return row[self.place] if self.place < len(row) else None


def normal_labels(labels: Sequence[Any], names: Sequence[str]) -> list[Label]:
    """Labels that can be compared.

    Raises:
        DataError: one can be no label; names its item.
    """
    result: list[Label] = []
    for place in range(len(labels)):
        try:
            result.append(normal(labels[place]))
        except TypeError as error:
            raise DataError(f'The label of {names[place]} is wrong: {error}; for scores give (a, b, score).') from None
    return result


def _are_labels(data: Sequence[tuple[Any, ...]]) -> bool:
    seconds = [row[1] for row in data]
    if not all(_may_be_label(second) for second in seconds):
        return False
    if len(data) > 1 and all(isinstance(cell, str) for row in data for cell in row):
        if len(set(seconds)) > 0.75 * len(seconds):  # as classes, most would have one item and teach nothing
            logger.info("Second texts hardly repeat, so the rows are read as pairs; supervision='class' reads labels.")
            return False
    return True


def _may_be_label(second: Any) -> bool:
    if isinstance(second, list | tuple | set | frozenset):
        return all(isinstance(one, str | int | np.integer) for one in second)
    return second is None or isinstance(second, str | Number | np.generic) or getattr(second, 'shape', None) == ()


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.number) or getattr(value, 'shape', None) == ()


def _have(values: Any, odd: Any) -> str:
    places = np.flatnonzero(np.asarray(values) == odd)
    return f'{listed(Names(len(values)), places)} {"has" if len(places) == 1 else "have"}'
