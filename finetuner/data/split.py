"""Held-out data: what a training is judged by and never learns from."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from finetuner.data.labels import each
from finetuner.data.problems import class_sizes
from finetuner.data.records import Label, Records

SHARE = 0.1
MOST = 2_000
"""Items, rows or sessions that are held out by default at most."""
MANY = 20
"""Classes, of which some are held out as a whole where there are so many."""
JUDGED = ('class', 'session', 'pair', 'score')
"""The kinds of data that say what is right."""


class Chosen(Sequence[Any]):
    """Some things of a sequence, by their numbers; each is read when it is asked for.

    Args:
        things: the sequence.
        places: (n,) numbers in it.
    """

    def __init__(self, things: Sequence[Any], places: np.ndarray) -> None:
        self.things, self.places = things, places

    def __len__(self) -> int:
        """How many there are."""
        return len(self.places)

    def __getitem__(self, place: Any) -> Any:
        """One, or several by a slice."""
        if isinstance(place, slice):
            return Chosen(self.things, self.places[place])
        return self.things[int(self.places[place])]


def hold_out(
    records: Records, share: float = SHARE, most: int | None = MOST, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on and the rows to judge by, each in the order of the data.

    Rows are items, of sessions the items of whole sessions, of pairs and scores the rows of whole anchors. Of labelled
    data some classes are held out as a whole if there are 20 or more: so one sees how well new ones are told apart. Of
    fewer classes at least two items each are held out, and two stay.

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
    wanted = share * len(labels) if most is None else min(share * len(labels), most)
    if len(sizes) >= MANY and not any(isinstance(label, tuple) for label in labels):
        names = list(sizes)
        whole: set[Label] = set()
        count = 0
        for place in chance.permutation(len(names)):
            size = sizes[names[place]]
            if size > 1 and (count + size <= wanted or (len(whole) < 2 and size <= wanted)):
                whole.add(names[place])
                count += size
        if len(whole) > 1:
            return np.array([item for item, label in enumerate(labels) if label in whole])
    # An item of several labels is one of its first.
    groups: dict[Label, list[int]] = {}
    for item, label in enumerate(labels):
        for first in each(label)[:1]:
            groups.setdefault(first, []).append(item)
    found: list[int] = []
    for items in groups.values():
        if len(items) > 3:
            size = min(max(round(wanted / len(labels) * len(items)), 2), len(items) - 2)
            found += chance.permutation(items)[:size].tolist()
    return np.array(found, np.int64)


def _of_sessions(records: Records, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    session, grade = cast(np.ndarray, records.session), cast(np.ndarray, records.grade)
    taken = _some(np.unique(session[grade > 0]), share, most, chance)
    return np.flatnonzero(np.isin(session, taken))


def _of_anchors(records: Records, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    rows = cast(np.ndarray, records.rows)
    anchors, counts = np.unique(rows[:, 0], return_counts=True)
    order = chance.permutation(len(anchors))
    wanted = share * len(rows) if most is None else min(share * len(rows), most)
    taken = anchors[order][np.cumsum(counts[order]) <= wanted]
    return np.flatnonzero(np.isin(rows[:, 0], taken))


def _some(things: np.ndarray, share: float, most: int | None, chance: np.random.Generator) -> np.ndarray:
    count = int(share * len(things)) if most is None else min(int(share * len(things)), most)
    return chance.permutation(things)[:count]
