"""Barlow Twins: the components of two views shall correlate each with itself, and with no other."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.reduce import count, quotient
from finetuner.losses.relation import Relation
from finetuner.losses.vicreg import two_views
from finetuner.typing import Tensor


@dataclass(frozen=True)
class BarlowTwinsLoss(Loss):
    """`sum over components i of (1 - C_ii)^2 + lambda_param * sum over i != j of C_ij^2`.

    `C (D, D)` are the correlations over the batch between the components of one view and those of the other. It
    compares no item with others, so it needs no negatives; and the vectors' lengths and scales do not matter.

    The views are the two columns of pairs. A batch compared with itself is halved: of each class the first, third, …
    item of the batch is one view, the second, fourth, … the other. With two views of each item this is the published
    loss. Vectors without a positive in the other view do not count, and one pair alone costs nothing.

    When to use: two views of items without labels, on a wide last layer (a projection head of 1000 and more), where
    similar items in a batch make negatives doubtful. Values are in the order of the dimension, so take a lower
    learning rate than for other losses.

    Args:
        lambda_param: the weight of what components have in common.
        eps: is added to variances, so that a component that collapsed has a finite slope.

    Source: Zbontar et al., 2021; defaults of the authors' code.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.0, 1.0]])
    >>> float(BarlowTwinsLoss()(x, ['a', 'b', 'a', 'b']).round(4))
    0.0102
    """

    remembers: ClassVar[bool] = False
    lambda_param: float = 0.0051
    eps: float = 1e-5

    def __post_init__(self) -> None:
        options.settle(self, lambda_param=options.number(least=0), eps=options.number(above=0))

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        a, b, related = two_views(anchors, candidates, relation)
        n = count(related, a)
        times = xp.cast(related, a.dtype)
        a = self._standard(a, xp.sum(times, axis=1, keepdims=True), n)
        b = self._standard(b, xp.transpose(xp.sum(times, axis=0, keepdims=True)), n)
        c = quotient(xp.matmul(xp.transpose(a), xp.matmul(times, b)), n)
        place = xp.positions(c)
        same = xp.reshape(place, (-1, 1)) == xp.reshape(place, (1, -1))
        total = xp.sum(xp.where(same, (1 - c) * (1 - c), self.lambda_param * c * c))
        return xp.where(n > 1, total, 0.0)

    def _standard(self, x: Tensor, times: Tensor, n: Tensor) -> Tensor:
        # (N, D) with mean 0 and variance 1 in every component, over the `n` pairs; each vector is in (N, 1) `times`.
        xp = get_namespace(x)
        x = xp.where(times > 0, x - quotient(xp.sum(xp.where(times > 0, times * x, 0.0), axis=0), n), 0.0)
        return x / xp.sqrt(quotient(xp.sum(times * x * x, axis=0), n) + self.eps)
