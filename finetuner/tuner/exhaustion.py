"""Out of memory in an update: how much of the batch fits; tried, not guessed."""

import re
from typing import Any

from finetuner.console import logger
from finetuner.errors import TrainingError
from finetuner.memory import SIGNS, forget, is_out_of_memory
from finetuner.tuner.chunks import chunks
from finetuner.typing import Inputs


def error(tuner: Any, cause: Exception, inputs: Inputs) -> TrainingError:
    """What to raise after `cause`; the model gets its weights from before the epoch again.

    Args:
        tuner: within an update.
        cause: out of memory.
        inputs: of the batch.
    """
    layout = tuner.loader.layout
    size = tuner.mini_batch_size if tuner.chunked else tuner.here
    logger.info('Out of memory: trying how much of the batch fits.')
    forget(cause)
    fits = _fitting(tuner, inputs, size)
    state = 'The model has the weights from before this epoch again.'
    try:
        tuner.encoder.assign(tuner.good[0])
    except Exception as again:
        if not is_out_of_memory(again):
            raise
        state = 'There is no room to give the model its weights back: take those of the last checkpoint.'
    rows = 'items' if layout.width == 1 else f'rows, {layout.items} items,'
    lines = [line for line in str(cause).splitlines() if SIGNS.search(line)] or [str(cause)]
    said = re.sub(r'\x1b\[\d*m', '', lines[0]).strip()[:200]
    parts = f', {size} at a time,' if tuner.chunked else ''
    if fits is None:
        hint = f'Try mini_batch_size={max(size // 2, 1)} or less, or a smaller batch_size.'
    elif fits == size:
        hint = (
            f'The model alone fits, and not what comes after it: the loss, which compares all items, or the update. '
            f'Try batch_size={max(layout.rows // 2, 1)}.'
        )
    elif fits:
        hint = (
            f'With {fits} items at a time it fits, as was tried with this batch: mini_batch_size={fits} learns the '
            f'same, batch_size={max(fits * tuner.world.size // layout.width, 1)} makes smaller batches.'
        )
    else:
        hint = 'Not even one item fits: take a smaller model, or shorter or smaller inputs.'
    return TrainingError(
        f'A batch of {layout.rows} {rows}{parts} does not fit into memory. {hint} {state} '
        f'({type(cause).__name__}: {said})'
    )


def _fitting(tuner: Any, inputs: Inputs, size: int) -> int | None:
    # The largest of size, size / 2, … that goes forward and backward; 0 if none does, None if it cannot be tried.
    while size:
        try:
            tuner.encoder.assign(tuner.good[0])  # what JAX was given to update is gone
            tuner.reseed(0)
            _, part = next(chunks(inputs, tuner.here, size))
            tuner.attempt(part)
            return size
        except Exception as again:
            forget(again)
            if not is_out_of_memory(again):
                return None
        size //= 2
    return 0
