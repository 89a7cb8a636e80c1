"""What a tracker of experiments is told of a training, and when; each tracker says how."""

from abc import abstractmethod
from dataclasses import asdict
from numbers import Real
from typing import Any

from finetuner.errors import ArgumentError, nearest, whole_number
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.history import History

AXES = ('epoch', 'batch')


class Tracker(Callback):
    """Tells a tracker of experiments what happens in a training.

    It is told the parameters of the training; every so many updates `train/loss`, of that batch, and the learning rates
    `lr/<group>`; after every epoch `train/epoch_loss`, `val/loss` and `metrics/<name>`; what was measured within epochs
    as `steps/<name>`; and in the end `before/<name>` and `after/<name>`. Put it after what measures. A training that is
    resumed goes on in the same run, with the step where it stood.

    Args:
        every_n_steps: how many updates apart losses and learning rates of batches are told.
        metrics_logger_step: what the numbers of epochs are drawn over: 'epoch', or 'batch', which counts updates.
        log_zero_shot: whether to tell the metrics from before the training too, as those of epoch 0.

    Raises:
        ArgumentError: an argument is impossible.
    """

    writes = True

    def __init__(
        self, *, every_n_steps: int = 10, metrics_logger_step: str = 'epoch', log_zero_shot: bool = True
    ) -> None:
        if metrics_logger_step not in AXES:
            raise ArgumentError(
                f'metrics_logger_step={metrics_logger_step!r}. {nearest(str(metrics_logger_step), AXES)}'
            )
        self.every_n_steps = whole_number('every_n_steps', every_n_steps, 1)
        self.metrics_logger_step = metrics_logger_step
        self.log_zero_shot = log_zero_shot
        self._open = False

    @abstractmethod
    def library(self) -> Any:
        """Import what is needed.

        Raises:
            MissingExtraError: it is not installed; names the extra.
        """

    @abstractmethod
    def begin(self, tuner: Any, parameters: dict[str, Any], run: Any) -> Any:
        """Begin a run, or go on with one.

        Args:
            tuner: at the beginning of its training.
            parameters: of the training, by name: texts and numbers.
            run: what this gave when the training that goes on began; None where it begins.

        Returns:
            What is needed to go on with this run, for JSON.
        """

    @abstractmethod
    def log(self, values: dict[str, float], at: int, step: int, epoch: float) -> None:
        """Tell numbers of a moment.

        Args:
            values: by name.
            at: where to draw them: `step` or `epoch`.
            step: how many updates are done by then.
            epoch: how many epochs are trained by then.
        """

    @abstractmethod
    def end(self, status: str, summary: dict[str, float]) -> None:
        """End the run.

        Args:
            status: 'FINISHED', 'KILLED' by Ctrl-C, or 'FAILED'.
            summary: what came of it.
        """

    def check(self, tuner: Any) -> None:
        """Refuse a library that is not there, and numbers that would be missed."""
        self._open = False
        self.library()
        for later in tuner.callbacks[tuner.callbacks.index(self) :]:
            if later.metrics():
                raise ArgumentError(
                    f'{type(self).__name__} stands before a {type(later).__name__} and would miss what it measures: '
                    f'put it after it.'
                )

    def on_fit_begin(self, tuner: Any) -> None:
        """Begin the run."""
        counters, state = self.counters(tuner), tuner.state
        counters['run'] = self.begin(tuner, parameters(tuner), counters.get('run'))
        self._open = True
        if self.log_zero_shot and not state.step and state.before:
            self.log({f'metrics/{name}': value for name, value in state.before.items()}, 0, 0, 0)

    def on_train_batch_end(self, tuner: Any) -> None:
        """Tell loss and rates, and what was measured just now."""
        state = tuner.state
        values: dict[str, float] = {}
        if state.step % self.every_n_steps == 0:
            values |= {'train/loss': state.current_loss}
            values |= {f'lr/{name}': rate for name, rate in state.learning_rates.items()}
        if state.steps and state.steps[-1]['step'] == state.step:
            values |= {
                f'steps/{name}': value for name, value in state.steps[-1].items() if name not in ('step', 'epoch')
            }
        if values:
            self.log(values, state.step, state.step, state.step / state.num_batches_train)

    def on_epoch_end(self, tuner: Any) -> None:
        """Tell what the epoch gave."""
        state, record = tuner.state, tuner.state.history[-1]
        named = {'train_loss': 'train/epoch_loss', 'val_loss': 'val/loss', 'seconds': 'seconds'}
        values = {named.get(name, f'metrics/{name}'): value for name, value in record.items()}
        for other in ('metrics/epoch', 'metrics/learning_rates'):
            del values[other]
        epochs = state.epoch + 1
        self.log(values, epochs if self.metrics_logger_step == 'epoch' else state.step, state.step, epochs)

    def on_fit_end(self, tuner: Any) -> None:
        """Tell what came of it."""
        history = History.of(tuner.state)
        sides = (('before', history.before), ('after', history.after))
        self._close('FINISHED', {f'{when}/{name}': found[name] for when, found in sides for name in found})

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Say that it was ended."""
        self._close('KILLED', {})

    def on_exception(self, tuner: Any, exception: BaseException) -> None:
        """Say that it failed."""
        self._close('FAILED', {})

    def _close(self, status: str, summary: dict[str, float]) -> None:
        if self._open:  # not where the training failed before
            self._open = False
            self.end(status, summary)


def parameters(tuner: Any) -> dict[str, Any]:
    """What a training is of, by name: texts and numbers."""
    encoder, loader, objective = tuner.encoder, tuner.loader, tuner.objective
    found = {
        'model': type(encoder.model).__name__,
        'framework': encoder.framework,
        'device': encoder.device,
        'weights': encoder.size(),
        'trained_weights': encoder.trainable(),
        'dim': tuner.dim,
        'data': loader.dataset.records.summary(),
        'items_a_batch': loader.layout.items,
        'batches_an_epoch': len(loader),
        'epochs': tuner.state.num_epochs,
        'loss': repr(objective.loss),
        'miner': repr(objective.miner),
        'seed': tuner.seed,
    }
    if tuner.configure_optimizer is not None:
        return found | {'optimizer': 'configure_optimizer'}
    own = asdict(tuner.optimization)
    return (
        found
        | {'optimizer': own.pop('name')}
        | {name: value if isinstance(value, Real | str) else str(value) for name, value in own.items()}
    )
