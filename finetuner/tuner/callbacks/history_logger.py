"""Write the numbers of a training to a file while it goes on."""

import csv
import json
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.errors import ArgumentError
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.history import History

FORMATS = ('.csv', '.jsonl')


class HistoryLogger(Callback):
    """Writes `History.rows` after every epoch, and when something was measured within one, as CSV or as JSON lines.

    The file is written anew each time and moved into its place: it is always whole, and a training that is resumed
    leaves the same file as one that was never interrupted. Put it after what measures.

    Args:
        path: a file that ends in .csv or .jsonl; None takes `history.csv` in the training's own folder.

    Raises:
        ArgumentError: it ends in anything else.
    """

    writes = True

    def __init__(self, *, path: str | Path | None = None) -> None:
        if path is not None and Path(path).suffix not in FORMATS:
            raise ArgumentError(f'path={str(path)!r}: expected a name that ends in {" or ".join(FORMATS)}.')
        self.path = None if path is None else Path(path)

    def check(self, tuner: Any) -> None:
        """Refuse a folder that nothing can be written to."""
        artifact.check_place('path', self._place(tuner).parent)

    def on_fit_begin(self, tuner: Any) -> None:
        """Write what was measured before the training."""
        self._write(tuner)

    def on_train_batch_end(self, tuner: Any) -> None:
        """Write what was measured within the epoch."""
        if tuner.state.steps and tuner.state.steps[-1]['step'] == tuner.state.step:
            self._write(tuner)

    def on_epoch_end(self, tuner: Any) -> None:
        """Write."""
        self._write(tuner)

    def on_fit_end(self, tuner: Any) -> None:
        """Write once more, what was measured at the end too."""
        self._write(tuner)

    def _place(self, tuner: Any) -> Path:
        return self.path or Path(tuner.folder) / 'history.csv'

    def _write(self, tuner: Any) -> None:
        path = self._place(tuner)
        rows = History.of(tuner.state).rows()
        hint = f'{path} is as it was; it is tried again after the next epoch.'
        with artifact.forgiving(hint), artifact.whole_file(path) as fresh, fresh.open('w', newline='') as file:
            if path.suffix == '.jsonl':
                file.writelines(f'{json.dumps(row, default=float)}\n' for row in rows)
            else:
                table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
                table.writeheader()
                table.writerows(rows)
