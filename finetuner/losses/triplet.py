"""Triplet losses: a positive shall be nearer than a negative by a margin."""

from collections.abc import Callable
from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import distances, options
from finetuner.losses.base import DistanceLoss, Mine
from finetuner.losses.reduce import count, quotient
from finetuner.losses.relation import Relation, place_of
from finetuner.losses.triplets import slopes
from finetuner.typing import Tensor


@dataclass(frozen=True)
class TripletMarginLoss(DistanceLoss):
    """`[d_ap - d_an + margin]+` over all triplets (anchor, positive, negative).

    When to use: many classes with few items each, together with a miner that picks semi-hard triplets. Triplets are
    counted and not listed, so a batch of thousands with all its triplets is no trouble.

    With `swap` or `smooth_loss` there is nothing to count: the positives of an anchor are visited one by one, which
    takes as many times the memory as an anchor has positives. Leave them out with large classes or a memory.

    Args:
        margin: by how much a negative shall be farther than a positive.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'nonzero' (mean over the triplets that still cost something, as in pytorch-metric-learning),
            'mean' (over all), 'anchor', or 'sum'.
        swap: take the positive for the anchor where it is nearer to the negative: `min(d_an, d_pn)` for `d_an`.
        smooth_loss: `log(1 + e^(d_ap - d_an + margin))` for the hinge; triplets in order still teach a little.

    Source: Schroff, Kalenichenko and Philbin, 2015; swap from Balntas et al., 2016; defaults of
    pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(TripletMarginLoss()(x, ['a', 'a', 'b']).round(4))
    0.7571
    """

    margin: float = 0.05
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'nonzero'
    swap: bool = False
    smooth_loss: bool = False

    def __post_init__(self) -> None:
        options.settle(
            self,
            margin=options.number(),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
            swap=options.flag,
            smooth_loss=options.flag,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        d = self.measure(anchors, candidates)
        if not (self.swap or self.smooth_loss):
            return hinge(d, relation, self.margin, self.reducer)
        xp = get_namespace(d)

        def third_side(pick: Tensor) -> Tensor:
            if candidates is anchors:
                return xp.take(d, place_of(pick), axis=0)
            return self.measure(xp.take(candidates, place_of(pick), axis=0), candidates)

        return visited(d, relation, self.margin, self.reducer, self.smooth_loss, third_side if self.swap else None)


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
        options.settle(
            self,
            distance=options.distance,
            margin=options.number(),
            miner=options.mine,
            normalize=options.flag,
            reducer=options.reducer,
        )

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
    if reducer == 'sum':  # which needs no number
        return xp.sum(rows)
    return _reduced(rows, active if reducer == 'nonzero' else _number(relation, d), reducer)


def visited(
    d: Tensor,
    relation: Relation,
    margin: float,
    reducer: str,
    smooth: bool,
    third_side: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The reduced triplet loss of (N, M) distances where it is not linear, positive by positive.

    Args:
        d: (N, M) distances.
        relation: who belongs to whom.
        margin: by how much a negative shall be farther than a positive.
        reducer: how the terms become one number.
        smooth: softplus for the hinge.
        third_side: from one positive per anchor (N, M) its distances to the candidates, (N, M); a negative is as far
            as the nearer of the two. None looks from the anchor alone.
    """
    xp = get_namespace(d)
    cost = xp.softplus if smooth else xp.relu
    total = number = xp.zeros_like(xp.sum(d, axis=1))
    for pick, kept in relation.visit(xp.stop_gradient(d)):
        near = xp.sum(xp.where(pick, d, 0.0), axis=1, keepdims=True)
        far = d if third_side is None else xp.minimum(d, third_side(pick))
        terms = xp.where(kept, cost(near - far + margin), 0.0)
        total = total + xp.sum(terms, axis=1)
        counted = kept & (xp.stop_gradient(terms) > 4 * distances.epsilon(d)) if reducer == 'nonzero' else kept
        number = number + count(counted, d, axis=1)
    return _reduced(total, number, reducer)


def _reduced(rows: Tensor, number: Tensor, reducer: str) -> Tensor:
    # One number from the (N,) sums of the anchors and how many terms each is of.
    xp = get_namespace(rows)
    if reducer == 'sum':
        return xp.sum(rows)
    if reducer == 'anchor':
        return quotient(xp.sum(quotient(rows, number)), count(number > 0, rows))
    return quotient(xp.sum(rows), xp.sum(number))


def _number(relation: Relation, d: Tensor) -> Tensor:
    # (N,) how many triplets each anchor has.
    if not relation.mined:
        return count(relation.positives, d, axis=1) * count(relation.negatives, d, axis=1)
    return slopes(relation, d)[1]
