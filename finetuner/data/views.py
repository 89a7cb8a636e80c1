"""Sequences that read an item when it is asked for, and keep nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


class View(Sequence[Any]):
    """A sequence of `n` items, item i read by `get(i)`."""

    n: int

    def get(self, i: int) -> Any:
        """Item i."""
        raise NotImplementedError

    def __len__(self) -> int:
        """The number of items."""
        return self.n

    def __getitem__(self, i: Any) -> Any:
        """Item i, counted from the end where it is negative."""
        if not -self.n <= i < self.n:
            raise IndexError(i)
        return self.get(int(i) % self.n)

    def __iter__(self) -> Iterator[Any]:
        """One item after the other."""
        return (self.get(i) for i in range(self.n))


class Names(View):
    """'row 0', 'row 1', …: the names of items that have none; or of the rows that items came from."""

    def __init__(self, n: int, form: str = 'row {}', numbers: Sequence[int] | np.ndarray | None = None) -> None:
        self.n, self.form, self.numbers = n, form, numbers

    def get(self, i: int) -> str:
        """The name of item i."""
        return self.form.format(i if self.numbers is None else self.numbers[i])


class Column(View):
    """Element `place` of every row."""

    def __init__(self, rows: Any, place: int) -> None:
        self.n, self.rows, self.place = len(rows), rows, place

    def get(self, i: int) -> Any:
        """The cell of row i."""
        return self.rows[i][self.place]


class Chosen(View):
    """Item i is item `places[i]` of a sequence."""

    def __init__(self, items: Sequence[Any], places: Sequence[int] | np.ndarray) -> None:
        self.n, self.items, self.places = len(places), items, places

    def get(self, i: int) -> Any:
        """Item i."""
        return self.items[int(self.places[i])]


class Cells(View):
    """Item i is cell `rows[i]` of the column `columns[i]` of a table."""

    def __init__(self, table: Sequence[Any], columns: Sequence[int], rows: Sequence[int]) -> None:
        self.n, self.table = len(rows), table
        self.columns, self.rows = np.asarray(columns, np.int32), np.asarray(rows, np.int64)

    def get(self, i: int) -> Any:
        """The cell of item i."""
        return self.table[self.columns[i]][int(self.rows[i])]


class Parts(View):
    """Item i is the dict of the i-th elements of several arrays, such as token ids and their mask."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = dict(arrays)
        self.n = min((len(array) for array in self.arrays.values()), default=0)

    def get(self, i: int) -> dict[str, Any]:
        """The parts of item i."""
        return {name: array[i] for name, array in self.arrays.items()}


def listed(names: Sequence[str], places: Sequence[int] | np.ndarray, most: int = 5) -> str:
    """'row 3, row 7 and 12 more': the names at some places, for a sentence."""
    shown = [str(names[int(place)]) for place in places[:most]]
    if len(places) > most:
        return f'{", ".join(shown)} and {len(places) - most} more'
    return ' and '.join(filter(None, [', '.join(shown[:-1]), *shown[-1:]]))
