"""A second training, on the held-out data too, after a first one was judged by them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finetuner.console import logger
from finetuner.data.records import Records
from finetuner.errors import ArgumentError, FinetunerError
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.evaluation import EvaluationCallback
from finetuner.tuner.callbacks.guard import Guard
from finetuner.tuner.callbacks.history_logger import HistoryLogger
from finetuner.tuner.callbacks.monitor import Monitor
from finetuner.tuner.callbacks.tracker import Tracker
from finetuner.tuner.callbacks.training_checkpoint import TrainingCheckpoint

MEASURING = (EvaluationCallback, Guard, HistoryLogger, Monitor, Tracker, TrainingCheckpoint)
"""Callbacks that a training on all data has no use for."""


def check(refit: Any, out: Records | None, guard: bool, resume: str | Path | None) -> None:
    """Refuse a second training where nothing is held out, or nobody knows what the first one was.

    Args:
        refit: as in `finetuner.fit`.
        out: what is held out of the training data, if anything is.
        guard: whether there is one.
        resume: as in `finetuner.fit`.

    Raises:
        ArgumentError: says what to leave out.
    """
    if not isinstance(refit, bool):
        raise ArgumentError(f'refit={refit!r}: expected True or False.')
    if not refit or (out is not None and guard and resume is None):
        return
    why = 'there are none'
    if resume is not None:
        why = 'a training is resumed, of which one cannot tell if it was that one'
    raise ArgumentError(
        f'refit trains on the held-out data too, after the training was judged by them, and here {why}. Leave refit '
        f'out, or leave out what takes the place of the held-out data (eval_data, an EvaluationCallback, val_split=0, '
        f'guard=False).'
    )


def train_anew(tuner: Any, prepare: Callable[[list[Callback], int], tuple[Any, Any]]) -> None:
    """Train once more from the first weights, for as many epochs as were best; nothing if the first ones were.

    Where that comes to no end, the model gets the weights of the first training back.

    Args:
        tuner: after the first training, with a guard among its callbacks.
        prepare: from the callbacks and the number of epochs to a tuner for all data, and their loader.
    """
    world, coder = tuner.world, tuner.encoder
    watched = next(callback for callback in tuner.callbacks if isinstance(callback, Guard))
    longest = world.most(0 if world.rank else watched.epoch)  # as the first process found
    if not longest:
        return
    logger.info('Training anew on all data, for %d epochs.', longest)
    trained, ended = coder.weights(), False
    callbacks: Sequence[Callback] = tuner.callbacks
    try:
        coder.assign(watched.initial)
        anew, loader = prepare([one for one in callbacks if not isinstance(one, MEASURING)], longest)
        anew.fresh, anew.again = tuner.fresh, True
        anew.fit(loader, longest)
        ended = anew.stop_training or len(anew.state.history) == longest
    except FinetunerError as error:
        logger.warning('%s', error)
    finally:
        if not ended:
            coder.assign(trained)
            logger.warning('The second training came to no end: the model has the weights of the first.')
