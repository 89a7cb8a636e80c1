"""Texts of like length together, so that little padding is computed.

Which items meet in a batch stays as it is: its rows go through the model in groups, and each group is only as wide as
its longest text. Written for inputs as tokenizers make them, a dict with a mask (B, T) that fills its rows from the
left; other inputs have no lengths.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.typing import Inputs

MASK = 'attention_mask'
FINEST = 64
"""Different lengths that are told apart; of more, some that are near count as one."""


class Group(NamedTuple):
    """Rows of a batch, and how many tokens the longest of them has."""

    rows: np.ndarray
    width: int


class Padded(NamedTuple):
    """A batch of inputs that are filled up to one length.

    Attributes:
        inputs: by name an array of B rows.
        lengths: (B,) the tokens of each row.
        wide: the names of the arrays that have a number for every token.
    """

    inputs: dict[str, np.ndarray]
    lengths: np.ndarray
    wide: frozenset[str]

    @property
    def width(self) -> int:
        """T, the length that all are filled up to."""
        return int(self.inputs[MASK].shape[1])

    def part(self, group: Group) -> dict[str, np.ndarray]:
        """The inputs of a group, no wider than it must be."""
        return {
            name: array[group.rows, : group.width] if name in self.wide else array[group.rows]
            for name, array in self.inputs.items()
        }


def padded(inputs: Inputs) -> Padded | None:
    """A batch whose rows have lengths; None if it is no such batch.

    Args:
        inputs: of any library.
    """
    if not isinstance(inputs, Mapping) or MASK not in inputs:
        return None
    try:
        arrays = {name: get_namespace(value).to_numpy(value) for name, value in inputs.items()}
    except TypeError:
        return None
    mask = arrays[MASK]
    if mask.ndim != 2 or any(array.shape[:1] != mask.shape[:1] for array in arrays.values()):
        return None
    lengths = mask.astype(bool).sum(1)
    wide = frozenset(name for name, array in arrays.items() if array.shape == mask.shape and array.dtype.kind in 'iub')
    if any(mask.shape[1] in array.shape[1:] for name, array in arrays.items() if name not in wide):
        return None  # nobody knows whether that axis is of tokens
    from_left = (mask == (np.arange(mask.shape[1]) < lengths[:, None])).all()
    return Padded(arrays, np.maximum(lengths, 1), wide) if from_left else None


def groups(
    lengths: np.ndarray, overhead: float, budget: int | None = None, most: int | None = None, alike: bool = False
) -> list[Group]:
    """The rows in groups of like length, so that computing them costs least.

    A group costs its rows times its width, and what every call of a model costs beside that.

    Args:
        lengths: (B,) of the rows.
        overhead: the cost of a call, in tokens.
        budget: the tokens that a group may have at most, padding included; a row alone may have more.
        most: the rows that a group may have at most, in place of the budget.
        alike: whether rows of different length may not meet, whatever that costs.

    Returns:
        The longest first; rows of one length in their order.

    >>> [(group.rows.tolist(), group.width) for group in groups(np.array([9, 30, 8, 9, 31]), overhead=16)]
    [([4, 1], 31), ([0, 3, 2], 9)]
    """
    rows = np.argsort(-lengths, kind='stable')
    falling = lengths[rows]
    cuts = [0, *_changes(falling), len(falling)] if alike else _cuts(falling, overhead)
    found = []
    for start, stop in pairwise(cuts):
        width = int(falling[start])
        size = most or (stop - start if budget is None else max(budget // width, 1))
        found += [Group(rows[at : min(at + size, stop)], int(falling[at])) for at in range(start, stop, size)]
    return found


def _cuts(falling: np.ndarray, overhead: float) -> list[int]:
    # Where groups begin, and the end. best[i] is the least cost of the rows before the i-th place where one may end.
    step = max(-(-len(np.unique(falling)) // FINEST), 1)
    places = [0, *_changes(falling)][::step]
    starts, ends = np.array(places), np.array([*places[1:], len(falling)])
    best, came = np.zeros(len(ends) + 1), np.zeros(len(ends), np.int64)
    for last, end in enumerate(ends):
        costs = best[: last + 1] + overhead + (end - starts[: last + 1]) * falling[starts[: last + 1]]
        came[last] = costs.argmin()
        best[last + 1] = costs[came[last]]
    cuts, last = [len(falling)], len(ends)
    while last:
        last = int(came[last - 1])
        cuts.append(int(starts[last]))
    return cuts[::-1]


def _changes(falling: np.ndarray) -> list[int]:
    changes: list[int] = (np.flatnonzero(np.diff(falling)) + 1).tolist()
    return changes


def cost(found: list[Group], overhead: float) -> float:
    """What groups cost, in tokens; see `groups`."""
    return sum(len(group.rows) * group.width + overhead for group in found)
