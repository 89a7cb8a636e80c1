"""What a sampler is: batches of slots as a function of (seed, epoch)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

BATCH_SIZE = 64
"""Items in a batch where nobody says how many: many small steps beat few large ones on a few thousand items."""


class Sampler(ABC):
    """Chooses the slots of every batch; nothing but the seed and the epoch decides.

    All batches of a sampler are equally long, so that compiled training sees one shape; -1 fills where need be.
    It is also a plain iterable of lists of item numbers without fillers, epoch after epoch, which serves as
    `batch_sampler` of a torch `DataLoader`.

    Attributes:
        rows: anchors in a batch; with `width` 1 its length.
        width: columns of a batch.
        most: no anchor of a batch has more positives than this.
        views: how often every item of a batch is in it, in ways that differ by chance.
        seed: what chance starts from.
    """

    rows: int
    width: int = 1
    most: int = 1
    views: int = 1
    seed: int = 0
    _epoch: int = 0

    @abstractmethod
    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch: (rows * width,) slots each."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of batches in every epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of the next epoch, as lists of items."""
        epoch, self._epoch = self._epoch, self._epoch + 1
        return ([int(slot) for slot in batch if slot >= 0] for batch in self.batches(epoch))

    def chance(self, epoch: int) -> np.random.Generator:
        """The random numbers of an epoch."""
        return np.random.default_rng((self.seed % 2**63, epoch))


def topped_up(order: np.ndarray, length: int, chance: np.random.Generator) -> np.ndarray:
    """`order`, extended to a multiple of `length` by slots that are not in the last batch already, where there are."""
    missing = -len(order) % length
    if not missing:
        return order
    rest = order[: len(order) - len(order) % length]
    extra = chance.choice(rest, missing, replace=False) if len(rest) >= missing else np.resize(order, missing)
    return np.concatenate([order, extra])
