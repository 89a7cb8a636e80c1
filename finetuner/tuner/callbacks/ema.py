"""Averages of the weights along the way, which the training ends with.

The last updates of a training jump about the place that they are drawn to; the mean of many of them lies nearer to it.
After every update `average = d * average + (1 - d) * weight`. So early, when a long memory would still be full of the
untrained weights, d is small: after t updates it is `min(decay, (1 + t) / (10 + t))`, as TensorFlow has it. Sources:
Polyak and Juditsky, 1992; Tarvainen and Valpola, 2017.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np

from finetuner.errors import ArgumentError, CheckpointError, whole_number
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.interruption import deferred
from finetuner.tuner.settings import HINT


class EMA(Callback):
    """Keeps an exponential moving average of the trained weights, and puts it into the model after the last epoch.

    *When to use*: for trainings of some hundred updates and more, with small batches or a rate that does not fall to
    zero. It costs a pass over the trained weights an update, and the memory of a copy of them in float32.

    Statistics, of BatchNorm say, are averaged like weights, for they belong to them; counts are copied. Weights that
    are frozen are left alone; one that joins starts with its value after its first update. While it goes on, the
    training and whatever measures it see the weights themselves. Also a training that ends early ends with the
    averages; one that fails, or that Ctrl-C ends, leaves the trained weights.

    Args:
        decay: how much of an average stays with each update.
        warmup: whether the decay rises to that number at first.
        update_every: how many updates are one for the averages.

    Raises:
        ArgumentError: a decay that is not from 0 to below 1, or no such number of updates.
    """

    def __init__(self, *, decay: float = 0.999, warmup: bool = True, update_every: int = 1) -> None:
        if not _part(decay):
            raise ArgumentError(f'decay={decay!r}: expected a number from 0 to below 1, such as 0.999.')
        self.decay = float(decay)
        self.warmup = bool(warmup)
        self.update_every = whole_number('update_every', update_every, 1)
        self._averages: dict[str, Any] = {}

    def check(self, tuner: Any) -> None:
        """Refuse a second one, which would overwrite the first."""
        if any(isinstance(other, EMA) for other in tuner.callbacks if other is not self):
            raise ArgumentError('Two EMA in one training: the second would overwrite the first. Give one.')
        self._averages = {}

    def arrays(self, tuner: Any) -> Mapping[str, np.ndarray]:
        """The averages, of all updates so far."""
        self._follow(tuner)
        return {name: np.array(tuner.ops.to_numpy(value)) for name, value in self._averages.items()}

    def resume(self, tuner: Any) -> None:
        """Refuse averages that were made in another way."""
        counters = self.counters(tuner)
        then, now = counters.get('settings', self._settings()), self._settings()
        if then != now:
            raise CheckpointError(f'The checkpoint is of a training with EMA {then}, this one has {now}: {HINT}')

    def restore(self, tuner: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Take them back; a checkpoint of a training without averages has none."""
        tuner.encoder.average(self._averages, 0.0)
        for name, value in arrays.items():
            self._averages[name] = tuner.ops.asarray(np.array(value), like=self._averages.get(name))

    def on_fit_begin(self, tuner: Any) -> None:
        """Begin with the weights as they are."""
        fresh = {'updates': 0, 'step': tuner.state.updates, 'settings': self._settings()}
        self.counters(tuner).update(fresh | self.counters(tuner))
        if not self._averages:
            tuner.encoder.average(self._averages, 0.0)

    def on_train_batch_end(self, tuner: Any) -> None:
        """Follow the weights."""
        self._follow(tuner)

    def finish(self, tuner: Any) -> bool:
        """Put the averages into the model."""
        if not self.counters(tuner)['updates']:
            return False
        with deferred():
            found = {name: np.array(tuner.ops.to_numpy(value)) for name, value in self._averages.items()}
            tuner.encoder.assign({**tuner.encoder.weights(), **found})
        return True

    def _follow(self, tuner: Any) -> None:
        # Ctrl-C may have come between an update and the hook: then it is made up for before a checkpoint is written.
        counters, step = self.counters(tuner), tuner.state.updates
        if counters.get('step', step) == step:
            return
        with deferred():
            counters['step'] = step
            if step % self.update_every == 0:
                counters['updates'] += 1
                tuner.encoder.average(self._averages, self._stays(counters['updates']))

    def _settings(self) -> dict[str, Any]:
        return {'decay': self.decay, 'warmup': self.warmup, 'update_every': self.update_every}

    def _stays(self, updates: int) -> float:
        return min(self.decay, (1 + updates) / (10 + updates)) if self.warmup else self.decay


def _part(number: Any) -> bool:
    return isinstance(number, Real) and not isinstance(number, bool) and 0 <= float(number) < 1
