"""What makes a training impossible, found from the supervision alone and before anything is read."""

import numpy as np

from finetuner.data.labels import each
from finetuner.data.records import Label, Records
from finetuner.data.views import listed
from finetuner.errors import DataError, enumerated


def class_sizes(records: Records) -> dict[Label, int]:
    """The number of items of each class, in the order of first appearance."""
    sizes: dict[Label, int] = {}
    for label in records.labels or []:
        for one in each(label):
            sizes[one] = sizes.get(one, 0) + 1
    return sizes


def problems(records: Records, pairs: bool = True) -> list[str]:
    """Sentences on why nothing can be learned from some data; none where something can.

    Args:
        records: the data.
        pairs: whether items are compared with each other; False for losses that compare items with classes.
    """
    if not len(records):
        return ['The data are empty: there is nothing to learn from.']
    found = {'class': _of_classes, 'session': _of_sessions, 'pair': _of_pairs, 'score': _of_scores}.get(records.kind)
    if found is None:
        return ['There is one item alone: two are needed to tell apart.'] if pairs and len(records) < 2 else []
    return found(records, pairs)


def refuse(records: Records, pairs: bool = True) -> None:
    """Stop where nothing can be learned from some data.

    Raises:
        DataError: says why.
    """
    for problem in problems(records, pairs):
        raise DataError(problem)


def _of_classes(records: Records, pairs: bool) -> list[str]:
    assert records.labels is not None
    found = []
    missing = [place for place, label in enumerate(records.labels) if label is None]
    if missing:
        found.append(
            f'{len(missing):,} of {len(records):,} items have no label: {listed(records.names, missing)}. '
            f'Label them or leave them out.'
        )
    sizes = class_sizes(records)
    if len(sizes) == 1:
        found.append(
            f'All items are of one class, {enumerated(list(sizes))}: '
            f'a training needs at least two classes to tell apart.'
        )
    elif pairs and sizes and max(sizes.values()) < 2:
        found.append(
            f'Every class has one item ({len(sizes):,} classes): there are no two items that belong together. '
            f'Check that the labels are classes and not numbers of items.'
        )
    return found


def _of_sessions(records: Records, pairs: bool) -> list[str]:
    assert records.grade is not None
    if not (records.grade > 0).any():
        return ['No match of any session is labelled 1: there are no two items that belong together.']
    return []


def _of_pairs(records: Records, pairs: bool) -> list[str]:
    assert records.rows is not None
    rows = records.rows
    if not len(rows):
        return ['The data are empty: there is nothing to learn from.']
    itself = np.flatnonzero(rows[:, 0] == rows[:, 1])
    if len(itself) == len(rows):
        return ['Every anchor is its own positive: there is nothing to learn. Pair different items.']
    alike = [name for name, k in (('anchor', 0), ('positive', 1)) if len(rows) > 1 and len(np.unique(rows[:, k])) == 1]
    if alike and (rows[:, 2:] < 0).all():
        return [f'All {len(rows):,} pairs have the same {alike[0]}: no item of another pair can be a negative.']
    return []


def _of_scores(records: Records, pairs: bool) -> list[str]:
    scores = records.scores
    assert scores is not None and records.rows is not None
    if records.width == 2 and len(scores) > 1 and (scores == scores[0]).all():
        return [f'Every pair has the score {scores[0, 0]:g}: there is no order of similarity to learn.']
    return []
