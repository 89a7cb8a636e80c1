"""What the options of losses, miners and regularizers can be."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from numbers import Integral, Real
from typing import Any

from finetuner.errors import ArgumentError, nearest
from finetuner.losses.distances import DISTANCES
from finetuner.losses.names import build, get
from finetuner.losses.reduce import REDUCERS

LARGEST = 3e38  # about that of float32, in which losses are computed
Rule = Callable[[str, Any], Any]
"""From the name and the value of an option to the value that is kept; refuses what is none."""


def settle(holder: Any, **rules: Rule) -> None:
    """Checks options of a frozen dataclass and keeps them as plain Python values, in its `__post_init__`.

    Args:
        holder: has the options.
        rules: one for each option that is to be checked.

    Raises:
        ArgumentError: an option breaks its rule.
    """
    for name, rule in rules.items():
        object.__setattr__(holder, name, rule(name, getattr(holder, name)))


def number(
    *, above: float | None = None, least: float | None = None, below: float | None = None, most: float | None = None
) -> Rule:
    """A finite number within the bounds that are given, of Python or NumPy.

    >>> number(above=0)('scale', -1)
    Traceback (most recent call last):
    finetuner.errors.ArgumentError: scale must be a positive number, got -1.
    """
    expected = _expected(above, least, below, most)

    def rule(name: str, value: Any) -> Any:
        plain = _plain(value)
        fits = (
            plain is not None
            and (above is None or plain > above)
            and (least is None or plain >= least)
            and (below is None or plain < below)
            and (most is None or plain <= most)
        )
        if not fits:
            raise ArgumentError(f'{name} must be {expected}, got {value!r}.')
        return plain

    return rule


def _plain(value: Any) -> float | None:
    # The number as Python's own, or None where it is no finite one.
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    plain = int(value) if isinstance(value, Integral) else float(value)
    return plain if abs(plain) < LARGEST else None


def _expected(above: float | None, least: float | None, below: float | None, most: float | None) -> str:
    if above == 0 and below is None and most is None:
        return 'a positive number'
    low = f'above {above:g}' if above is not None else f'of at least {least:g}' if least is not None else ''
    high = f'below {below:g}' if below is not None else f'at most {most:g}' if most is not None else ''
    return f'a finite number {" and ".join(part for part in (low, high) if part)}'.rstrip()


def whole(name: str, value: Any) -> int:
    """A whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArgumentError(f'{name} must be a whole number of at least 1, got {value!r}.')
    return int(value)


def flag(name: str, value: Any) -> bool:
    """True or False, which a text such as 'no' is not."""
    if not isinstance(value, bool) and type(value).__name__ not in ('bool', 'bool_'):
        raise ArgumentError(f'{name} must be True or False, got {value!r}.')
    return bool(value)


def one_of(known: Iterable[str]) -> Rule:
    """One of the names that are known."""
    names = tuple(known)

    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ArgumentError(f'There is no {name} {value!r}. {nearest(str(value), names)}')
        return value

    return rule


def optional(rule: Rule) -> Rule:
    """What the rule allows, or None."""
    return lambda name, value: None if value is None else rule(name, value)


def mine(name: str, value: Any) -> Any:
    """A miner, also by its name or class, or a function, or None."""
    made = get(value, 'miner') if isinstance(value, str) else value
    made = build(made) if isinstance(made, type) and is_dataclass(made) else made
    if made is not None and (isinstance(made, type) or not callable(made) or hasattr(made, 'members')):
        raise ArgumentError(f'{name} must be a miner, such as TripletEasyHardMiner(), got {value!r}.')
    return made


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Options by name; None are none."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(option, str) for option in value):
        raise ArgumentError(f"{name} must be a dict of options by name, such as {{'margin': 0.3}}, got {value!r}.")
    return value


reducer = one_of(REDUCERS)
"""The name of a reducer."""
distance = one_of(DISTANCES)
"""The name of a distance."""
