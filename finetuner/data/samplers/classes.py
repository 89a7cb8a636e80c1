"""P x K batches: P distinct classes, K items of each.

A class of n items is cut into ceil(n / K) groups, the short one topped up from its own items. Every batch takes the P
classes with most groups left, so that large classes start early and no epoch is longer than it must be; where fewer
classes have groups left, others give an extra one. So every item is seen in every epoch, however skewed the classes.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finetuner.data.labels import codes_of
from finetuner.data.samplers.base import Sampler
from finetuner.data.samplers.plain import counted
from finetuner.errors import ArgumentError, DataError


class ClassSampler(Sampler):
    """Batches of P distinct classes with K items of each; every item at least once an epoch.

    Args:
        labels: of every item a label, several, or None; or (n, L) codes padded with -1. An item of several classes
            takes part in each of them; one without label in none.
        batch_size: items in a batch, at most.
        num_items_per_class: K. By default at least 4, more where all classes fit into a batch, and no more than the
            largest class has.
        seed: what chance starts from.

    Attributes:
        classes: P.
        num_items_per_class: K.

    Raises:
        ArgumentError: the batch has no room for two classes of K items.
        DataError: there is one class only, or every class has one item.
    """

    def __init__(
        self, labels: Sequence[Any] | np.ndarray, batch_size: int, num_items_per_class: int | None = None, seed: int = 0
    ) -> None:
        codes = codes_of(labels)
        self.seed = seed
        self.owner, places = np.nonzero(codes >= 0)  # an item of several classes is there several times
        self.label = codes[self.owner, places]
        found, self.label, self.sizes = np.unique(self.label, return_inverse=True, return_counts=True)
        if len(found) < 2:
            raise DataError(
                f'There {"is 1 class" if len(found) else "are no classes"}; learning needs at least 2 to tell apart.'
            )
        largest = int(self.sizes.max())
        if largest < 2:
            raise DataError(f'Each of the {len(found):,} classes has one item; some need 2 that belong together.')
        k = _per_class(counted(batch_size), len(found), largest, num_items_per_class)
        self.num_items_per_class = k
        self.classes = min(batch_size // k, len(found))
        self.rows = self.classes * k
        self.most = k - 1 if codes.shape[1] == 1 else self.rows - 1
        self.groups = -(-self.sizes // k)

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return int(max(self.groups.max(), -(-self.groups.sum() // self.classes)))

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch."""
        chance, k = self.chance(epoch), self.num_items_per_class
        order = chance.permutation(len(self.owner))
        order = order[np.argsort(self.label[order], kind='stable')]
        items = np.split(self.owner[order], np.cumsum(self.sizes)[:-1])
        lots = chance.random(len(items))
        left = [(-int(n), lots[c], c) for c, n in enumerate(self.groups)]  # most groups left first, ties by lot
        heapq.heapify(left)
        for _ in range(len(self)):
            taken = [heapq.heappop(left) for _ in range(min(self.classes, len(left)))]
            batch = [_group(items[c], len(items[c]) - (-n - 1) * k, k, chance) for n, _, c in taken]
            chosen = {c for _, _, c in taken}
            if len(chosen) < self.classes:
                any_ = chance.choice(len(items), self.classes, replace=False)
                others = [c for c in any_ if c not in chosen][: self.classes - len(chosen)]
                batch += [_drawn(items[c], k, chance) for c in others]
            for n, _, c in taken:
                if n < -1:
                    heapq.heappush(left, (n + 1, chance.random(), c))
            yield np.concatenate(batch)


def _per_class(batch_size: int, classes: int, largest: int, wanted: int | None) -> int:
    if wanted is None:
        if batch_size < 4:
            raise ArgumentError(f'batch_size={batch_size}: expected at least 4, for 2 items of 2 classes.')
        return max(min(max(batch_size // classes, 4), largest, batch_size // 2), 2)
    if isinstance(wanted, bool) or not isinstance(wanted, int | np.integer) or wanted < 2:
        raise ArgumentError(f'num_items_per_class={wanted!r}: expected an integer of at least 2.')
    if batch_size < 2 * wanted:
        hint = f' or num_items_per_class to at most {batch_size // 2}' if batch_size >= 4 else ''
        raise ArgumentError(
            f'batch_size={batch_size} has no room for 2 classes with num_items_per_class={wanted}: '
            f'raise batch_size to at least {2 * wanted}{hint}.'
        )
    return int(wanted)


def _group(items: np.ndarray, end: int, k: int, chance: np.random.Generator) -> np.ndarray:
    # The K items before `end`. The first group of a class may be short: it is topped up from the others.
    if end >= k:
        return items[end - k : end]
    if len(items) < k:
        return _drawn(items, k, chance)
    return np.concatenate([items[:end], chance.choice(items[end:], k - end, replace=False)])


def _drawn(items: np.ndarray, k: int, chance: np.random.Generator) -> np.ndarray:
    # K items of a class; where it has fewer, all of them as equally often as can be.
    return np.resize(chance.permutation(items), k)
