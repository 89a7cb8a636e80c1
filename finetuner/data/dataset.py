"""Items by number: their contents, one at a time, and their supervision as small integer codes.

A *slot* is a place in the data: an item, or for pairs and scores a cell of the table of rows, counted column after
column. Slot -1 only fills a batch.
"""

from typing import Any

import numpy as np

from finetuner.data.labels import dense
from finetuner.data.records import Label, Records
from finetuner.errors import DataError, FinetunerError
from finetuner.typing import Layout, PreprocessFn


class Dataset:
    """Records as a training needs them.

    Args:
        records: what a reader gives.
        preprocess_fn: from an item to its content; may be random. None takes the content as it is.
        classes: the labels that have codes, in their order; others are nobody's. None takes those of the records.
        augmentation: from a content to a random change of it.

    Attributes:
        kind: the kind of supervision.
        label: (n, L) int32 of 'class': dense codes in order of first appearance, padded with -1.
        guide: (n, G) float32 vectors of the items by another model, or None.
        classes: the label of each code.
    """

    def __init__(
        self,
        records: Records,
        preprocess_fn: PreprocessFn | None = None,
        classes: list[Label] | None = None,
        augmentation: PreprocessFn | None = None,
    ) -> None:
        self.records = records
        self.preprocess_fn = preprocess_fn
        self.augmentation = augmentation
        self.kind = records.kind
        self.label: np.ndarray | None = None
        self.classes: list[Label] = []
        self.guide: np.ndarray | None = None
        if records.kind == 'class':
            self.label, self.classes = dense(records.labels or [], classes)
        self._cells = None if records.rows is None else records.rows.T.ravel()

    def __len__(self) -> int:
        """The number of items."""
        return len(self.records)

    def alone(self) -> 'Dataset':
        """The same items without supervision, as they are."""
        return Dataset(self.records.alone(), self.preprocess_fn)

    def item(self, slot: int) -> int:
        """The number of the item at a slot."""
        return int(slot if self._cells is None else self._cells[slot])

    def name(self, slot: int) -> str:
        """How errors call the item at a slot."""
        return str(self.records.names[self.item(slot)])

    def content(self, slot: int) -> Any:
        """The preprocessed content of one item, changed by the augmentation if there is one.

        Raises:
            DataError: it cannot be read, or `preprocess_fn` or the augmentation fails on it; names the item.
        """
        try:
            item = self.records.contents[self.item(slot)]
        except Exception as error:
            raise DataError(f'Cannot read {self.name(slot)}: {_told(error)}') from error
        what = 'preprocess_fn fails on' if self.preprocess_fn else 'Cannot read'
        try:
            content = (self.preprocess_fn or self.records.default_content)(item)
            what = 'augmentation fails on'
            return content if self.augmentation is None else self.augmentation(content)
        except Exception as error:
            raise DataError(f'{what} {self.name(slot)}: {_told(error)}') from error

    def codes(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """The supervision of a batch, as `finetuner.losses.relation.relate` reads it.

        Args:
            slots: (N,); of pairs and scores the anchors first, then the other columns, column after column.

        Returns:
            `item (N,)` with `label (N, L)` or with `session (N,)` and `kind (N,)`, all int32; of scores `item` and
            `score (rows, S)` float32. Equal items are neither positives nor negatives of each other, and item -1 is
            nobody. With a guide also `guide (N, G)`, zeros where there is nobody.
        """
        slots = np.asarray(slots, np.int64)
        codes = self._supervision(slots)
        if self.guide is not None:
            items = np.where(slots < 0, -1, slots if self._cells is None else self._cells[slots])
            codes['guide'] = np.where(items[:, None] < 0, 0, self.guide[items])
        return codes

    def _supervision(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        filler = slots < 0
        records = self.records
        if self.kind == 'instance':
            # Every view of an item is an item, in this batch and in a memory of earlier ones.
            view = slots + len(records) * occurrence(slots)
            return _int32(item=np.where(filler, -1, view), label=slots.reshape(-1, 1))
        if self.kind == 'class':
            assert self.label is not None
            label = np.where(filler[:, None], -1, self.label[slots])
            return _int32(item=np.where(filler, -1, slots), label=label)
        if self.kind == 'session':
            assert records.session is not None and records.grade is not None
            item, session, kind = np.where(filler, -1, [slots, records.session[slots], records.grade[slots]])
            return _int32(item=item, session=session, kind=kind)
        assert self._cells is not None and records.rows is not None
        item = np.where(filler, -1, self._cells[slots])
        count = len(slots) // records.width
        rows = slots[:count]  # a slot of the first column is the number of its row
        if records.scores is not None:
            return {**_int32(item=item), 'score': records.scores[rows].astype(np.float32)}
        # Rows that share an anchor or a positive share a label: their positives are positives of both anchors.
        bond = np.stack([2 * records.rows[rows, 0], 2 * records.rows[rows, 1] + 1], axis=1)
        spare = item[2 * count :]
        own = np.stack([np.full(len(spare), -1), np.where(spare < 0, -1, 2 * spare + 1)], axis=1)
        return _int32(item=item, label=np.concatenate([bond, bond, own]))

    def layout(self, rows: int, most: int) -> Layout:
        """How batches of this data are laid out.

        Args:
            rows: anchors in a batch.
            most: no anchor of a batch has more positives than this.
        """
        return Layout(rows, self.records.width, most, len(self.classes))


def occurrence(slots: np.ndarray) -> np.ndarray:
    """How often each of (n,) whole numbers stood before its place.

    >>> occurrence(np.array([7, 5, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(slots, kind='stable')
    found = np.empty_like(slots)
    found[order] = np.arange(len(slots)) - np.searchsorted(slots[order], slots[order])
    return found


def _int32(**codes: np.ndarray) -> dict[str, np.ndarray]:
    return {name: code.astype(np.int32) for name, code in codes.items()}


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, FinetunerError) else f'{type(error).__name__}: {error}'
