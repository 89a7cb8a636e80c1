"""What is found by trying, before a training, where its arguments ask for it: the size of batches, and the rate.

It stands in `TunerState.found`, and so in checkpoints: a training that is resumed takes it from there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from finetuner.console import logger
from finetuner.data.batch import Loader
from finetuner.data.samplers.base import BATCH_SIZE
from finetuner.errors import ArgumentError, nearest
from finetuner.tuner import checkpoint, fitting
from finetuner.tuner.course import FIND

LARGEST = 'largest'
"""The batch size that stands for one that is looked for."""


class Sought(NamedTuple):
    """The sizes of batches that a training begins to look from.

    Attributes:
        rows: the `batch_size`.
        chunk: the `mini_batch_size`, or None.
        rate: the learning rate that was found before a checkpoint was written, or None.
        fit: whether it must be seen that a batch fits.
        grow: whether larger ones are looked for.
    """

    rows: Any
    chunk: Any
    rate: float | None
    fit: bool
    grow: bool

    def sized(
        self,
        tuner: Any,
        loader: Loader,
        resized: Callable[[int], Loader],
        taken: int | None,
        norms: list[str],
    ) -> Loader:
        """The loader of batches that fit, in chunks if they must be; the tuner then knows these.

        Args:
            tuner: before its training.
            loader: of batches of `rows`.
            resized: the like of another size.
            taken: see `finetuner.tuner.fitting.chunk`.
            norms: see there.

        Raises:
            TrainingError: nothing fits.
        """
        chunk = fitting.chunk(tuner, loader, taken, norms) if self.fit else None
        if chunk is not None:
            tuner.mini_batch_size = tuner.state.found['mini_batch_size'] = chunk
            logger.info(
                'A batch of %d does not fit into memory: %d items are in the model at a time, which learns the same '
                'but for dropout. To set it, give mini_batch_size.', loader.layout.items, chunk,
            )  # fmt: skip
        elif self.grow:
            size, why = fitting.largest(tuner, loader, resized, self.rows)
            tuner.state.found['batch_size'] = size
            loader = resized(size) if size != self.rows else loader
            logger.info(
                'The largest batch: %d rows (%s). The learning rate is that of smaller ones.', loader.layout.rows, why
            )
        return loader


def sought(
    batch_size: Any, mini_batch_size: Any, learning_rate: Any, resume: str | Path | None, n_devices: int = 1
) -> Sought:
    """What is to be looked for, and what a checkpoint knows of it already.

    Args:
        batch_size: as in `finetuner.fit`, like all that follow.
        mini_batch_size: items in the model at a time.
        learning_rate: the highest.
        resume: a checkpoint, or a folder of them.
        n_devices: that train together. On several nothing is looked for: what is tried on one may fail there alone,
            and the others wait for it.

    Raises:
        ArgumentError: there is no such batch size, or it cannot be had with a mini_batch_size or on several devices.
    """
    grow = isinstance(batch_size, str)
    if grow and batch_size != LARGEST:
        raise ArgumentError(f'batch_size={batch_size!r}: expected a whole number. {nearest(batch_size, [LARGEST])}')
    if grow and mini_batch_size is not None:
        raise ArgumentError(
            f'batch_size={LARGEST!r} is the largest that is in the model as a whole, and with mini_batch_size none '
            f'is: give batch_size a number, or leave mini_batch_size out.'
        )
    if n_devices > 1 and (grow or learning_rate == FIND):
        what = f'batch_size={LARGEST!r}' if grow else f'learning_rate={FIND!r}'
        raise ArgumentError(
            f'{what} is looked for on one device, and {n_devices} train together: find it on one, which prints it, and '
            f'give that number.'
        )
    free = n_devices == 1 and mini_batch_size is None and (grow or batch_size is None)
    rows = BATCH_SIZE if grow or batch_size is None else batch_size
    if resume is None or not (free or learning_rate == FIND):
        return Sought(rows, mini_batch_size, None, free and resume is None, grow and resume is None)
    then = checkpoint.told(resume)
    known, training = then.get('state', {}).get('found', {}), then.get('training', {})
    if free:
        mini_batch_size = known.get('mini_batch_size')
    if grow:
        rows = known.get('batch_size') or training.get('layout', [rows])[0]
    return Sought(rows, mini_batch_size, training.get('learning_rate'), False, False)
