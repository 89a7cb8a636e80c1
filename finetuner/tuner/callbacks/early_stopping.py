"""Stop when a number gets no better."""

import math
from typing import Any

from finetuner.console import logger
from finetuner.tuner.callbacks.monitor import Monitor


class EarlyStopping(Monitor):
    """Ends training after `patience` epochs without a better number.

    Args:
        monitor: 'train_loss', 'val_loss' or a metric.
        mode: 'min', 'max' or 'auto'.
        patience: how many epochs in a row may be no better.
        min_delta: by how much a number must be better to count.
        baseline: the number to beat at first; None takes the first one seen.
        verbose: whether to say when it stops.
    """

    def __init__(
        self,
        *,
        monitor: str = 'val_loss',
        mode: str = 'auto',
        patience: int = 2,
        min_delta: float = 0.0,
        baseline: float | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(monitor=monitor, mode=mode, verbose=verbose)
        self.patience = patience
        self.min_delta = abs(min_delta)
        self.baseline = baseline

    def on_fit_begin(self, tuner: Any) -> None:
        """Stop at once where the training that is resumed had been stopped."""
        if self.counters(tuner).get('waited', 0) >= self.patience:
            tuner.stop_training = True

    def on_epoch_end(self, tuner: Any) -> None:
        """Compare, count, and stop when patience is at its end."""
        counters, value = self.counters(tuner), self.value(tuner)
        best = counters.get('best', -math.inf if self.baseline is None else self.sign * self.baseline)
        if value > best + self.min_delta:
            counters.update(best=value, waited=0)
            return
        counters.update(best=best, waited=counters.get('waited', 0) + 1)
        if counters['waited'] >= self.patience:
            tuner.stop_training = True
            if self.verbose:
                logger.info(
                    '%s was no better than %g for %d epochs: stopping after epoch %d.',
                    self.monitor, self.sign * best, counters['waited'], tuner.state.epoch + 1,
                )  # fmt: skip
