"""Steps that are taken to see what happens, and undone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from finetuner.data.batch import Loader
from finetuner.tuner.state import TunerState


@contextmanager
def trial(tuner: Any, loader: Loader) -> Iterator[None]:
    """A tuner that is ready for `step` on the batches of a loader; in the end all is as it was.

    Weights, statistics, modes and random states are put back, also after an error and after Ctrl-C; the optimizer, what
    the loss learned and the memory of earlier batches are made anew by the next `begin`. Callbacks hear nothing of it.

    Args:
        tuner: before its training.
        loader: of the batches.
    """
    weights, state = tuner.encoder.weights(), tuner.state
    tuner.state, tuner.good = TunerState(accumulate=state.accumulate), (weights, {})
    try:
        with tuner.statistics_kept():  # those that are no part of what is saved
            tuner.begin(loader)
            try:
                yield
            finally:
                tuner.release()
    finally:
        tuner.encoder.assign(weights)
        tuner.state, tuner.good = state, ({}, {})
