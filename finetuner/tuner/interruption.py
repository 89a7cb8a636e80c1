"""Ctrl-C and SIGTERM at the right moment: between two updates, never within one."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from finetuner.console import logger


class Terminated(KeyboardInterrupt):
    """SIGTERM came: the training ends as after Ctrl-C, and then the process."""


class Termination:
    """What SIGTERM does while a training runs: the first one interrupts it, and others change nothing.

    Attributes:
        received: whether it came.
        saving: whether the training ends already, and is being saved: it then does not interrupt.
    """

    received = saving = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        heard, self.received = self.received, True
        if not heard and not self.saving:
            raise Terminated


@contextmanager
def terminable() -> Iterator[Termination]:
    """Have SIGTERM raise `Terminated`, and end the process in the end if it came, with the status of the signal.

    Where SIGTERM is ignored or has a handler already, and in other threads than the main one, nothing changes.
    """
    termination = Termination()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield termination
        return
    signal.signal(signal.SIGTERM, termination)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if termination.received:
            for stream in (*logger.handlers, sys.stdout, sys.stderr):  # the signal leaves no time for it
                with suppress(Exception):
                    stream.flush()
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end, so that no checkpoint is of half an update.

    A second Ctrl-C is not held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = {number: handler for number, handler in found.items() if callable(handler)}
    pressed: dict[int, FrameType | None] = {}

    def hold(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in pressed:
            before[signal.SIGINT](number, frame)
        pressed.setdefault(number, frame)

    for number in before:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in before:  # SIGTERM first: it ends more
        if number in pressed:
            before[number](number, pressed[number])
