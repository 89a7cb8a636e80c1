"""By what an item is known again: the id of a document, or the text itself."""

from collections.abc import Hashable, Mapping, Sequence
from typing import cast

import numpy as np

from finetuner.data.records import Label, Records
from finetuner.errors import DataError


def document_ids(records: Records) -> Sequence[Hashable] | None:
    """The ids of documents; None where the items are none."""
    first = type(records.contents[0])
    if any(base.__module__.partition('.')[0] == 'docarray' for base in first.__mro__):
        return [document.id for document in records.contents]
    return None


def identities(records: Records, items: np.ndarray) -> list[Hashable] | None:
    """The ids or texts of these items, by which they are the same in two containers; None where there are none."""
    ids = document_ids(records)
    if ids is not None:
        return [ids[item] for item in items]
    if len(items) and not isinstance(records.contents[int(items[0])], str):
        return None
    return [records.contents[int(item)] for item in items]


def once(identities: Sequence[Hashable], places: np.ndarray) -> tuple[np.ndarray, dict[Hashable, int]]:
    """The places where something stands for the first time, and which of these that is."""
    known = dict(zip(identities, range(len(places)), strict=True))
    if len(known) == len(places):
        return places, known
    first: dict[Hashable, int] = {}
    for number, identity in enumerate(identities):
        first.setdefault(identity, number)
    return places[list(first.values())], {identity: number for number, identity in enumerate(first)}


def look_up(identities: Sequence[Hashable], known: Mapping[Hashable, int]) -> np.ndarray:
    """(N,) the numbers of these; -1 of what is not known."""
    return np.fromiter((known.get(identity, -1) for identity in identities), np.int64, len(identities))


def check_labels(records: Records, first: np.ndarray, role: str) -> None:
    """Refuse documents with one id and different labels.

    Args:
        records: labelled items.
        first: (N,) the first item of the same id as each.
        role: what the data set is called.

    Raises:
        DataError: names one.
    """
    labels = cast(list[Label], records.labels)
    for item in np.flatnonzero(first != np.arange(len(first))).tolist():
        if labels[item] != labels[first[item]]:
            raise DataError(
                f'{records.names[item]} comes more than once in {role}, labelled {labels[first[item]]!r} and '
                f'{labels[item]!r}. Documents with one id are one document: give them one label, or ids of their own.'
            )
