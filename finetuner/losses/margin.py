"""Margin loss: positives within a boundary and negatives beyond it, the boundary learned if one likes."""

from dataclasses import dataclass

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import distances, options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class MarginLoss(DistanceLoss):
    """`[d_ap - beta + margin]+ + [beta - d_an + margin]+` over all triplets, divided by the number of parts above 0.

    `beta` is the boundary between near and far: positives shall be nearer than `beta - margin`, negatives farther than
    `beta + margin`. Unlike the margin of a triplet it is the same for all, so distances of different anchors can be
    compared and one threshold will do in search.

    When to use: with a miner that draws triplets by distance, as published; where distances shall have a threshold.

    Learns, with `learn_beta`, `beta (1,)`, or `(C,)` with `beta_per_class`.

    Args:
        margin: half the width of the gap around the boundary.
        nu: the price of a large learned beta, added as `nu * beta`; without it beta may drift.
        beta: the boundary, or where it starts. Unit vectors at right angles have a distance of 1.41.
        learn_beta: whether to learn it.
        beta_per_class: one beta for each class, by the anchor's first label; needs labels and `learn_beta`.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'nonzero' as published, 'mean' (over all parts), 'anchor', or 'sum'.

    Source: Wu et al., 2017; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(MarginLoss()(x, ['a', 'a', 'b']).round(4))
    0.7428
    """

    margin: float = 0.2
    nu: float = 0.0
    beta: float = 1.2
    learn_beta: bool = False
    beta_per_class: bool = False
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        options.settle(
            self,
            margin=options.number(),
            nu=options.number(least=0),
            beta=options.number(),
            learn_beta=options.flag,
            beta_per_class=options.flag,
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )
        if self.beta_per_class and not self.learn_beta:
            raise ArgumentError('beta_per_class=True without learn_beta=True: give both, or leave it out.')

    @property
    def by_class(self) -> tuple[str, ...]:
        """The names of what it learns with one entry per class."""
        return ('beta',) if self.beta_per_class else ()

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns."""
        return ('beta',) if self.learn_beta else ()

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`beta (1,)` or `(C,)`, if it is learned."""
        size = n_classes if self.beta_per_class else 1
        return {'beta': np.full(size, self.beta, np.float32)} if self.learn_beta else {}

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        beta = self.numbers(d, learned)[0] if self.learn_beta else self.beta
        found = pairs(relation, lambda: d)
        towards, away = found.towards, found.away
        if towards is None:  # a positive stands in as many triplets as its anchor has negatives
            zero = xp.zeros_like(d)
            towards = xp.where(found.positives, zero + count(found.negatives, d, axis=1, keepdims=True), 0.0)
            away = xp.where(found.negatives, zero + count(found.positives, d, axis=1, keepdims=True), 0.0)
        times = xp.concatenate([towards, away], axis=1)
        terms = xp.relu(xp.concatenate([d - beta, beta - d], axis=1) + self.margin)
        value = reduce(terms, times > 0, self.reducer, times)
        if not (self.learn_beta and self.nu):
            return value
        triplets = xp.sum(towards, axis=1, keepdims=True)
        if not self.beta_per_class:
            return value + self.nu * xp.where(xp.sum(triplets) > 0, xp.sum(beta), 0.0)
        parts = xp.sum(xp.where(xp.stop_gradient(terms) > 4 * distances.epsilon(d), times, 0.0))
        return value + self.nu * quotient(xp.sum(beta * triplets), parts)
