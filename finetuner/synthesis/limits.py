"""Which documents may be negatives, by rank and by score."""

import math
from dataclasses import dataclass

import numpy as np

from finetuner.errors import ArgumentError, whole_number

ROUNDING = 3e-7  # of products of unit vectors in float32


@dataclass(frozen=True)
class Limits:
    """Arguments of `mine_hard_negatives`, where they are described."""

    num_negatives: int = 3
    range_min: int = 0
    range_max: int | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        for name in ('num_negatives', 'range_min', 'range_max'):
            value = getattr(self, name)
            least = {'num_negatives': 1, 'range_min': 0}.get(name)
            if least is None:
                if value is None:
                    continue
                least = self.range_min + 1
            whole_number(name, value, least)
        for name in ('absolute_margin', 'relative_margin', 'max_score', 'min_score'):
            value = getattr(self, name)
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not number:
                raise ArgumentError(f'{name}={value!r}: expected a number, or None for no such limit.')
        if self.relative_margin is not None and self.relative_margin < 0:
            raise ArgumentError(f'relative_margin={self.relative_margin!r}: expected a part such as 0.05.')
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise ArgumentError(f'min_score={self.min_score!r} is above max_score={self.max_score!r}: nothing is left.')

    def ceiling(self, positive: np.ndarray) -> np.ndarray:
        """(Q,) the largest score that a negative may have; what is more by rounding only is not more.

        Args:
            positive: (Q,) the score of each query's positive.
        """
        most = np.full(len(positive), np.inf)
        size = np.where(np.isfinite(positive), np.abs(positive), 0.0)
        if self.absolute_margin is not None:
            most = np.minimum(most, positive - self.absolute_margin)
        if self.relative_margin is not None:
            most = np.minimum(most, positive - size * self.relative_margin)
        if self.max_score is not None:
            most = np.minimum(most, self.max_score)
        return most + ROUNDING * np.maximum(size, 1.0)

    @property
    def floor(self) -> float:
        """The smallest score that a negative may have."""
        return -math.inf if self.min_score is None else self.min_score - ROUNDING

    def hint(self) -> str:
        """Which arguments would let more documents in."""
        margins = [name for name in ('absolute_margin', 'relative_margin') if getattr(self, name) is not None]
        given = [name for name in ('range_max', 'max_score') if getattr(self, name) is not None]
        low = [name for name in ('min_score',) if self.min_score is not None] + ['range_min'] * (self.range_min > 0)
        parts = [f'a smaller {name}' for name in [*margins, *low]] + [f'a larger {name}' for name in given]
        return ' or '.join([*parts, 'a larger corpus'])
