"""Triplet losses: a positive shall be nearer than a negative by a margin."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import distances
from finetuner.losses.base import DistanceLoss, Mine
from finetuner.losses.reduce import check_reducer, count, quotient
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import slopes
from finetuner.typing import Tensor


@dataclass(frozen=True)
class TripletMarginLoss(DistanceLoss):
    """`[d_ap - d_an + margin]+` over all triplets (anchor, positive, negative).

    When to use: many classes with few items each, together with a miner that picks semi-hard triplets.

    Args:
        margin: by how much a negative shall be farther than a positive.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'nonzero' (mean over the triplets that still cost something, as in pytorch-metric-learning),
            'mean' (over all), 'anchor', or 'sum'.

    Source: Schroff, Kalenichenko and Philbin, 2015; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(TripletMarginLoss()(x, ['a', 'a', 'b']).round(4))
    0.7571
    """

    margin: float = 0.05
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        distances.get(self.distance)
        check_reducer(self.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        return hinge(self.measure(anchors, candidates), relation, self.margin, self.reducer)


@dataclass(frozen=True)
class TripletLoss(DistanceLoss):
    """`mean of [d_ap - d_an + margin]+` over all triplets, those at zero included.

    When to use: data made for the original Finetuner, whose names and defaults these are. A margin of 1 is large for
    cosine distances, which end at 2: 0.3 to 0.5 is usual.

    Args:
        distance: 'cosine', 'euclidean' or 'sqeuclidean'.
        margin: by how much a negative shall be farther than a positive.
        miner: narrows the triplets first, for example `TripletEasyHardMiner()`.
        normalize: whether vectors are brought to length 1 first; the original took them as they are.
        reducer: how the terms become one number.

    Source: Schroff, Kalenichenko and Philbin, 2015.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(TripletLoss()(x, ['a', 'a', 'b']).round(4))
    1.5
    """

    distance: str = 'cosine'
    margin: float = 1.0
    miner: Mine | None = None
    normalize: bool = False
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        distances.get(self.distance)
        check_reducer(self.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        return hinge(self.measure(anchors, candidates), relation, self.margin, self.reducer)


def hinge(d: Tensor, relation: Relation, margin: float, reducer: str) -> Tensor:
    """The reduced hinge `[d_ap - d_an + margin]+` of (N, M) distances over the triplets of a relation.

    Among the triplets that cost something it is linear: `sum(pull * d) - sum(push * d) + margin * number`.
    """
    xp = get_namespace(d)
    slope, active = slopes(relation, d, below=margin)
    # As many pulls as pushes: what all distances of a row have in common cancels, and is taken out while it is exact.
    common = xp.stop_gradient(xp.mean(d, axis=1, keepdims=True))
    rows = xp.sum(slope * (d - common), axis=1) + margin * active
    rows = rows - xp.minimum(xp.stop_gradient(rows), 0.0)  # rounding makes no loss negative
    if reducer == 'sum':
        return xp.sum(rows)
    number = active if reducer == 'nonzero' else _number(relation, d)
    if reducer == 'anchor':
        return quotient(xp.sum(quotient(rows, number)), count(number > 0, d))
    return quotient(xp.sum(rows), xp.sum(number))


def _number(relation: Relation, d: Tensor) -> Tensor:
    # (N,) how many triplets each anchor has.
    if not relation.mined:
        return count(relation.positives, d, axis=1) * count(relation.negatives, d, axis=1)
    return slopes(relation, d)[1]
