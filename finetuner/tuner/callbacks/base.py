"""The 14 moments of a training that a callback can act at; each does nothing unless overridden."""

from typing import Any


class Callback:
    """Override what you need; every hook receives the tuner and reads `tuner.state`.

    Attributes:
        unfreezes: whether it makes weights train that are frozen.
    """

    unfreezes = False

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

    def counters(self, tuner: Any) -> dict[str, Any]:
        """What this callback must remember across a resume, by its class and its number among those of its class."""
        name = type(self).__name__
        alike = [id(callback) for callback in tuner.callbacks if type(callback).__name__ == name]
        found: dict[str, Any] = tuner.state.counters.setdefault(f'{name}:{alike.index(id(self))}', {})
        return found

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
        """Somebody pressed Ctrl-C; training is over."""

    def on_exception(self, tuner: Any, exception: BaseException) -> None:
        """Something went wrong; `exception` is raised afterwards."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith('on_'))
