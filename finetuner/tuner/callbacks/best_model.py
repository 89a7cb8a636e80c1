"""Keep the best model of a training."""

import math
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.console import logger
from finetuner.tuner.callbacks.monitor import Monitor


class BestModelCheckpoint(Monitor):
    """Writes the weights to `<save_dir>/best_model_<monitor>` whenever a number is better than ever.

    Adapters are merged into the weights beside them, as `finetuner.save` does it. Where there is no room for them the
    training goes on, and the best that could be written stays.

    Args:
        save_dir: a folder; None takes the training's own.
        monitor: 'train_loss', 'val_loss' or a metric.
        mode: 'min', 'max' or 'auto'.
        verbose: whether to say when it saves.
    """

    writes = True

    def __init__(
        self,
        *,
        save_dir: str | Path | None = None,
        monitor: str = 'val_loss',
        mode: str = 'auto',
        verbose: bool = False,
    ) -> None:
        super().__init__(monitor=monitor, mode=mode, verbose=verbose)
        self.save_dir = save_dir

    def check(self, tuner: Any) -> None:
        """Refuse a number that this training will never know, and a folder that nothing can be written to."""
        super().check(tuner)
        artifact.check_place('save_dir', self.save_dir or tuner.folder)

    def on_epoch_end(self, tuner: Any) -> None:
        """Save if better."""
        counters, value = self.counters(tuner), self.value(tuner)
        if not value > counters.get('best', -math.inf):  # nor is NaN
            return
        found = {'epoch': tuner.state.epoch + 1, self.monitor: self.sign * value}
        facts = {'model': tuner.encoder.facts(), 'found': found}
        folder = Path(self.save_dir or tuner.folder) / f'best_model_{self.monitor}'
        with artifact.forgiving('The best model before it stays; the next that is better is tried.'):
            artifact.write(folder, {'weights': tuner.encoder.merged()}, facts)
            counters['best'] = value
            if self.verbose:
                logger.info('%s is %g, the best so far: saved to %s.', self.monitor, self.sign * value, folder)

    @staticmethod
    def load(tuner: Any, fp: str | Path) -> None:
        """Put saved weights into the tuner's model."""
        arrays, _ = artifact.read(fp)
        tuner.encoder.assign(arrays['weights'])

    load_model = load
