"""Cross-batch memory: the embeddings of earlier batches as further candidates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.names import as_loss
from finetuner.losses.wrapper import Value, Wrapper
from finetuner.typing import Codes, Layout, Tensor

Memory = Mapping[str, Tensor]
"""Vectors `embedding (S, D)` without slope, and their codes by name; item -1 is an empty place."""


@dataclass(frozen=True)
class CrossBatchMemory(Wrapper):
    """The loss of a batch against the last `memory_size` embeddings, those of the batch among them.

    The model changes slowly, so that embeddings of earlier batches serve as negatives and positives long after: a
    small batch meets thousands of candidates, for the price of one product of matrices. What is remembered has no
    slope. The same item seen earlier is nobody to itself.

    When to use: classes with few items, or a model so large that only small batches fit.

    Args:
        loss: a loss of items or its name; its anchors are the batch, its candidates the memory.
        memory_size: embeddings that are remembered, at least a batch.

    Source: Wang et al., 2020; memory_size and rules of pytorch-metric-learning.

    >>> from finetuner.losses import InfoNCELoss
    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(CrossBatchMemory(InfoNCELoss(temperature=1.0))(x, ['a', 'a', 'b']).round(4))
    1.0032
    """

    outermost: ClassVar[bool] = True
    loss: Loss
    memory_size: int = 1024

    def __post_init__(self) -> None:
        object.__setattr__(self, 'loss', as_loss(self.loss))
        options.settle(self, memory_size=options.whole)
        for loss in self.loss.members():
            if loss.candidates == 'classes' or loss.expects is not Loss.expects:
                raise ArgumentError(
                    f'{type(loss).__name__} does not compare items with items by labels: it has no use for a memory. '
                    f'Take InfoNCELoss, say.'
                )
            if not loss.remembers:
                raise ArgumentError(
                    f'{type(loss).__name__} compares no item with others: it has no use for a memory. Take '
                    f'InfoNCELoss, say.'
                )

    @property
    def inner(self) -> tuple[Loss, ...]:
        """The wrapped loss."""
        return (self.loss,)

    def combine(self, value: Value, embeddings: Tensor, learned: dict[str, Tensor], real: Tensor = None) -> Tensor:
        """The value of the wrapped loss; whoever evaluates it has added the memory to the candidates."""
        return value(self.loss, lambda vectors: vectors, learned)

    def empty(self, dim: int, codes: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
        """The memory before the first batch; the batch itself takes its part of `memory_size`.

        Raises:
            ArgumentError: a batch is larger than the memory.
        """
        batch = layout.rows * max(layout.width - 1, 1)
        self.check_batch(batch)
        size = max(self.memory_size - batch, 1)
        blank = {
            name: np.full((size, *code.shape[1:]), 0 if code.dtype.kind == 'f' else -1, code.dtype)
            for name, code in codes.items()
            if name != 'lots'
        }
        return {'embedding': np.zeros((size, dim), np.float32), **blank}

    def check_batch(self, batch: int) -> None:
        """Whether a batch of so many candidates has room in the memory.

        Raises:
            ArgumentError: it has not.
        """
        if batch > self.memory_size:
            raise ArgumentError(
                f'memory_size={self.memory_size}, and a batch has {batch} candidates: a memory holds a batch at least, '
                f'and is of use from two on.'
            )

    @staticmethod
    def extend(
        memory: Memory, change: Callable[[Tensor], Tensor], candidates: Tensor, columns: Codes, layout: Layout
    ) -> tuple[Tensor, Codes]:
        """The candidates of a batch and what is remembered, with their codes; of its own items without slope."""
        xp = get_namespace(candidates)
        if layout.width == 1:  # every pair of the batch has its slope from the anchor's side
            candidates = xp.stop_gradient(candidates)
        past = xp.cast(change(memory['embedding']), candidates.dtype)
        codes = {name: xp.concatenate([columns[name], code]) for name, code in memory.items() if name != 'embedding'}
        return xp.concatenate([candidates, past]), codes

    @staticmethod
    def remember(memory: Memory, embeddings: Tensor, codes: Codes, layout: Layout) -> dict[str, Tensor]:
        """The memory with the batch at its end; the oldest are forgotten."""
        xp = get_namespace(embeddings)
        skip = layout.rows if layout.width > 1 else 0
        new = {**codes, 'embedding': xp.stop_gradient(embeddings)}
        return {
            name: xp.concatenate([old, xp.cast(new[name][skip:], old.dtype)])[-old.shape[0] :]
            for name, old in memory.items()
        }
