"""Tuplet margin: a positive against all negatives of its anchor, with a slack on its angle."""

import math
from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity, sine
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class TupletMarginLoss(Loss):
    """`mean over positive pairs of log(1 + sum over negatives of e^(scale (cos t_an - cos(t_ap - margin))))`.

    `t` are angles. The slack works against the pull of pairs that are near already, which would overfit; it is the
    opposite of ArcFace's margin. A positive that lies on its anchor exactly has no slope through its sine, where
    pytorch-metric-learning's is not a number.

    When to use: labels with a few items per class in a batch; the authors add `IntraPairVarianceLoss` with weight 0.5.
    Of mined triplets every pair counts as often as it stands in one.

    Args:
        margin: degrees taken off the angle of positives.
        scale: of the cosines, an inverse temperature.
        reducer: how the terms become one number.

    Source: Yu and Tao, 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(TupletMarginLoss(scale=4.0)(x, ['a', 'a', 'b']).round(4))
    0.517
    """

    across: ClassVar[bool] = True
    margin: float = 5.73
    scale: float = 64.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, margin=options.number(), scale=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        c = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - c)
        # cos(t - m) = cos(t) cos(m) + sin(t) sin(m).
        m = math.radians(self.margin)
        turned = c * math.cos(m) + sine(c) * math.sin(m)
        rest = masked_logsumexp(self.scale * c, found.negatives, found.away)
        return reduce(xp.softplus(rest - self.scale * turned), found.positives, self.reducer, found.towards)
