"""The hardest pairs of a whole batch."""

from dataclasses import dataclass
from fractions import Fraction

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.distances import FAR
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class HDCMiner(Miner):
    """The farthest `filter_percentage` of all positive pairs of the batch, and the nearest of all negative pairs.

    The border is drawn through the batch, not through every anchor: an anchor without hard pairs is left out. Each
    share is rounded up. Of equally hard pairs at the border those of the first anchors are taken.

    When to use: with losses on pairs, to spend a batch on its hard part; a smaller share as training goes on.

    Args:
        filter_percentage: the share of pairs that is kept, above 0 up to 1.
        distance: the name of a distance; None takes the loss's own.

    Raises:
        ArgumentError: the share is none.

    Source: Yuan, Yang and Zhang, 2017 (hard-aware deeply cascaded embedding); default of pytorch-metric-learning.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 0.1], [0.9, 0.8, 0.1, 0.0]])
    >>> HDCMiner(0.25)(d, same_class(['a', 'a', 'b', 'b'])).pairs().tolist()
    [[0, 1, 1], [1, 2, 0], [2, 1, 0]]
    """

    filter_percentage: float = 0.5
    distance: str | None = None

    def __post_init__(self) -> None:
        options.settle(
            self, filter_percentage=options.number(above=0, most=1), distance=options.optional(options.distance)
        )

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the hardest pairs in its masks."""
        share = Fraction(self.filter_percentage).limit_denominator(10_000) or Fraction(1, 10_000)
        return relation._replace(
            positives=_first(-distances, relation.positives, share, relation.most),
            negatives=_first(distances, relation.negatives, share),
        )


def _first(d: Tensor, mask: Tensor, share: Fraction, most: int | None = None) -> Tensor:
    # (N, M): of `mask` the share with the smallest `d`, row by row among equals. No row has more than `most`.
    xp = get_namespace(d)
    number = xp.sum(xp.cast(mask, xp.int32))
    # Rounded up in whole numbers, which are the same on every engine; in two parts, which do not overflow.
    whole, rest = number // share.denominator, number % share.denominator
    size = whole * share.numerator + (rest * share.numerator + share.denominator - 1) // share.denominator
    values = xp.where(mask, d, FAR)
    if most is not None and values.shape[1] is not None and 2 * most < values.shape[1]:
        values = -xp.top_k(-values, most)[0]  # a sort of few
    flat = xp.reshape(values, (1, -1))
    last = xp.reshape(xp.maximum(size - 1, 0), (1, 1))
    border = xp.take_along_axis(flat, xp.take_along_axis(xp.argsort(flat), last, axis=1), axis=1)
    before, ties = mask & (d < border), mask & (d == border)
    equal = xp.cast(ties, xp.int32)
    inside, each = xp.cumsum(equal, axis=1), xp.sum(equal, axis=1, keepdims=True)
    nth = inside + xp.cumsum(each, axis=0) - each
    return before | (ties & (nth <= size - xp.sum(xp.cast(before, xp.int32))))
