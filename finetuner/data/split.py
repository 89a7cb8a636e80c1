"""Held-out data: what a training is judged by and never learns from."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from finetuner.data.labels import each
from finetuner.data.problems import class_sizes
from finetuner.data.records import Label, Records
from finetuner.data.views import Chosen

SHARE = 0.1
MOST = 2_000
"""Items, rows or sessions that are held out by default at most."""
MANY = 20
"""Classes, of which some are held out as a whole where there are so many."""
JUDGED = ('class', 'session', 'pair', 'score')
"""The kinds of data that say what is right."""


def hold_out(
    records: Records, share: float = SHARE, most: int | None = MOST, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on and the rows to judge by, each in the order of the data.

    Rows are items, of sessions the items of whole sessions, of pairs and scores all rows that an anchor is in. Of
    labelled data some classes are held out as a whole if there are 20 or more, none of them with most of the items: so
    one sees how well new ones are told apart. Of others at least two items each are held out, and two stay.

    Args:
        records: labelled in any way.
        share: of what is held out, above 0 and below 1.
        most: items, rows or sessions to hold out at most; None for no bound.
        seed: what chance starts from.

    Returns:
        Two arrays; the second is empty where too little can be spared.
    """
    chance = np.random.default_rng((seed, 1))
    count = len(records) if records.rows is None else len(records.rows)
    chosen = {'class': _of_classes, 'session': _of_sessions}.get(records.kind, _of_anchors)
    held = np.zeros(count, bool)
    held[chosen(records, share, most, chance)] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def part(records: Records, rows: np.ndarray) -> tuple[Records, np.ndarray]:
    """Some rows of records, as records, and the (n,) numbers that their items had.

    Args:
        records: the data.
        rows: as `hold_out` gives them.
    """
    items = rows
    changes: dict[str, Any] = {}
    if records.rows is not None:
        cells = records.rows[rows]
        items = np.unique(cells[cells >= 0])
        changes['rows'] = np.where(cells < 0, -1, np.searchsorted(items, cells))
        changes['scores'] = None if records.scores is None else records.scores[rows]
    if records.labels is not None:
        changes['labels'] = [records.labels[item] for item in items]
    if records.session is not None and records.grade is not None:
        changes |= {'session': records.session[items], 'grade': records.grade[items]}
    contents, names = Chosen(records.contents, items), Chosen(records.names, items)
    return replace(records, contents=contents, names=names, documents=None, **changes), items


def _of_classes(records: Records, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    labels = cast(list[Label], records.labels)
    sizes = class_sizes(records)
    wanted = _wanted(len(labels), share, most)
    if len(sizes) >= MANY and not any(isinstance(label, tuple) for label in labels):
        names = list(sizes)
        whole: set[Label] = set()
        count = 0
        for place in chance.permutation(len(names)):
            size = sizes[names[place]]
            if 1 < size <= wanted / 2 and count + size <= wanted:
                whole.add(names[place])
                count += size
        if len(whole) > 1 and count >= wanted / 2:
            return np.array([item for item, label in enumerate(labels) if label in whole])
    # An item of several labels is one of its first.
    groups: dict[Label, list[int]] = {}
    for item, label in enumerate(labels):
        for first in each(label)[:1]:
            groups.setdefault(first, []).append(item)
    large = [items for items in groups.values() if len(items) > 3]
    found: list[int] = []
    for place in chance.permutation(len(large)):
        if len(found) >= wanted and len(groups) >= MANY:
            break
        items = large[place]
        size = min(max(round(wanted / len(labels) * len(items)), 2), len(items) - 2)
        found += chance.permutation(items)[:size].tolist()
    return np.array(found, np.int64)


def _of_sessions(records: Records, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    session, grade = cast(np.ndarray, records.session), cast(np.ndarray, records.grade)
    able = np.unique(session[grade > 0])
    taken = chance.permutation(able)[: int(_wanted(len(able), share, most))]
    return np.flatnonzero(np.isin(session, taken))


def _of_anchors(records: Records, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    rows = cast(np.ndarray, records.rows)
    wanted = _wanted(len(rows), share, most)
    # Rows that an anchor is the other side of are its own too: a pair may stand there both ways.
    anchors, where = np.unique(rows[:, :2], return_inverse=True)
    where = where.reshape(-1, 2)
    counts = np.bincount(where.ravel(), minlength=len(anchors))
    own = np.flatnonzero(np.bincount(where[:, 0], minlength=len(anchors)))
    order = chance.permutation(own[counts[own] <= wanted])
    taken = np.zeros(len(anchors), bool)
    taken[order[np.cumsum(counts[order]) <= wanted]] = True
    return np.flatnonzero(taken[where].any(axis=1))


def _wanted(count: int, share: float, most: int | None) -> float:
    # How many of so many items, rows or sessions are to be held out.
    return share * count if most is None else min(share * count, most)
