"""Rows of items, such as pairs and their hard negatives: equal texts are one item."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.data.labels import is_missing
from finetuner.data.records import Records
from finetuner.data.views import Cells, View
from finetuner.errors import DataError


def rows_of(
    table: Sequence[Sequence[Any]],
    names: Sequence[str],
    scores: np.ndarray | None = None,
    same: bool = False,
    ragged: bool = True,
    headers: Sequence[str] = (),
) -> Records:
    """Records of pairs, or with `scores` of scored rows.

    Equal strings become one item, so that a text that stands in several rows is never its own negative.

    Args:
        table: the columns, each of R cells: anchor, positive, negatives; or what is compared.
        names: how errors call each of the R rows.
        scores: (R, S).
        same: whether equal objects, not only equal strings, are one item; only where the cells stay in memory.
        ragged: whether a row may have fewer negatives than others.
        headers: what the columns are called.

    Raises:
        DataError: a cell is empty; names it.
    """
    called = headers or ['anchor', 'positive', *(f'negative {k}' for k in range(1, len(table) - 1))]
    found: dict[tuple[bool, Any], int] = {}
    columns: list[int] = []
    places: list[int] = []
    rows = np.full((len(names), len(table)), -1, np.int64)
    for number, column in enumerate(table):
        for place, cell in enumerate(column):
            if is_missing(cell):
                if number >= 2 and ragged:
                    continue
                raise DataError(f'There is no {called[number]} in {names[place]} but {cell!r}: fill it or drop it.')
            key = (True, cell) if isinstance(cell, str) else (False, id(cell) if same else (number, place))
            item = found.setdefault(key, len(found))
            if item == len(columns):
                columns.append(number)
                places.append(place)
            rows[place, number] = item
    return Records(
        'pair' if scores is None else 'score',
        Cells(table, columns, places),
        Places(called, names, columns, places),
        rows=rows,
        scores=scores,
    )


class Places(View):
    """'positive of row 2': what errors call the items of a table of rows."""

    def __init__(self, called: Sequence[str], names: Sequence[str], columns: list[int], rows: list[int]) -> None:
        self.n, self.called, self.names = len(rows), called, names
        self.columns, self.rows = np.asarray(columns, np.int32), np.asarray(rows, np.int64)

    def get(self, i: int) -> str:
        """The name of item i."""
        return f'{self.called[self.columns[i]]} of {self.names[int(self.rows[i])]}'
