"""In which batches items are encoded: texts of like length together, the longest first; all else in its order.

A plan is a function of the data and of how they are encoded alone, so that what was interrupted goes on as it began. Of
texts with a tokenizer some windows of items make a block, whose tokens are in memory, and its batches are of texts of
like length; the windows are of like length already, by the characters of the items as they are. A custom `collate_fn`
decides itself how wide its batches are: those of texts are sorted by characters.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.lengths import Group, groups
from finetuner.data.rows import Rows
from finetuner.data.sampler import SequentialSampler
from finetuner.data.tokens import Ragged, Unpadded, is_tokenizer, tokens
from finetuner.inference import BATCH_SIZE, Encoder
from finetuner.shortening import needless
from finetuner.typing import CollateFn, Inputs

WINDOW = 512
"""Texts that are read and tokenized at a time."""
BLOCK = 1_000_000
"""Tokens that are in memory before the texts that have them are encoded; a few more, to the end of a window."""
BUDGET = {'cpu': 768, 'cuda': 65_536}
"""Tokens of a batch. Measured with MiniLM on a CPU, where 512 to 1,024 are as good; that of GPUs is a guess."""
OVERHEAD = {'cpu': 64, 'cuda': 8192}
"""What a batch costs beside its tokens, in tokens; measured and guessed likewise."""
STEPS = (1, 1.5)
"""Where a model is compiled for each shape, texts have this many tokens, times a power of two."""


class Place(NamedTuple):
    """Where a plan goes on: the window, or batch, that comes next, and how many batches of it are done."""

    window: int = 0
    done: int = 0


class Batch(NamedTuple):
    """Some items and their inputs.

    Attributes:
        items: (B,) their numbers.
        inputs: of B rows or more; those beyond only fill.
        after: where the plan goes on after it.
    """

    items: np.ndarray
    inputs: Inputs
    after: Place


class Plain:
    """Batches of the same number of items.

    Args:
        dataset: the items.
        collate_fn: from contents to inputs.
        size: items in a batch; 64 by default.
        order: (n,) in which they come; None leaves them as they are.
        rows: what the inputs are read from, in place of the items.
        num_workers: processes that prepare batches.
    """

    def __init__(
        self,
        dataset: Dataset,
        collate_fn: CollateFn | None,
        size: int | None,
        order: np.ndarray | None,
        rows: Rows | None,
        num_workers: int,
    ) -> None:
        count = len(dataset.records.contents)
        self.order = np.arange(count) if order is None else order
        self.size = BATCH_SIZE if size is None else size
        sampler = SequentialSampler(count, self.size, self.order)
        self.loader = Loader(dataset, sampler, collate_fn, num_workers)
        self.loader.keep(rows)

    def name(self, item: int) -> str:
        """How errors call an item."""
        return self.loader.dataset.name(item)

    def sample(self, count: int) -> Iterator[Batch]:
        """Some items, of all lengths, in batches of no more than others."""
        items = _spread(self.order, count)
        for part in _parts(items, self.size):
            yield Batch(items[part], self.loader.inputs(0, 0, items[part]), Place())

    def batches(self, start: Place) -> Generator[Batch, None, None]:
        """Those from a place on."""
        items = islice(self.loader.sampler.batches(0), start.window, None)
        for number, (own, (inputs, _)) in enumerate(
            zip(items, self.loader.epoch(0, start.window), strict=True), start.window
        ):
            yield Batch(own, inputs, Place(number + 1))


class Texts:
    """Batches of texts of like length, of about as many tokens each.

    Args:
        coder: the model.
        dataset: the texts.
        tokenizer: makes inputs of them.
        size: texts in a batch at most, in place of the tokens.
        order: (n,) in which they are read.
        num_workers: processes that read and tokenize.
    """

    def __init__(
        self, coder: Encoder, dataset: Dataset, tokenizer: Any, size: int | None, order: np.ndarray, num_workers: int
    ) -> None:
        self.coder, self.size, self.order = coder, size, order
        device = coder.device.partition(':')[0]
        self.budget, self.overhead = BUDGET[device], OVERHEAD[device]
        self.tokens = tokens(tokenizer)
        sampler = SequentialSampler(len(order), WINDOW, order)
        self.loader = Loader(dataset, sampler, Unpadded(tokenizer), num_workers)

    def name(self, item: int) -> str:
        """How errors call an item."""
        return self.loader.dataset.name(item)

    def sample(self, count: int) -> Iterator[Batch]:
        """Some texts, of all lengths, in batches of no more than others."""
        items = _spread(self.order, count)
        found: Ragged = self.loader.inputs(0, 0, items)
        for part in _parts(items, self.size or len(items)):
            yield Batch(items[part], self.tokens.filled(found, part), Place())

    def batches(self, start: Place) -> Generator[Batch, None, None]:
        """Those from a place on."""
        skipped, first = start.done, start.window
        for stop, block in self._blocks(start.window):
            items = self.order[first * WINDOW : stop * WINDOW]
            found = self._groups(block)
            for number in range(skipped, len(found)):
                last = number == len(found) - 1
                after = Place(stop) if last else Place(first, number + 1)
                rows, width = found[number]
                yield Batch(items[rows], self.tokens.filled(block, self._full(rows, width), width), after)
            skipped, first = 0, stop

    def _blocks(self, start: int) -> Iterator[tuple[int, Ragged]]:
        # The window after a block, and its tokens.
        parts: list[Ragged] = []
        count, windows = 0, len(self.loader)
        for number, (part, _) in enumerate(self.loader.epoch(0, start), start + 1):
            parts.append(part)
            count += int(part.lengths.sum())
            if count >= BLOCK or number == windows:
                yield number, Ragged.joined(parts)
                parts, count = [], 0

    def _groups(self, block: Ragged) -> list[Group]:
        lengths = np.maximum(block.lengths, 1)
        short, long = int(lengths.min()), int(lengths.max())
        row = np.array([lengths.argmin()])
        alike = short < long and not needless(
            self.coder, lambda width: self.tokens.filled(block, row, width), short, long
        )
        if self.coder.shapes_matter and not alike:
            lengths = np.minimum(rounded(lengths), long)
        return groups(lengths, self.overhead, self.budget, self.size, alike)

    def _full(self, rows: np.ndarray, width: int) -> np.ndarray:
        # With as many rows as other batches of this width have, where the model is compiled for each number of them.
        if not self.coder.shapes_matter:
            return rows
        full = self.size or max(self.budget // width, 1)
        return np.resize(rows, min(full, len(self.order)))


Plan = Plain | Texts


def plan(
    coder: Encoder,
    dataset: Dataset,
    collate_fn: CollateFn | None,
    size: int | None = None,
    rows: Rows | None = None,
    num_workers: int = 0,
) -> Plan:
    """The batches of some items.

    Args:
        coder: the model, placed on its device.
        dataset: the items.
        collate_fn: from contents to inputs, or a tokenizer.
        size: items in a batch at most; chosen by default.
        rows: what the inputs are read from, in place of the items.
        num_workers: processes that prepare batches.
    """
    if collate_fn is None or rows is not None or not _of_texts(dataset):
        return Plain(dataset, collate_fn, size, None, rows, num_workers)
    order = np.argsort(-characters(dataset), kind='stable')
    if is_tokenizer(collate_fn):
        return Texts(coder, dataset, collate_fn, size, order, num_workers)
    return Plain(dataset, collate_fn, size, order, rows, num_workers)


def characters(dataset: Dataset) -> np.ndarray:
    """How long the texts are before any `preprocess_fn`; zeros where items would have to be fetched for that."""
    return np.array([_characters(content) for content in dataset.records.contents], np.int64)


def rounded(lengths: np.ndarray) -> np.ndarray:
    """Numbers of tokens, up to the next of few.

    >>> rounded(np.array([1, 5, 6, 7, 9, 33])).tolist()
    [1, 6, 6, 8, 12, 48]
    """
    power = 2.0 ** np.floor(np.log2(np.maximum(lengths, 1)))
    steps = np.stack([power * step for step in (*STEPS, 2)])
    found: np.ndarray = np.where(steps >= lengths, steps, np.inf).min(0).astype(np.int64)
    return found


def _characters(content: Any) -> int:
    text = content if isinstance(content, str) else getattr(content, 'text', None)
    return len(text) if isinstance(text, str) else 0


def _of_texts(dataset: Dataset) -> bool:
    contents: Sequence[Any] = dataset.records.contents
    return len(contents) > 0 and isinstance(dataset.content(0), str)


def _spread(order: np.ndarray, count: int) -> np.ndarray:
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64)]


def _parts(items: np.ndarray, size: int) -> list[np.ndarray]:
    places = np.arange(len(items))
    return [places[at : at + size] for at in range(0, len(items), size)]
