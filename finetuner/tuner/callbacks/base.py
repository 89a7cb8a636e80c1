"""The 14 moments of a training that a callback can act at; each does nothing unless overridden."""

from collections.abc import Mapping
from typing import Any

import numpy as np


class Callback:
    """Override what you need; every hook receives the tuner and reads `tuner.state`.

    Attributes:
        unfreezes: whether it makes weights train that are frozen.
        judges: whether its `finish` comes after those of all others, for it judges what they made.
        writes: whether all it does is to write what it sees: of processes that train together the first has it alone.
    """

    unfreezes = False
    judges = False
    writes = False

    def check(self, tuner: Any) -> None:
        """Before anything is trained: raise an ArgumentError for what cannot work."""

    def metrics(self) -> set[str]:
        """The names of the metrics that this callback measures, for others to monitor."""
        return set()

    def metric(self, name: str) -> str | None:
        """What somebody calls `name`, as it is called in the history; None if this callback does not measure it."""
        return name if name in self.metrics() else None

    def resume(self, tuner: Any) -> None:
        """The state is that of a checkpoint, and nothing else is yet: make frozen and unfrozen what was so then."""

    def key(self, tuner: Any) -> str:
        """What this callback is called in a checkpoint: its class and its number among those of its class."""
        name = type(self).__name__
        alike = [id(callback) for callback in tuner.callbacks if type(callback).__name__ == name]
        return f'{name}:{alike.index(id(self))}'

    def counters(self, tuner: Any) -> dict[str, Any]:
        """What this callback must remember across a resume, for JSON; to be changed in place."""
        found: dict[str, Any] = tuner.state.counters.setdefault(self.key(tuner), {})
        return found

    def arrays(self, tuner: Any) -> Mapping[str, np.ndarray]:
        """The arrays that this callback must remember across a resume, by name."""
        return {}

    def restore(self, tuner: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Take back what `arrays` gave when the checkpoint was written; the model has the weights of then."""

    def finish(self, tuner: Any) -> bool:
        """After the last epoch, before `on_fit_end`: change the weights that the training ends with; whether it did.

        `tuner.changed` says whether a callback before this one did. Where one did, `measure` follows for all.
        """
        return False

    def values(self, tuner: Any) -> dict[str, float]:
        """The metrics of the model as it is now, by their names in the history; if this callback measures any."""
        return {}

    def measure(self, tuner: Any) -> None:
        """Note the metrics of the model as it is now."""
        tuner.state.measured(self.values(tuner))

    def on_fit_begin(self, tuner: Any) -> None:
        """Training begins."""

    def on_epoch_begin(self, tuner: Any) -> None:
        """An epoch begins."""

    def on_train_epoch_begin(self, tuner: Any) -> None:
        """The training part of an epoch begins."""

    def on_train_batch_begin(self, tuner: Any) -> None:
        """A batch is loaded and the learning rate is set."""

    def on_train_batch_end(self, tuner: Any) -> None:
        """The weights are updated."""

    def on_train_epoch_end(self, tuner: Any) -> None:
        """The training part of an epoch is over."""

    def on_val_begin(self, tuner: Any) -> None:
        """A validation begins."""

    def on_val_batch_begin(self, tuner: Any) -> None:
        """A validation batch is loaded."""

    def on_val_batch_end(self, tuner: Any) -> None:
        """The loss of a validation batch is known."""

    def on_val_end(self, tuner: Any) -> None:
        """The validation is over."""

    def on_epoch_end(self, tuner: Any) -> None:
        """An epoch is over, and its losses stand in the history."""

    def on_fit_end(self, tuner: Any) -> None:
        """Training is over."""

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Somebody pressed Ctrl-C, or SIGTERM came; training is over."""

    def on_exception(self, tuner: Any, exception: BaseException) -> None:
        """Something went wrong; `exception` is raised afterwards."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith('on_'))
