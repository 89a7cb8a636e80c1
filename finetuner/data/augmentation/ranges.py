"""Numbers that augmentations are made of, refused where they cannot be."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

from finetuner.errors import ArgumentError


def part(name: str, value: Any, most: float = 1) -> None:
    """Refuse what is no number from 0 to `most`.

    Raises:
        ArgumentError: says what `name` is, and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= most:
        raise ArgumentError(f'{name}={value!r}: expected a number from 0 to {most:g}.')


def span(name: str, value: Any, most: float = float('inf')) -> None:
    """Refuse what are no two numbers above 0 and up to `most`, the lower first.

    Raises:
        ArgumentError: says what `name` is, and what was expected.
    """
    two = isinstance(value, Sequence) and len(value) == 2 and all(isinstance(one, Real) for one in value)
    if not two or not 0 < value[0] <= value[1] <= most:
        limit = f' and up to {most:g}' if most < float('inf') else ''
        raise ArgumentError(f'{name}={value!r}: expected two numbers above 0{limit}, the lower first.')
