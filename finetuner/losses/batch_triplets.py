"""The triplet losses of a whole batch, under the names that sentence-transformers gives them."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.distances import FAR
from finetuner.losses.reduce import count, reduce
from finetuner.losses.relation import Band, Relation
from finetuner.losses.triplet import hinge
from finetuner.losses.triplets import counts, pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class BatchAllTripletLoss(DistanceLoss):
    """`[d_ap - d_an + margin]+` over all triplets, the mean of those that still cost something.

    The same as `TripletMarginLoss`, with the options of sentence-transformers. Triplets are counted and not listed.

    When to use: labels with several items each in a batch, and a setting that comes from sentence-transformers.

    Args:
        margin: by how much a negative shall be farther than a positive. The default is meant for vectors of any length:
            of unit vectors no distance is beyond 2, so 5 is never reached and every triplet pulls forever. With
            `normalize=True`, `distance='cosine'` or a model that gives unit vectors take 0.05 to 0.5.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'nonzero' (mean over the triplets that still cost something), 'mean' (over all), 'anchor', or 'sum'.

    Source: Hermans, Beyer and Leibe, 2017; defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    >>> float(BatchAllTripletLoss()(x, ['a', 'a', 'b']))
    7.5
    """

    margin: float = 5.0
    distance: str = 'euclidean'
    normalize: bool = False
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        options.settle(
            self, margin=options.number(), distance=options.distance, normalize=options.flag, reducer=options.reducer
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        return hinge(self.measure(anchors, candidates), relation, self.margin, self.reducer)


@dataclass(frozen=True)
class BatchHardTripletLoss(DistanceLoss):
    """`mean over anchors of [max_p d_ap - min_n d_an + margin]+`: the farthest positive and the nearest negative.

    When to use: clean labels, and a model that is good already; one wrong label is always the hardest. Early in
    training it can draw all vectors to one point: `BatchSemiHardTripletLoss` is steadier.

    Args:
        margin: by how much a negative shall be farther than a positive. The default is meant for vectors of any length:
            of unit vectors no distance is beyond 2, so 5 is never reached and every anchor pulls forever. With
            `normalize=True`, `distance='cosine'` or a model that gives unit vectors take 0.05 to 0.5.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'mean' over the anchors that have both a positive and a negative (sentence-transformers counts
            anchors without positives as if they had one at distance 0); 'nonzero', over those that still cost
            something; or 'sum'.

    Source: Hermans, Beyer and Leibe, 2017; defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    >>> float(BatchHardTripletLoss()(x, ['a', 'a', 'b']))
    7.5
    """

    margin: float = 5.0
    distance: str = 'euclidean'
    normalize: bool = False
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self, margin=options.number(), distance=options.distance, normalize=options.flag, reducer=options.reducer
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        gap, whole = hardest(self.measure(anchors, candidates), relation)
        return reduce(get_namespace(gap).relu(gap + self.margin), whole, self.reducer)


@dataclass(frozen=True)
class BatchHardSoftMarginTripletLoss(DistanceLoss):
    """`mean over anchors of log(1 + e^(max_p d_ap - min_n d_an))`: batch hard, without a margin to set.

    When to use: where `BatchHardTripletLoss` would do and its margin is hard to find; it goes on teaching a little
    when positives are nearer already. Of unit vectors distances are small: the slope hardly fades there.

    Args:
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'mean' over the anchors that have both a positive and a negative (sentence-transformers counts
            anchors without positives as if they had one at distance 0), or 'sum'.

    Source: Hermans, Beyer and Leibe, 2017; defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    >>> float(BatchHardSoftMarginTripletLoss()(x, ['a', 'a', 'b']).round(4))
    2.8499
    """

    distance: str = 'euclidean'
    normalize: bool = False
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, distance=options.distance, normalize=options.flag, reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        gap, whole = hardest(self.measure(anchors, candidates), relation)
        return reduce(get_namespace(gap).softplus(gap), whole, self.reducer)


@dataclass(frozen=True)
class BatchSemiHardTripletLoss(DistanceLoss):
    """`mean over positive pairs of [d_ap - d_an + margin]+`, with a negative just beyond the positive.

    That is the nearest negative that is farther from the anchor than the positive. Where no negative is farther, the
    farthest one is taken.

    When to use: labels with several items each in a batch. Steadier than `BatchHardTripletLoss`, for it does not look
    at negatives that are nearer than the positive, which may be wrong labels.

    Args:
        margin: by how much a negative shall be farther than a positive. The default is meant for vectors of any length:
            of unit vectors no distance is beyond 2, so 5 is never reached and every pair pulls forever. With
            `normalize=True`, `distance='cosine'` or a model that gives unit vectors take 0.05 to 0.5.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'mean' over the positive pairs whose anchor has a negative, 'nonzero', 'anchor', or 'sum'.

    Source: Schroff, Kalenichenko and Philbin, 2015; defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[0.0, 0.0], [3.0, 0.0], [5.0, 0.0]])
    >>> float(BatchSemiHardTripletLoss()(x, ['a', 'a', 'b']))
    4.5
    """

    margin: float = 5.0
    distance: str = 'euclidean'
    normalize: bool = False
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self, margin=options.number(), distance=options.distance, normalize=options.flag, reducer=options.reducer
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        # Of the sorted negatives, the one behind as many as are not farther than the positive; or else the last.
        rule = Relation(found.positives, found.negatives, relation.most, Band(high=0.0))
        beneath = xp.cast(counts(rule, d)[0], xp.int32)
        last = xp.sum(xp.cast(found.negatives, xp.int32), axis=1, keepdims=True) - 1
        masked = xp.where(found.negatives, d, FAR)
        ordered = xp.take_along_axis(masked, xp.argsort(xp.stop_gradient(masked)), axis=1)
        far = xp.take_along_axis(ordered, xp.maximum(xp.minimum(beneath, last), xp.zeros_like(beneath)), axis=1)
        whole = found.positives & (last >= 0)
        terms = xp.relu(xp.where(whole, d - far, 0.0) + self.margin)
        return reduce(terms, whole, self.reducer, found.towards)


def hardest(d: Tensor, relation: Relation) -> tuple[Tensor, Tensor]:
    """(N,) `max_p d_ap - min_n d_an`, and where an anchor has both; elsewhere the difference is 0.

    Args:
        d: (N, M) distances.
        relation: who belongs to whom.
    """
    xp = get_namespace(d)
    found = pairs(relation, lambda: d)
    whole = (count(found.positives, d, axis=1) > 0) & (count(found.negatives, d, axis=1) > 0)
    farthest = xp.max(xp.where(found.positives, d, -FAR), axis=1)
    nearest = xp.min(xp.where(found.negatives, d, FAR), axis=1)
    return xp.where(whole, farthest, 0.0) - xp.where(whole, nearest, 0.0), whole
