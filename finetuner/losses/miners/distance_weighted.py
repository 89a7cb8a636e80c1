"""Negatives drawn so that all distances occur alike."""

from dataclasses import dataclass, replace
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.distances import FAR
from finetuner.losses.miners.base import Miner
from finetuner.losses.miners.lots import lots_of, places
from finetuner.losses.relation import Relation, place_of
from finetuner.typing import Layout, Tensor

BELOW_ONE = 1 - 2.0**-20  # a share of the total that rounding does not bring back to the total


@dataclass(frozen=True)
class DistanceWeightedMiner(Miner):
    """Triplets of a positive, each as likely, and a negative, as likely as its distance is rare on the sphere.

    Of points anywhere on the unit sphere, nearly all stand at a distance of 1.4 from each other. Negatives are drawn
    with the weight `1 / q(d)`, `q(d) = d^(dim - 2) (1 - d^2 / 4)^((dim - 3) / 2)` being how often a distance occurs
    there, so that near, middling and far negatives come up alike. Every anchor gets as many triplets as its class has
    items, itself included, each with a positive and a negative of its own. Weights are taken relative to each
    anchor's largest; pytorch-metric-learning takes the largest of the batch, where those of other anchors vanish.

    When to use: with `MarginLoss`, for which it was made, or with triplet losses; it needs neither the hardest
    negatives, which are noise, nor the easy ones, which teach nothing.

    Args:
        cutoff: distances below count as this one: so near, negatives are few and their slopes are noise.
        nonzero_loss_cutoff: negatives from here on are left out.
        dim: the size of the vectors; None takes that of the embeddings, and must be given where the miner is called by
            hand.

    Raises:
        ArgumentError: when it is called, there are no lots, or `dim` is not known.

    Source: Wu et al., 2017; defaults of pytorch-metric-learning.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 1.9], [0.5, 0.0, 0.6, 1.9], [0.6, 0.6, 0.0, 1.0], [1.9, 1.9, 1.0, 0.0]])
    >>> lots = np.random.default_rng(0).random((4, 4), 'float32')
    >>> DistanceWeightedMiner(dim=8)(d, same_class(['a', 'a', 'b', 'c'])._replace(lots=lots)).triplets().tolist()
    [[0, 1, 2], [0, 1, 2], [1, 0, 2], [1, 0, 2]]
    """

    cutoff: float = 0.5
    nonzero_loss_cutoff: float = 1.4
    dim: int | None = None
    distance = 'euclidean'
    unit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.settle(
            self,
            cutoff=options.number(above=0),
            nonzero_loss_cutoff=options.number(above=0),
            dim=options.optional(options.whole),
        )

    def lots(self, layout: Layout) -> int:
        """Two for each triplet."""
        return 2 * (layout.most + 1)

    def prepared(self, dim: int) -> 'DistanceWeightedMiner':
        """The miner with that `dim`, where it has none."""
        return self if self.dim is not None else replace(self, dim=dim)

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with the drawn triplets."""
        xp = get_namespace(distances)
        lots = lots_of(relation, 2, type(self).__name__)
        number = xp.sum(xp.cast(relation.positives, xp.int32), axis=1, keepdims=True)
        order = xp.cumsum(xp.cast(relation.positives, xp.int32), axis=1)
        upto = xp.cumsum(self._weights(distances, relation.negatives), axis=1)
        total = xp.max(upto, axis=1, keepdims=True)
        near, far = [], []
        # A memory may hold more positives than there are lots: then those say how many triplets there are.
        for step in range(min(lots.shape[1] // 2, relation.most + 1)):
            lot, share = lots[:, 2 * step : 2 * step + 1], lots[:, 2 * step + 1 : 2 * step + 2]
            there = (number >= max(step, 1)) & (total > 0)
            pick = relation.positives & (order == places(lot, number) + 1)
            bound = xp.cast(share, total.dtype) * total * BELOW_ONE
            negative = xp.sum(xp.cast(upto <= bound, xp.int32), axis=1, keepdims=True)
            none = xp.zeros_like(negative) - 1
            near.append(xp.where(there, xp.reshape(place_of(pick), (-1, 1)), none))
            far.append(xp.where(there, negative, none))
        return relation._replace(drawn=(xp.concatenate(near, axis=1), xp.concatenate(far, axis=1)))

    def _weights(self, d: Tensor, negatives: Tensor) -> Tensor:
        # (N, M) up to a factor for each row, 0 where there is nothing to draw.
        if self.dim is None:
            raise ArgumentError('The weights depend on the size of the vectors: DistanceWeightedMiner(dim=128), say.')
        xp = get_namespace(d)
        d = xp.maximum(d, self.cutoff)
        rest = 1 - d * d / 4
        drawable = negatives & (d < self.nonzero_loss_cutoff) & (rest > 0)
        logs = (2 - self.dim) * xp.log(d) - (self.dim - 3) / 2 * xp.log(xp.where(rest > 0, rest, 1.0))
        top = xp.max(xp.where(drawable, logs, -FAR), axis=1, keepdims=True)
        return xp.where(drawable, xp.exp(xp.where(drawable, logs - top, 0.0)), 0.0)
