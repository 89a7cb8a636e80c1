"""Errors people can act on: what is wrong, what was expected, what came, and a hint one can type."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from numbers import Integral
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
R = TypeVar('R')


class FinetunerError(Exception):
    """The root of every error that Finetuner raises on purpose."""


class ArgumentError(FinetunerError, ValueError, TypeError):
    """An argument is unknown, has the wrong type, or an impossible value."""


class DataError(FinetunerError, ValueError):
    """The data cannot be used; names the items that are wrong."""


class ModelError(FinetunerError, ValueError, TypeError):
    """The model is none that Finetuner can tune, or gives no (B, D) output."""


class CheckpointError(FinetunerError, ValueError):
    """A saved model or checkpoint is missing, damaged, or fits another model."""


class StorageError(FinetunerError, OSError):
    """A file cannot be written, for example because the disk is full; what was there before is whole."""


class TrainingError(FinetunerError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite.

    Attributes:
        items: the names of the items of the batch that it failed on, where there is one.
    """

    items: Sequence[str] = ()


class MissingExtraError(FinetunerError, ImportError):
    """A library is not installed; names the extra that brings it."""


def whole_number(name: str, value: Any, least: int) -> int:
    """`value`, if it is a whole number of at least `least`, of Python or numpy.

    Raises:
        ArgumentError: says what `name` is, and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ArgumentError(f'{name}={value!r}: expected a whole number of at least {least}.')
    return int(value)


def nearest(name: object, names: Iterable[str]) -> str:
    """A sentence that suggests the known names nearest to `name`, or lists them all."""
    known = sorted(names)
    # Without capitals, which are what people get wrong most.
    lower = {k.lower(): k for k in known}
    close = [lower[c] for c in get_close_matches(str(name).lower(), lower, n=3, cutoff=0.5)]
    if close:
        return f'Did you mean {enumerated(close, "or")}?'
    return f'Known are: {", ".join(known)}.'


def enumerated(things: Sequence[object], last: str = 'and', most: int = 5) -> str:
    """`'a', 'b' and 3 more`: a list for a sentence, cut at `most`."""
    shown = [repr(thing) for thing in things[:most]]
    if len(things) > most:
        return f'{", ".join(shown)} and {len(things) - most} more'
    if len(shown) > 1:
        return f'{", ".join(shown[:-1])} {last} {shown[-1]}'
    return shown[0] if shown else 'none'


def strict(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which refuses an unknown argument with the nearest name; Python would only say that it is unknown."""
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise ArgumentError(f'{function.__name__}() has no argument {name!r}. {nearest(name, known)}')
        return function(*args, **kwargs)

    return call
