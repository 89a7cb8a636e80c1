"""Batches of inputs and codes, made when they are needed."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from finetuner.data.chance import seeded
from finetuner.data.collate import collate
from finetuner.data.dataset import Dataset, occurrence
from finetuner.data.rows import Rows
from finetuner.data.samplers.base import Sampler
from finetuner.data.workers import ordered
from finetuner.errors import ArgumentError, enumerated
from finetuner.typing import Codes, CollateFn, Inputs, Layout

Batch = tuple[Inputs, Codes]
LOTS = 1
"""What tells the chance of lots from that of people's own functions in the same batch."""
VIEWS = 3
"""What tells the chance of the views of items from all other."""


class Loader:
    """The batches that a sampler chooses from a data set. Only the contents of the batch at hand are read.

    A batch is a function of (seed, epoch, its number), also where `preprocess_fn` or `collate_fn` draw from the
    generators of Python, numpy, torch or Paddle; with workers or without. Where items have views or are augmented, what
    `preprocess_fn` and the augmentation give is a function of (seed, epoch, item, how often it was in the batch
    before), whatever stands beside it.

    Args:
        dataset: the items.
        sampler: chooses them.
        collate_fn: from a list of contents to the model's input; None stacks arrays.
        num_workers: processes that read, preprocess and collate; 0 does it in between.
        seed: of the chance in `preprocess_fn` and `collate_fn`, and of `lots`.
        lots: how many random numbers each anchor of such batches gets, for miners that draw; None gives none.

    Attributes:
        layout: how every batch is laid out.
        lots: the number of them.
        place: which of the (N,) items of a batch `epoch` reads; None for all. The codes are always of all.
        rows: what the inputs are read from, in place of the items; see `keep`.
    """

    layout: Layout
    place: slice | None = None
    rows: Rows | None = None

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        collate_fn: CollateFn | None = None,
        num_workers: int = 0,
        seed: int = 0,
        lots: Callable[[Layout], int] | None = None,
    ) -> None:
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ArgumentError(f'num_workers={num_workers!r}: expected 0 or the number of processes.')
        if sampler.width != dataset.records.width:  # rows that are read item by item
            dataset = dataset.alone()
        self.dataset, self.sampler, self.collate_fn = dataset, sampler, collate_fn
        self.num_workers, self.seed = num_workers, seed
        self.layout = dataset.layout(sampler.rows, sampler.most)
        self.lots = lots(self.layout) if lots is not None else 0

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return len(self.sampler)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            epoch: its number, from 0.
            start: the number of the first batch; those before are not read.

        Yields:
            The inputs and their `codes`.

        Raises:
            DataError: an item cannot be read or does not fit the others; names it.
        """
        jobs = ((epoch, number, slots) for number, slots in enumerate(self.sampler.batches(epoch)))
        made = ordered(self.inputs, islice(jobs, start, None), min(self.num_workers, len(self) - start), self._called)
        try:
            for job, inputs in made:
                yield inputs, self.codes(*job)
        finally:
            made.close()

    def batch(self, epoch: int, number: int) -> Batch:
        """One batch of an epoch, made again, in this process."""
        slots = self._slots(epoch, number)
        return self._inputs(epoch, number, slots), self.codes(epoch, number, slots)

    def names(self, epoch: int, number: int) -> list[str]:
        """How errors call the items of one batch of an epoch; where it is only filled, the first again."""
        slots = self._slots(epoch, number)
        return [self.dataset.name(slot) for slot in np.where(slots < 0, slots[0], slots)]

    def _slots(self, epoch: int, number: int) -> np.ndarray:
        return next(islice(self.sampler.batches(epoch), number, None))

    def _called(self, epoch: int, number: int, slots: np.ndarray) -> str:
        names = list(dict.fromkeys(self.dataset.name(slot) for slot in slots if slot >= 0))
        return f'batch {number + 1} of epoch {epoch + 1}, with {enumerated(names)}'

    def keep(self, rows: Rows | None) -> None:
        """Give the rows of the items in place of inputs from now on; None changes nothing."""
        if rows is not None:
            self.rows, self.num_workers = rows, 0

    def blank(self) -> Codes:
        """The codes of a batch in which there is nobody, for whoever must know their names, shapes and types."""
        return self.codes(0, 0, np.full(self.layout.rows * self.layout.width, -1))

    def codes(self, epoch: int, number: int, slots: np.ndarray) -> dict[str, np.ndarray]:
        """The codes of one batch: those of `Dataset.codes`, and `lots (rows, L)` float32 from [0, 1) where wanted.

        Args:
            epoch: its epoch.
            number: its number in the epoch.
            slots: (N,) what it consists of.
        """
        codes = self.dataset.codes(slots)
        if self.lots:
            chance = np.random.default_rng((self.seed % 2**63, epoch, number, LOTS))
            codes['lots'] = chance.random((self.layout.rows, self.lots), np.float32)
        return codes

    def inputs(self, epoch: int, number: int, slots: np.ndarray) -> Inputs:
        """The inputs of one batch, or of its `place`.

        Args:
            epoch: its epoch.
            number: its number in the epoch.
            slots: (N,) what it consists of; where it is -1, the content of the first is used again.
        """
        return self._inputs(epoch, number, slots, self.place)

    def _inputs(self, epoch: int, number: int, slots: np.ndarray, place: slice | None = None) -> Inputs:
        slots = np.where(slots < 0, slots[0], slots)
        own = np.arange(len(slots))[place or slice(None)]
        dataset, whole = self.dataset, (self.seed % 2**63, epoch, number)
        if self.rows is not None:
            return self.rows.batch([dataset.item(slot) for slot in slots[own]])
        start = (int(own[0]),) if own[0] else ()  # functions that draw for item after item draw others in each block
        drawn = self.sampler.views > 1 and dataset.preprocess_fn is not None  # to seed takes as long as to read
        by_view = drawn or dataset.augmentation is not None
        with seeded(*whole, *start) as seed:
            contents = []
            views = occurrence(np.array([dataset.item(slot) for slot in slots]))
            for slot, view in zip(slots[own], views[own], strict=True):
                if by_view:
                    seed(*whole[:2], dataset.item(slot), int(view), VIEWS)
                contents.append(dataset.content(slot))
            if by_view:
                seed(*whole, *start)
            return collate(contents, lambda place: dataset.name(slots[own[place]]), self.collate_fn)
