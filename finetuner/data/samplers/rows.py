"""Batches of rows: pairs with their hard negatives, or scored pairs."""

from collections.abc import Iterator

import numpy as np

from finetuner.data.samplers.base import Sampler, topped_up
from finetuner.data.samplers.plain import counted
from finetuner.errors import DataError

_LOOK_AHEAD = 8  # batches in which a row is looked for that shares no item with the batch


class RowSampler(Sampler):
    """Every row at least once an epoch; where it can be, no two rows of a batch share an item.

    Slots count the cells of the table column after column: a batch has the anchors of its rows first, then their
    positives, then their negatives. Iterating gives the numbers of the rows.

    Args:
        rows: (R, width) item numbers; -1 where a row has fewer negatives than others.
        batch_size: rows in a batch; no more than there are.
        seed: what chance starts from.
        apart: whether to keep equal items apart; scored rows need not be.

    Raises:
        ArgumentError: a batch would have one row, and nothing to tell its positive from.
        DataError: there are too few rows.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int = 0, apart: bool = True) -> None:
        self.table, self.seed, self.apart = np.asarray(rows), seed, apart
        self.n, self.width = len(self.table), int(self.table.shape[1])
        alone = apart and bool((self.table[:, 2:] < 0).all(1).any())  # a row without negatives of its own
        least = 2 if alone or not apart else 1
        if self.n < least:
            what = '1 pair' if self.n else 'no pairs'
            raise DataError(f'The data have {what}: at least {least} are needed to tell what belongs together.')
        self.rows = min(counted(batch_size, least, ' rows'), self.n)
        self.most = self._bound() if apart else 1

    def _bound(self) -> int:
        # Rows that share an anchor or a positive could all meet in one batch, and a negative be one's positive.
        anchors, positives = self.table[:, 0], self.table[:, 1]
        spare = self.table[:, 2:]
        again: np.ndarray = np.bincount(spare[spare >= 0].ravel(), minlength=int(self.table.max()) + 1)
        shared: np.ndarray = np.bincount(anchors)[anchors] + np.bincount(positives)[positives] - 1 + again[positives]
        return min(int(shared.max()), int(self.rows * (self.width - 1)))

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return (self.n + self.rows - 1) // self.rows

    def __iter__(self) -> Iterator[list[int]]:
        """The rows of the batches of the next epoch."""
        epoch, self._epoch = self._epoch, self._epoch + 1
        return (rows.tolist() for rows in self._rows(epoch))

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch."""
        for rows in self._rows(epoch):
            slots = rows + self.n * np.arange(self.width)[:, None]
            yield np.where(self.table[rows].T < 0, -1, slots).ravel()

    def _rows(self, epoch: int) -> Iterator[np.ndarray]:
        chance = self.chance(epoch)
        order = chance.permutation(self.n)
        if self.apart:
            order = self._parted(order.tolist())
        return iter(topped_up(order, self.rows, chance).reshape(-1, self.rows))

    def _parted(self, order: list[int]) -> np.ndarray:
        items = [{item for item in row if item >= 0} for row in self.table.tolist()]
        waiting: list[int] = []
        result: list[int] = []
        next_ = 0
        for _ in range(len(self)):
            batch: list[int] = []
            seen: set[int] = set()
            late: list[int] = []
            candidates = waiting + order[next_ : next_ + max(_LOOK_AHEAD * self.rows - len(waiting), self.rows)]
            used = 0
            for row in candidates:
                if len(batch) == self.rows:
                    break
                used += 1
                if seen.isdisjoint(items[row]):
                    seen |= items[row]
                    batch.append(row)
                else:
                    late.append(row)
            fill = self.rows - len(batch)  # no others in sight: equal items meet, and the codes say so
            batch, late = batch + late[:fill], late[fill:]
            next_ += max(used - len(waiting), 0)
            waiting = late + waiting[used:]
            result += batch
        return np.array(result)
