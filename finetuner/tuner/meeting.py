"""Processes that train together stop together: what one of them wants, all know before any goes on.

A process that stopped alone would leave the others waiting in their next exchange. So each tells before every batch,
and at the end of every epoch, whether it was interrupted or has failed, and whether a callback wants to stop.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from finetuner.errors import TrainingError
from finetuner.memory import is_out_of_memory
from finetuner.tuner.interruption import Terminated, Termination
from finetuner.world import World

GO, STOP, INTERRUPTED, TERMINATED, FAILED = range(5)
"""What a process may want, the more important the higher; FAILED + rank says which one failed."""


class Meeting:
    """The meetings of one training; of a process that is alone they are nothing.

    Args:
        tuner: has the `world` of the processes, and knows when it is `updating`.
    """

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner
        self.world: World = tuner.world
        self._heard = GO

    def __call__(self, stop: bool = False) -> bool:
        """Meet; gives whether anybody wants to stop after this epoch.

        Args:
            stop: whether this process wants to.

        Raises:
            KeyboardInterrupt: one was interrupted.
            TrainingError: another one failed.
        """
        if not self.world.meets:
            return stop
        with ended_elsewhere():
            found = self.world.most(max(self._heard, STOP if stop else GO))
        if found < INTERRUPTED:
            return found == STOP
        self.world.meets, self._heard = False, GO
        if found >= FAILED:
            raise TrainingError(
                f'Process {found - FAILED} of {self.world.size}, counted from 0, failed, and the training ends in all '
                f'of them: what was wrong stands in its output.'
            )
        if found == TERMINATED:
            self._termination.received = True
            raise Terminated
        raise KeyboardInterrupt

    def close(self) -> None:
        """Nobody meets any more."""
        self.world.meets = False

    @contextmanager
    def listening(self, termination: Termination) -> Iterator[None]:
        """Meet in here, and have Ctrl-C and SIGTERM wait for the next meeting; a second Ctrl-C does not.

        Args:
            termination: what SIGTERM comes to.
        """
        if self.world.size == 1:
            yield
            return
        self.world.meets, self._heard, self._termination = True, GO, termination
        here = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if here}
        mine = {number: found for number, found in before.items() if found in (signal.default_int_handler, termination)}

        def hear(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGINT and self._heard >= INTERRUPTED:
                raise KeyboardInterrupt
            self._heard = max(self._heard, INTERRUPTED if number == signal.SIGINT else TERMINATED)

        for number in mine:
            signal.signal(number, hear)
        try:
            yield
        finally:
            if self.tuner.updating:  # the others do not meet now; they are told by the end of this process
                self.world.meets = False
            fail(self.world)
            for number, handler in mine.items():
                signal.signal(number, handler)
        if self._heard != GO:  # after the last meeting
            signal.raise_signal(signal.SIGINT if self._heard == INTERRUPTED else signal.SIGTERM)


def fail(world: World) -> None:
    """Have the others know, where they meet next, that this process failed; if they do not know it."""
    if world.meets:
        world.meets = False
        with suppress(Exception):  # they are gone already
            world.most(FAILED + world.rank)


@contextmanager
def ended_elsewhere() -> Iterator[None]:
    """In here, a connection that breaks is told as what it is.

    Raises:
        TrainingError: another process ended within an update.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise TrainingError(
            f'Another process of this training ended, so this one cannot go on: what was wrong stands in the output of '
            f'that one. ({str(error).strip().splitlines()[0][:200]})'
        ) from error
