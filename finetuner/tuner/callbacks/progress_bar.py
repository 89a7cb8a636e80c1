"""Show how training goes: a bar on a terminal, a line an epoch elsewhere."""

from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from finetuner.console import live_console, logger
from finetuner.tuner.callbacks.base import Callback

EVERY = 0.1  # seconds between two looks at the loss, each of which waits for the device


class ProgressBarCallback(Callback):
    """A progress bar with the loss; added to every training."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._seen = 0.0

    def on_train_epoch_begin(self, tuner: Any) -> None:
        """Open the bar."""
        self._open(tuner, 'Training', tuner.state.num_batches_train)

    def on_train_batch_end(self, tuner: Any) -> None:
        """Advance."""
        self._advance(tuner)

    def on_train_epoch_end(self, tuner: Any) -> None:
        """Close."""
        self._close()

    def on_val_begin(self, tuner: Any) -> None:
        """Open the bar."""
        self._open(tuner, 'Validating', tuner.state.num_batches_val)

    def on_val_batch_end(self, tuner: Any) -> None:
        """Advance."""
        self._advance(tuner)

    def on_val_end(self, tuner: Any) -> None:
        """Close."""
        self._close()

    def on_epoch_end(self, tuner: Any) -> None:
        """The epoch in a line."""
        state = tuner.state
        record = state.history[-1]
        losses = ' · '.join(f'{name}: {record[name]:.4f}' for name in ('train_loss', 'val_loss') if name in record)
        logger.info('epoch %d/%d · %s · %.1f s', state.epoch + 1, state.num_epochs, losses, record['seconds'])

    def on_fit_end(self, tuner: Any) -> None:
        """Leave nothing open."""
        self._close()

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Leave nothing open."""
        self._close()

    def on_exception(self, tuner: Any, exception: BaseException) -> None:
        """Leave nothing open."""
        self._close()

    def _open(self, tuner: Any, what: str, total: int) -> None:
        if not live_console.is_terminal:
            return
        self._bar = Progress(
            SpinnerColumn(), TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TimeElapsedColumn(), TextColumn('loss: {task.fields[loss]}'), console=live_console, transient=True,
        )  # fmt: skip
        state = tuner.state
        done = state.step % total if what == 'Training' else 0
        self._bar.add_task(f'{what} [{state.epoch + 1}/{state.num_epochs}]', total=total, completed=done, loss='…')
        self._bar.start()

    def _advance(self, tuner: Any) -> None:
        if self._bar is None:
            return
        task = self._bar.tasks[0]
        self._bar.advance(task.id)
        now = self._bar.get_time()
        if now - self._seen > EVERY:
            self._seen = now
            self._bar.update(task.id, loss=f'{tuner.state.current_loss:.3f}')

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
