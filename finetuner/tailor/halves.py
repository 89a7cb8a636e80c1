"""Where a model can be parted into what stands still and what trains on top of it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_CHANCE = re.compile(r'drop(out|path|block|_path)|stochastic|noise|random', re.IGNORECASE)


class Halves(NamedTuple):
    """A model in two parts, each a model of the framework that has its weights.

    Attributes:
        lower: from the inputs to a list of arrays; nothing in it trains.
        upper: from such a list to the vectors.
        masked: whether the arrays are tokens (B, T, D) and a mask (B, T), so that items may be of different length.
    """

    lower: Any
    upper: Any
    masked: bool = False


class Step(NamedTuple):
    """One of the layers that a model calls one after the other.

    Attributes:
        trains: whether a weight in it trains.
        weighs: whether it has weights.
        kinds: the class names of what is in it.
    """

    trains: bool
    weighs: bool
    kinds: Sequence[str]


def draws(kinds: Sequence[str]) -> bool:
    """Whether layers of such class names draw from chance in training."""
    return any(_CHANCE.search(kind) for kind in kinds)


def boundary(steps: Sequence[Step]) -> int | str:
    """How many steps belong to the lower part; or why there is none.

    It ends behind the last frozen weights and what follows them and has none, such as pooling, but before dropout.

    >>> linear, frozen = Step(True, True, ['Linear']), Step(False, True, ['Linear'])
    >>> relu, dropout = Step(False, False, ['ReLU']), Step(False, False, ['Dropout'])
    >>> boundary([frozen, relu, dropout, linear])
    2
    """
    still = next((place for place, step in enumerate(steps) if step.trains), len(steps))
    if still == len(steps):
        return 'nothing in it trains'
    last = max((place for place in range(still) if steps[place].weighs), default=None)
    if last is None:
        return (
            'its layers are not known one by one, or the first that has weights trains. What is known are a head that '
            'Tailor attached to a frozen model, and models that call one layer after the other (Sequential)'
        )
    first = next(place for place, step in enumerate(steps) if step.weighs)
    if any(draws(step.kinds) for step in steps[:first]):
        return 'it changes its own inputs by chance'
    end = last + 1
    while end < still and not draws(steps[end].kinds):
        end += 1
    return end
