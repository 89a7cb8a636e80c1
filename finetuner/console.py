"""The one console that logs, tables and progress bars share, and the logger `finetuner`."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.progress import Progress, track as _track
from rich.table import Table

T = TypeVar('T')

live_console = Console()
"""Shared by everything Finetuner shows, so that log lines do not tear a progress bar."""

logger = logging.getLogger('finetuner')
"""Says what was chosen and what happens; silence it with `logging.getLogger('finetuner').setLevel('WARNING')`."""

if not logger.handlers:
    logger.addHandler(RichHandler(console=live_console, show_time=False, show_level=False, show_path=False))
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    logger.propagate = False


def silence(silent: bool) -> None:
    """Whether this process shows and logs nothing, because another one speaks for it; what it raises is still seen."""
    if silent != (_nothing in logger.filters):  # a console that somebody else made quiet stays so
        live_console.quiet = silent
        (logger.addFilter if silent else logger.removeFilter)(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def whole(table: Table) -> None:
    """Print a table with all of its columns, where the terminal is narrower too: names in it are copied."""
    needed = Measurement.get(live_console, live_console.options.update(max_width=1000), table).maximum
    Console(width=max(live_console.width, needed), quiet=live_console.quiet).print(table)


def track(things: Iterable[T], total: int, description: str, show: bool | None = None) -> Iterator[T]:
    """Iterate with a progress bar.

    Args:
        things: what to iterate over.
        total: how many there are.
        description: what stands before the bar.
        show: None shows it on a terminal only.
    """
    if show is None:
        show = live_console.is_terminal
    if not show:
        yield from things
        return
    yield from _track(things, description, total, console=live_console, transient=True)


@contextmanager
def progress(total: int, description: str, show: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar for what is not counted one by one.

    Args:
        total: how many things there are.
        description: what stands before the bar.
        show: None shows it on a terminal only.

    Yields:
        What is told how many more are done.
    """
    if not (live_console.is_terminal if show is None else show):
        yield lambda more: None
        return
    with Progress(console=live_console, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda more: bar.advance(task, more)
