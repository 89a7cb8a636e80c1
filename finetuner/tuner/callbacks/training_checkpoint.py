"""Save a training while it goes on, so that it can be resumed."""

import shutil
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.console import logger
from finetuner.errors import whole_number
from finetuner.tuner import checkpoint
from finetuner.tuner.callbacks.base import Callback


class TrainingCheckpoint(Callback):
    """Writes `<save_dir>/saved_model_epoch_NN` after every epoch, on Ctrl-C and on SIGTERM, and keeps the last ones.

    Go on from there with `fit(…, resume=save_dir)`. Put it last, so that what other callbacks counted is in it. Where
    there is no room for it the training goes on, the checkpoint before stays, and the next is tried.

    Args:
        save_dir: a folder; None takes the training's own.
        last_k_epochs: how many checkpoints of epochs to keep.
        every_n_epochs: after how many epochs one is written; one is written after the last epoch too.
        every_n_steps: also within epochs, after so many updates, to `saved_model_epoch_NN_step_SSSSSS`; for epochs that
            take hours.
        last_k_steps: how many of these to keep.
        verbose: whether to say when it saves.

    Raises:
        ArgumentError: a number is below 1.
    """

    writes = True

    def __init__(
        self,
        *,
        save_dir: str | Path | None = None,
        last_k_epochs: int = 1,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        last_k_steps: int = 1,
        verbose: bool = False,
    ) -> None:
        self.save_dir = save_dir
        self.last_k_epochs = whole_number('last_k_epochs', last_k_epochs, 1)
        self.every_n_epochs = whole_number('every_n_epochs', every_n_epochs, 1)
        self.every_n_steps = None if every_n_steps is None else whole_number('every_n_steps', every_n_steps, 1)
        self.last_k_steps = whole_number('last_k_steps', last_k_steps, 1)
        self.verbose = verbose

    def check(self, tuner: Any) -> None:
        """Refuse a folder that nothing can be written to."""
        artifact.check_place('save_dir', self._home(tuner))

    def on_train_batch_end(self, tuner: Any) -> None:
        """Save, if it is time; what the last update of an epoch gave is saved at its end."""
        step = tuner.state.step
        if self.every_n_steps and step % self.every_n_steps == 0 and step % tuner.state.num_batches_train:
            self._save(tuner, within=True)

    def on_epoch_end(self, tuner: Any) -> None:
        """Save, then remove the oldest."""
        epochs = tuner.state.epoch + 1
        if epochs % self.every_n_epochs == 0 or epochs == tuner.state.num_epochs or tuner.stop_training:
            self._save(tuner)

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Save what was trained since the last epoch."""
        self._save(tuner)

    def _home(self, tuner: Any) -> Path:
        return Path(self.save_dir or tuner.folder)

    def _save(self, tuner: Any, within: bool = False) -> None:
        if not tuner.whole:
            return
        home = self._home(tuner)
        with artifact.forgiving('The checkpoint before it stays; the next one is tried.'):
            folder = checkpoint.save(tuner, checkpoint.place(home, tuner, within))
            there = checkpoint.numbered(home)
            for of_steps, kept in ((False, self.last_k_epochs), (True, self.last_k_steps)):
                for old in [path for path in there if (checkpoint.STEP in path.name) == of_steps][:-kept]:
                    shutil.rmtree(old)
            if self.verbose:
                logger.info('Saved the training to %s.', folder)

    @staticmethod
    def load(tuner: Any, fp: str | Path) -> None:
        """Bring a tuner that is set up to where the training stood."""
        checkpoint.load(tuner, fp)
