"""A loss that is not finite: which batch it is of, what in the batch is at fault, and what to do."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from finetuner.errors import TrainingError, enumerated
from finetuner.tuner.chunks import chunks
from finetuner.tuner.state import TunerState

EVERY = 16
"""Updates between two looks at the loss, where each look waits for the device."""


def seen(state: TunerState) -> bool:
    """Whether the present loss is known to be not finite; it is looked at where that costs nothing or is due.

    Once a loss is not finite, those after it are not: to look at some is enough.
    """
    due = isinstance(state.loss, float) or state.step % EVERY == 0
    return due and not math.isfinite(state.loss)


def error(tuner: Any, spoilt: Sequence[str]) -> TrainingError:
    """What to raise where the present epoch came to nothing; the model gets its weights from before the epoch again.

    Args:
        tuner: within the epoch.
        spoilt: the weights that are NaN.
    """
    state = tuner.state
    weights, learned = tuner.good
    tuner.encoder.assign(weights)
    losses = [float(loss) for loss in state.losses]
    bad = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
    place = len(losses) - 1 if bad is None else bad
    items = tuner.loader.names(state.epoch, place)
    slower = f'Try a learning rate below {next(iter(state.learning_rates.values())):g}.'
    of = f'batch {place + 1} of {state.num_batches_train}'
    if bad is None:
        what = f'{enumerated(spoilt)} became NaN, and no loss before {of} is'
        why = f'Its slope, or a callback, made them so. {slower}'
    else:
        what = f'the loss of {of} is {losses[bad]}'
        why = _cause(tuner, place, learned) or (place and _inputs(tuner, place - 1)) or ''
        if not why:
            before = _some(tuner.loader.names(state.epoch, place - 1)) if place else ''
            where = f'With the weights from before the epoch it is finite; the update before it was by {before}.'
            why = f'{where if place else "In evaluation mode it is finite."} {slower}'
    found = TrainingError(
        f'The model cannot learn from epoch {state.epoch + 1}: {what}. {why} The batch has '
        f'{_some(items)}. The model has the weights from before this epoch again.'
    )
    found.items = list(dict.fromkeys(items))
    return found


def _cause(tuner: Any, place: int, learned: dict[str, np.ndarray]) -> str | None:
    # In evaluation mode, with the weights from before the epoch: what of the batch is not finite, if anything is.
    loader, epoch = tuner.loader, tuner.state.epoch
    if found := _inputs(tuner, place):
        return found
    inputs, codes = loader.batch(epoch, place)
    parts = chunks(inputs, loader.layout.items, tuner.mini_batch_size)
    if rows := _rows(np.concatenate([tuner.encoder.trained.embed(part) for _, part in parts])):
        named = _some(loader.names(epoch, place)[row] for row in rows)
        return f'Its inputs are finite, and the embeddings of {named} are not: see what the model makes of them.'
    if not math.isfinite(tuner.eval_step(inputs, codes, loader.layout, learned)):
        return 'Its inputs and embeddings are finite, and the loss of them is not: take another loss or other options.'
    return None


def _inputs(tuner: Any, place: int) -> str | None:
    # Arrays are checked when a batch is made, tensors are not. Some frameworks make zeros of what is NaN.
    names = tuner.loader.names(tuner.state.epoch, place)
    rows = _rows(tuner.loader.batch(tuner.state.epoch, place)[0], len(names))
    if not rows:
        return None
    named = _some(names[row] for row in rows)
    if tuner.loader.rows is not None:
        return f'What the frozen part of the model gives of {named} is not finite: see what it makes of these items.'
    return f'The inputs of {named} are not finite: correct these items or leave them out.'


def _some(items: Iterable[str]) -> str:
    return enumerated(list(dict.fromkeys(items)))


def _rows(value: Any, n: int | None = None) -> list[int]:
    # Those that are not finite, of all arrays of n rows in a batch.
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return sorted({row for one in value for row in _rows(one, n)})
    if not hasattr(value, 'dtype'):
        return []
    array = np.asarray(value)
    if array.dtype.kind != 'f' or not array.ndim or n not in (None, len(array)):
        return []
    return np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1)).tolist()
