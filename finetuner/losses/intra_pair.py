"""Intra-pair variance: all positives shall be alike in similarity, and so shall all negatives."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class IntraPairVarianceLoss(Loss):
    """`mean over P of [(1 - pos_eps) mean_P - s]+^2, plus mean over N of [s - (1 + neg_eps) mean_N]+^2`.

    P are all positive pairs of the batch and N all negative ones, `mean_P` and `mean_N` their mean cosines `s`. Only
    pairs on the wrong side of their mean cost something.

    When to use: never alone, for it does not tell positives from negatives; the authors add it with weight 0.5 to
    `TupletMarginLoss`. Of mined triplets every pair counts as often as it stands in one.

    Args:
        pos_eps: how far below the mean positives may lie, as a part of it.
        neg_eps: how far above the mean negatives may lie, as a part of it.
        reducer: how the terms of each half become one number.

    Source: Yu and Tao, 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(IntraPairVarianceLoss()(x, ['a', 'a', 'b']).round(4))
    0.0784
    """

    pos_eps: float = 0.01
    neg_eps: float = 0.01
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, pos_eps=options.number(least=0), neg_eps=options.number(least=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        near = xp.relu((1 - self.pos_eps) * _mean(s, found.positives, found.towards) - s)
        far = xp.relu(s - (1 + self.neg_eps) * _mean(s, found.negatives, found.away))
        return reduce(near * near, found.positives, self.reducer, found.towards) + reduce(
            far * far, found.negatives, self.reducer, found.away
        )


def _mean(s: Tensor, mask: Tensor, times: Tensor | None) -> Tensor:
    xp = get_namespace(s)
    if times is None:
        return quotient(xp.sum(xp.where(mask, s, 0.0)), count(mask, s))
    return quotient(xp.sum(xp.where(mask, s * times, 0.0)), xp.sum(xp.where(mask, times, 0.0)))
