"""Arrays of items on disk, of which a batch reads the rows that it needs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finetuner.data.views import Chosen
from finetuner.typing import CollateFn, PreprocessFn


class Column(NamedTuple):
    """One array of every item, in a file of nothing but their numbers.

    Attributes:
        dtype: of the numbers.
        shape: of an item; of items of different length, without that.
    """

    dtype: str
    shape: tuple[int, ...]


class Rows:
    """What a model is given in place of the inputs of items: one array an item, or several.

    Args:
        columns: memory-mapped, one row an item; of items of different length all their rows in a row.
        starts: (n + 1,) where each item begins in such columns; None where all are alike.
        places: which items these are; None is for all.
    """

    def __init__(
        self, columns: Sequence[np.ndarray], starts: np.ndarray | None = None, places: np.ndarray | None = None
    ) -> None:
        self.columns, self.starts, self.places = list(columns), starts, places

    @classmethod
    def opened(cls, folder: Path, columns: Sequence[Column], count: int, ragged: bool) -> 'Rows':
        """Those of a folder that `Writer` filled.

        Args:
            folder: it.
            columns: what is in it.
            count: of items.
            ragged: whether they are of different length.
        """
        starts = np.fromfile(folder / 'starts.bin', np.int64) if ragged else None
        length = count if starts is None else int(starts[-1])
        found = [
            np.memmap(folder / f'{number}.bin', column.dtype, 'r', shape=(length, *column.shape))
            for number, column in enumerate(columns)
        ]
        return cls(found, starts)

    def chosen(self, places: np.ndarray) -> 'Rows':
        """Those of some items."""
        return Rows(self.columns, self.starts, places if self.places is None else self.places[places])

    def batch(self, items: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The arrays of some items; shorter ones are filled up with zeros."""
        wanted = np.asarray(items, np.int64)
        if self.places is not None:
            wanted = self.places[wanted]
        if self.starts is None:
            return [np.asarray(column[wanted]) for column in self.columns]
        begins, ends = self.starts[wanted], self.starts[wanted + 1]
        longest = int((ends - begins).max())
        made = [np.zeros((len(wanted), longest, *column.shape[1:]), column.dtype) for column in self.columns]
        for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            for column, batch in zip(self.columns, made, strict=True):
                batch[row, : end - begin] = column[begin:end]
        return made


class Writer:
    """Writes the arrays of items into a folder, batch by batch; not through the map, which dies on a full disk.

    Args:
        folder: exists, and is empty.
        ragged: whether items are of different length: so many tokens as the last column, a mask, says.

    Attributes:
        columns: what is written; known after the first batch.
        count: items so far.
    """

    def __init__(self, folder: Path, ragged: bool) -> None:
        self.folder, self.ragged = folder, ragged
        self.columns: list[Column] = []
        self.count = 0
        self._starts = [0]

    def append(self, arrays: Sequence[np.ndarray]) -> None:
        """The arrays of the next items.

        Raises:
            ValueError: they are not like those before.
        """
        skip, count = 2 if self.ragged else 1, len(arrays[0])
        columns = [Column(str(array.dtype), tuple(array.shape[skip:])) for array in arrays]
        self.columns = self.columns or columns
        if columns != self.columns:
            raise ValueError(f'items are of shape {columns[0].shape}, others of {self.columns[0].shape}')
        if self.ragged:
            long = [int(np.flatnonzero(row)[-1]) + 1 if row.any() else 1 for row in arrays[-1]]
            self._starts += (self._starts[-1] + np.cumsum(long)).tolist()
            arrays = [np.concatenate([row[:n] for row, n in zip(array, long, strict=True)]) for array in arrays]
        self.count += count
        for number, array in enumerate(arrays):
            with (self.folder / f'{number}.bin').open('ab') as file:
                file.write(np.ascontiguousarray(array).tobytes())

    def close(self) -> None:
        """All are written."""
        if self.ragged:
            np.array(self._starts, np.int64).tofile(self.folder / 'starts.bin')


class Kept:
    """The rows of several data, for whoever has the contents that they were made of.

    Args:
        preprocess_fn: that the inputs were made with.
        collate_fn: likewise.
        current: whether what they were made by is still as it was.
    """

    def __init__(
        self, preprocess_fn: PreprocessFn | None, collate_fn: CollateFn | None, current: Callable[[], bool]
    ) -> None:
        self.preprocess_fn, self.collate_fn, self.current = preprocess_fn, collate_fn, current
        self._known: list[tuple[Any, Rows]] = []

    def add(self, contents: Sequence[Any], rows: Rows) -> None:
        """Keep the rows of some contents."""
        self._known.append((contents, rows))

    def of(
        self, contents: Sequence[Any], preprocess_fn: PreprocessFn | None, collate_fn: CollateFn | None
    ) -> Rows | None:
        """The rows of contents, or of what was chosen of them; None if they are not kept, or were made otherwise."""
        if preprocess_fn is not self.preprocess_fn or collate_fn is not self.collate_fn:
            return None
        places: np.ndarray | None = None
        while True:
            for known, rows in self._known:
                if known is contents:
                    return rows if places is None else rows.chosen(places)
            if not isinstance(contents, Chosen):
                return None
            own = np.asarray(contents.places, np.int64)
            contents, places = contents.items, own if places is None else own[places]
