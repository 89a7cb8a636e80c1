"""Samplers that look at no label: in order, shuffled, and several views of each item."""

from collections.abc import Iterator

import numpy as np

from finetuner.data.samplers.base import Sampler, topped_up
from finetuner.errors import ArgumentError, DataError


def counted(batch_size: int, least: int = 1, why: str = '') -> int:
    """`batch_size`, if it is an integer of at least `least`.

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < least:
        raise ArgumentError(f'batch_size={batch_size!r}: expected an integer of at least {least}{why}.')
    return int(batch_size)


class SequentialSampler(Sampler):
    """All items in order, the last batch as short as it comes; for encoding.

    Args:
        n: the number of items.
        batch_size: items in a batch.
        order: (n,) the items in the order in which they come; by default as they are.
    """

    def __init__(self, n: int, batch_size: int, order: np.ndarray | None = None) -> None:
        self.n, self.rows, self.order = n, counted(batch_size), np.arange(n) if order is None else order

    def __len__(self) -> int:
        """The number of batches."""
        return (self.n + self.rows - 1) // self.rows

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The same batches in every epoch."""
        return (self.order[start : start + self.rows] for start in range(0, self.n, self.rows))


class ShuffledSampler(Sampler):
    """Every item once an epoch, in random order; -1 fills the last batch. For losses that compare with classes.

    Args:
        n: the number of items.
        batch_size: items in a batch; no more than there are.
        seed: what chance starts from.
        most: labels of an item at most.
    """

    def __init__(self, n: int, batch_size: int, seed: int = 0, most: int = 1) -> None:
        if n < 1:
            raise DataError('There are no items to learn from.')
        self.n, self.rows, self.seed, self.most = n, min(counted(batch_size), n), seed, most

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return (self.n + self.rows - 1) // self.rows

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch."""
        order = np.full(len(self) * self.rows, -1)
        order[: self.n] = self.chance(epoch).permutation(self.n)
        return iter(order.reshape(-1, self.rows))


class InstanceSampler(Sampler):
    """Several views of each item: a batch has all its items once, then all of them again.

    The views of an item are positives of each other. They differ where an augmentation, `preprocess_fn` or the model
    draws.

    Args:
        n: the number of items.
        batch_size: views in a batch; no more than there are.
        views: of each item.
        seed: what chance starts from.

    Raises:
        ArgumentError: there is no room for two items.
        DataError: there are fewer than two items.
    """

    def __init__(self, n: int, batch_size: int, views: int = 2, seed: int = 0) -> None:
        if views < 2:
            raise ArgumentError(f'views={views!r}: an item needs at least 2 to be its own positive.')
        if n < 2:
            raise DataError(f'There {"is 1 item" if n else "are no items"}: views need at least 2 items to tell apart.')
        self.n, self.views, self.seed, self.most = n, views, seed, views - 1
        self.items = min(counted(batch_size, 2 * views, f': {views} views of 2 items') // views, n)
        self.rows = self.items * views

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return (self.n + self.items - 1) // self.items

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch."""
        chance = self.chance(epoch)
        order = topped_up(chance.permutation(self.n), self.items, chance)
        return (np.tile(items, self.views) for items in order.reshape(-1, self.items))
