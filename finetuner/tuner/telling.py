"""Telling callbacks what happens, so that one who was not told before an interruption is told after it."""

from typing import Any

REPEATED = ('on_train_batch_end', 'on_epoch_end')
"""Hooks that a training which goes on does not come by again."""


class Telling:
    """Tells the callbacks of a tuner, in their order.

    After an update nobody is interrupted, so each counts it once; at the end of an epoch, which may take long, one who
    is interrupted is told again.

    Args:
        tuner: has `callbacks` and `state`.

    Attributes:
        hook: what they are being told, or are to be told next.
        told: how many are, with the one that is being told.
    """

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner
        self.due('')

    def due(self, hook: str) -> None:
        """All callbacks are to be told of this next."""
        self.hook, self.told = hook, 0

    def __call__(self, hook: str, *arguments: Any) -> None:
        """Tell all."""
        for place in range(len(self.tuner.callbacks)):
            self._tell(hook, place, *arguments)
        self.due('')

    def rest(self) -> dict[str, list[str]]:
        """By the hook, the keys of the callbacks that are not told of it yet, for a checkpoint."""
        if self.hook not in REPEATED:
            return dict(self.tuner.state.untold)
        return {self.hook: [callback.key(self.tuner) for callback in self.tuner.callbacks[self.told :]]}

    def resume(self) -> None:
        """Tell those who were not; at the end of an epoch the others measure again what these may look at."""
        tuner = self.tuner
        for hook, keys in tuner.state.untold.items():
            rest = [callback.key(tuner) in keys for callback in tuner.callbacks]
            for place, callback in enumerate(tuner.callbacks):
                if rest[place]:
                    self._tell(hook, place)
                elif hook == 'on_epoch_end' and any(rest[place:]):
                    callback.measure(tuner)
        self.due('')
        tuner.state.untold = {}

    def _tell(self, hook: str, place: int, *arguments: Any) -> None:
        self.hook, self.told = hook, place + 1
        try:
            getattr(self.tuner.callbacks[place], hook)(self.tuner, *arguments)
        except BaseException:
            self.told = place + (hook == 'on_train_batch_end')
            raise
