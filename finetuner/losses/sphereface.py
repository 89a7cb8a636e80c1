"""Classification with the angle to the own class multiplied: large-margin softmax and SphereFace."""

import math
from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.classes import ClassLoss, cross_entropy
from finetuner.losses.distances import SMALL, cosine_similarity
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class LargeMarginSoftmaxLoss(ClassLoss):
    """`cross-entropy of scale * |x| |w_c| psi(theta)` for the own class c, `scale * |x| |w_c| cos(theta)` for others.

    `theta` is the angle between item and class. `psi(theta) = (-1)^k cos(margin * theta) - 2k`, with k the number of
    times that 180 degrees / margin goes into theta, falls from 1 to `1 - 2 * margin`: the own class must be nearer by
    a factor and not by a difference. Computed as a polynomial of the cosine, whose slope is finite everywhere.

    When to use: to compare with published work. `ArcFaceLoss` and `CosFaceLoss` are easier to train and better at
    search, because here the lengths of items and classes count and a vector can lower the loss by growing longer.
    The authors let the margin in little by little; at 4 from the first step search can become worse than before.
    Then take `margin=2`, or normalise the embeddings and set scale to 16 or more.

    Learns `classes (C, D)`, whose lengths count; `SphereFaceLoss` takes their directions. An item of several classes
    has a term for each of them, against the classes that it is not in.

    Args:
        margin: a whole number, the factor on the angle; 1 is a softmax without margin, 2 learns more easily than 4.
        scale: of the logits.
        reducer: how the terms become one number.

    Source: Liu et al., 2016; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 1.0], [0.0, 1.0]])
    >>> float(LargeMarginSoftmaxLoss(margin=2)(x, np.array([0, 1]), classes=np.eye(2)).round(4))
    0.8133
    """

    margin: int = 4
    scale: float = 1.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, margin=options.whole, scale=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        c = cosine_similarity(anchors, candidates)
        times = self._times(anchors, candidates)
        return cross_entropy(times * psi(c, self.margin), times * c, relation, self.reducer)

    def _times(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        # What the cosines are multiplied by, (N, C).
        return self.scale * _length(anchors) * get_namespace(candidates).transpose(_length(candidates))


@dataclass(frozen=True)
class SphereFaceLoss(LargeMarginSoftmaxLoss):
    """`cross-entropy of scale * |x| psi(theta)` for the own class, `scale * |x| cos(theta)` for the others.

    `theta` is the angle between item and class, and `psi(theta) = (-1)^k cos(margin * theta) - 2k`, with k the number
    of times that 180 degrees / margin goes into theta. It is `LargeMarginSoftmaxLoss` with classes of length 1, so
    that no class is preferred; the length of the item still counts.

    When to use: to compare with published work; `ArcFaceLoss` and `CosFaceLoss` came of it and are easier to train.
    If it does not get going, take `margin=2`, or normalise the embeddings and set scale to 16 or more.

    Learns `classes (C, D)`, one direction per class. An item of several classes has a term for each of them, against
    the classes that it is not in.

    Args:
        margin: a whole number, the factor on the angle; 1 is a softmax without margin, 2 learns more easily than 4.
        scale: of the logits.
        reducer: how the terms become one number.

    Source: Liu et al., 2017; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 1.0], [0.0, 1.0]])
    >>> float(SphereFaceLoss(margin=2)(x, np.array([0, 1]), classes=3 * np.eye(2)).round(4))
    0.8133
    """

    def _times(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        return self.scale * _length(anchors)


def psi(c: Tensor, margin: int) -> Tensor:
    """`(-1)^k cos(margin * theta) - 2k` of cosines: what falls as theta grows, with k = floor(margin * theta / pi)."""
    xp = get_namespace(c)
    before, cosine = xp.ones_like(c), c
    for _ in range(margin - 1):  # Chebyshev: cos((n + 1) theta) = 2 cos(theta) cos(n theta) - cos((n - 1) theta)
        before, cosine = cosine, 2 * c * cosine - before
    falls = cosine
    for k in range(1, margin):
        falls = xp.where(c <= math.cos(k * math.pi / margin), (-1) ** k * cosine - 2 * k, falls)
    return falls


def _length(x: Tensor) -> Tensor:
    # (N, 1); the argument of the root is made safe, so that a zero vector has slope zero.
    xp = get_namespace(x)
    square = xp.sum(x * x, axis=-1, keepdims=True)
    some = square > SMALL
    return xp.where(some, xp.sqrt(xp.where(some, square, 1.0)), 0.0)
