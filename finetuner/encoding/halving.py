"""A batch that does not fit into memory goes through the model in halves, and so do those after it."""

from collections.abc import Callable
from operator import itemgetter

import numpy as np

from finetuner.console import logger
from finetuner.encoding.batches import Batch
from finetuner.errors import DataError, enumerated
from finetuner.inference import Encoder, leaves, length
from finetuner.memory import forget, is_out_of_memory
from finetuner.typing import Inputs


class Halving:
    """From batches to vectors, in as few parts as fit.

    Args:
        coder: the model.
        name: how errors call an item.

    Attributes:
        most: the numbers in the largest array of a part, at most; None as long as all has fitted.
    """

    def __init__(self, coder: Encoder, name: Callable[[int], str]) -> None:
        self.coder, self.name = coder, name
        self.most: int | None = None

    def called(self, batch: Batch) -> str:
        """How errors call a batch."""
        return f'the batch with {enumerated([self.name(item) for item in batch.items[:6]])}'

    def __call__(self, batch: Batch) -> np.ndarray:
        """The (B, D) vectors of a batch.

        Raises:
            DataError: not even one item fits; names it.
        """
        return self._vectors(batch.inputs, batch.items)[: len(batch.items)]

    def _vectors(self, inputs: Inputs, items: np.ndarray) -> np.ndarray:
        count = length(inputs)
        if not count:
            return self.coder.embed(inputs)
        each = max(_numbers(inputs) // count, 1)
        rows = count if self.most is None else max(min(count, self.most // each), 1)
        done: list[np.ndarray] = []
        at = 0
        while at < count:
            part = inputs if rows >= count else leaves(itemgetter(slice(at, at + rows)), inputs)
            try:
                done.append(self.coder.embed(part))
                at += rows
                continue
            except Exception as error:
                if not is_out_of_memory(error) or not _divisible(inputs, count):
                    raise
                forget(error)
                if rows <= 1:
                    raise DataError(
                        f'{self.name(items[at % len(items)])} alone does not fit into memory: take a smaller model, or '
                        f'shorter or smaller inputs. ({type(error).__name__}: {str(error)[:200]})'
                    ) from error
            rows //= 2
            self.most = rows * each
            logger.info('Out of memory: going on with %d items at a time, fewer where they are larger.', rows)
        return np.concatenate(done)


def _arrays(inputs: Inputs) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    leaves(lambda leaf: shapes.append(tuple(getattr(leaf, 'shape', ()))), inputs)
    return shapes


def _numbers(inputs: Inputs) -> int:
    return max(int(np.prod(shape)) for shape in _arrays(inputs))


def _divisible(inputs: Inputs, count: int) -> bool:
    return all(shape[:1] == (count,) for shape in _arrays(inputs))
