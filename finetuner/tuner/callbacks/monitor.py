"""Watching one number: its name, which way is better, and where it is read."""

from typing import Any

from finetuner.errors import ArgumentError, nearest
from finetuner.evaluation.spaces import less_is_better
from finetuner.tuner.callbacks.base import Callback

MODES = ('auto', 'min', 'max')


class Monitor(Callback):
    """A callback that follows one number.

    Args:
        monitor: 'train_loss', 'val_loss' (with `eval_data`), or a metric of an EvaluationCallback.
        mode: 'min' or 'max'; 'auto' is 'min' for losses, alignment and uniformity, and 'max' for other metrics.
        verbose: whether to say what was decided.
    """

    def __init__(self, *, monitor: str = 'val_loss', mode: str = 'auto', verbose: bool = False) -> None:
        if mode not in MODES:
            raise ArgumentError(f'mode={mode!r} is unknown. {nearest(str(mode), MODES)}')
        self.monitor = self._key = monitor
        self.sign = -1.0 if mode == 'min' or (mode == 'auto' and less_is_better(monitor)) else 1.0
        self.verbose = verbose

    def check(self, tuner: Any) -> None:
        """Refuse a number that this training will never know."""
        name = type(self).__name__
        losses = {'train_loss'} | ({'val_loss'} if tuner.eval_loader else set())
        if self.monitor in losses:
            self._key = self.monitor
            return
        for callback in tuner.callbacks:
            found = callback.metric(self.monitor)
            if found and tuner.callbacks.index(callback) > tuner.callbacks.index(self):
                raise ArgumentError(
                    f'{name} watches {self.monitor!r} before it is measured: put the EvaluationCallback before it.'
                )
            if found:
                self._key = found
                return
        hint = 'Pass eval_data= for val_loss. ' if self.monitor == 'val_loss' else ''
        known = losses.union(*(callback.metrics() for callback in tuner.callbacks))
        raise ArgumentError(
            f'{name} watches {self.monitor!r}, which this training never measures. {hint}'
            f'For retrieval metrics add an EvaluationCallback. {nearest(self.monitor, known)}'
        )

    def value(self, tuner: Any) -> float:
        """The number at the end of this epoch, turned so that more is better."""
        return self.sign * float(tuner.state.history[-1][self._key])
