"""VICReg: two views of an item shall agree, and no component of the vectors shall collapse or repeat another."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import sqeuclidean
from finetuner.losses.reduce import count, quotient
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class VICRegLoss(Loss):
    """`invariance_lambda * mean of (x_a - x_b)^2 + variance_mu * v + covariance_v * c`, of two views a and b.

    `v` is the mean over components of `[1 - sqrt(var + eps)]+`, the mean of both views; `c` is the sum over pairs of
    components of their squared covariance, divided by the dimension, the sum of both views. It compares no item with
    others, so it needs no negatives; and it takes the vectors as they are, not their directions.

    The views are the two columns of pairs. A batch compared with itself is halved: of each class the first, third, …
    item of the batch is one view, the second, fourth, … the other. With two views of each item this is the published
    loss. Vectors without a positive in the other view do not count.

    When to use: two views of items without labels, on a wide last layer (a projection head of 1000 and more), where
    similar items in a batch make negatives doubtful. Batches of 256 and more, for variances are estimated from them.

    Args:
        invariance_lambda: weight of the agreement of views.
        variance_mu: weight of the variance of each component.
        covariance_v: weight of the covariance between components.
        eps: is added to variances, so that the slope at zero is finite.

    Source: Bardes, Ponce and LeCun, 2022; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.0, 1.0]])
    >>> float(VICRegLoss()(x, ['a', 'b', 'a', 'b']).round(4))
    11.4048
    """

    remembers: ClassVar[bool] = False
    invariance_lambda: float = 25.0
    variance_mu: float = 25.0
    covariance_v: float = 1.0
    eps: float = 1e-4

    def __post_init__(self) -> None:
        options.settle(
            self,
            invariance_lambda=options.number(least=0),
            variance_mu=options.number(least=0),
            covariance_v=options.number(least=0),
            eps=options.number(above=0),
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        dim = anchors.shape[1]
        views = two_views(anchors, candidates, relation)
        a, b = views.anchors, views.candidates
        square = xp.sum(xp.where(views.related, sqeuclidean(a, b), 0.0))
        total = self.invariance_lambda * quotient(square, count(views.related, a)) / dim
        for x, there in ((a, xp.any(views.related, axis=1)), (b, xp.any(views.related, axis=0))):
            variance, covariance = self._spread(x, xp.reshape(there, (-1, 1)))
            total = total + self.variance_mu * variance / 2 + self.covariance_v * covariance
        return total

    def _spread(self, x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        # The hinge on the variances, and the covariances, of the (N, D) vectors that are there.
        xp = get_namespace(x)
        n = count(there, x)
        x = xp.where(there, x - quotient(xp.sum(xp.where(there, x, 0.0), axis=0), n), 0.0)
        hinge = xp.relu(1 - xp.sqrt(quotient(xp.sum(x * x, axis=0), n - 1) + self.eps))
        covariance = quotient(xp.matmul(xp.transpose(x), x), n - 1)
        place = xp.positions(covariance)
        apart = xp.reshape(place, (-1, 1)) != xp.reshape(place, (1, -1))
        squares = xp.sum(xp.where(apart, covariance * covariance, 0.0))
        return xp.where(n > 1, xp.mean(hinge), 0.0), squares / x.shape[1]


class Views(NamedTuple):
    """Two views of a batch.

    Attributes:
        anchors: (N, D) vectors; all vectors are moved alike, so that they lie around zero.
        candidates: (M, D).
        related: (N, M) which candidate is the other view of which anchor.
    """

    anchors: Tensor
    candidates: Tensor
    related: Tensor


def two_views(anchors: Tensor, candidates: Tensor, relation: Relation) -> Views:
    """The two views in a batch: anchors and candidates; or, of a batch compared with itself, every other positive.

    Rows of pairs have their own candidate only, whatever other rows have in common with them.
    """
    xp = get_namespace(anchors)
    related = pairs(relation, lambda: sqeuclidean(anchors, candidates)).positives
    row = xp.reshape(xp.positions(anchors), (-1, 1))
    column = xp.reshape(xp.positions(candidates), (1, -1))
    if relation.within(anchors, candidates):
        place = xp.sum(xp.cast(relation.positives & (column < row), xp.int32), axis=1)
        first = place % 2 == 0
        related = related & xp.reshape(first, (-1, 1)) & ~xp.reshape(first, (1, -1))
    else:
        own = related & (row == column)
        related = xp.where(xp.any(own, axis=1, keepdims=True), own, related)
    # What all have in common would cost differences their precision.
    there = xp.any(related, axis=1, keepdims=True)
    middle = xp.stop_gradient(quotient(xp.sum(xp.where(there, anchors, 0.0), axis=0), count(there, anchors)))
    return Views(anchors - middle, candidates - middle, related)
