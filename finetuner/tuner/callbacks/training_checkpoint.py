"""Save a training while it goes on, so that it can be resumed."""

import shutil
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.console import logger
from finetuner.errors import ArgumentError
from finetuner.tuner import checkpoint
from finetuner.tuner.callbacks.base import Callback


class TrainingCheckpoint(Callback):
    """Writes `<save_dir>/saved_model_epoch_NN` after every epoch, on Ctrl-C and on SIGTERM, and keeps the last ones.

    Go on from there with `fit(…, resume=save_dir)`. Put it last, so that what other callbacks counted is in it. Where
    there is no room for it the training goes on, the checkpoint before stays, and the next is tried.

    Args:
        save_dir: a folder; None takes the training's own.
        last_k_epochs: how many checkpoints to keep.
        verbose: whether to say when it saves.

    Raises:
        ArgumentError: `last_k_epochs` is below 1.
    """

    def __init__(self, *, save_dir: str | Path | None = None, last_k_epochs: int = 1, verbose: bool = False) -> None:
        if last_k_epochs < 1:
            raise ArgumentError(f'last_k_epochs={last_k_epochs!r}: keep at least 1.')
        self.save_dir = save_dir
        self.last_k_epochs = last_k_epochs
        self.verbose = verbose

    def check(self, tuner: Any) -> None:
        """Refuse a folder that nothing can be written to."""
        artifact.check_place('save_dir', self._home(tuner))

    def on_epoch_end(self, tuner: Any) -> None:
        """Save, then remove the oldest."""
        self._save(tuner)

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Save what was trained since the last epoch."""
        self._save(tuner)

    def _home(self, tuner: Any) -> Path:
        return Path(self.save_dir or tuner.folder)

    def _save(self, tuner: Any) -> None:
        if not tuner.whole:
            return
        home = self._home(tuner)
        with artifact.forgiving('The checkpoint before it stays; the next one is tried.'):
            folder = checkpoint.save(tuner, checkpoint.place(home, tuner))
            for old in checkpoint.numbered(home)[: -self.last_k_epochs]:
                shutil.rmtree(old)
            if self.verbose:
                logger.info('Saved the training to %s.', folder)

    @staticmethod
    def load(tuner: Any, fp: str | Path) -> None:
        """Bring a tuner that is set up to where the training stood."""
        checkpoint.load(tuner, fp)
