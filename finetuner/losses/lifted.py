"""Lifted structure: a positive pair against all negatives of both its members, or of its anchor."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class LiftedStructureLoss(DistanceLoss):
    """`mean over positive pairs of [d_ap - pos_margin + log(sum of e^(neg_margin - d) over negatives)]+^2 / 2`.

    The negatives are those of the anchor and those of the positive: a pair is pushed from what is near to either of
    its ends. Of pairs, and with a memory, the negatives of a positive are the anchors of the batch that have it as a
    negative. A pair without any negative costs nothing.

    When to use: images with a few items per class in a batch, where triplets each with one negative learn slowly. Of
    mined triplets every pair counts as often as it stands in one.

    Args:
        neg_margin: the distance beyond which negatives weigh little; it shifts the sum.
        pos_margin: is taken off the distance of positives.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: how the terms become one number.

    Source: Oh Song et al., 2016; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(LiftedStructureLoss()(x, ['a', 'a', 'b']).round(4))
    1.3428
    """

    neg_margin: float = 1.0
    pos_margin: float = 0.0
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            neg_margin=options.number(),
            pos_margin=options.number(),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        of_anchor = masked_logsumexp(self.neg_margin - d, found.negatives, found.away)
        if candidates is anchors:
            of_positive = xp.transpose(of_anchor)
        else:
            back = found.transpose()
            of_positive = xp.transpose(masked_logsumexp(self.neg_margin - xp.transpose(d), back.negatives, back.away))
        most = xp.maximum(of_anchor, of_positive)
        least = xp.minimum(of_anchor, of_positive)
        cost = xp.relu(most + xp.softplus(least - most) + d - self.pos_margin)
        return reduce(cost * cost / 2, found.positives, self.reducer, found.towards)


@dataclass(frozen=True)
class GeneralizedLiftedStructureLoss(DistanceLoss):
    """`mean over anchors of [log(sum_P e^(d - pos_margin)) + log(sum_N e^(neg_margin - d))]+`.

    The lifted structure with all positives of an anchor at once: smooth maxima instead of the farthest positive and
    the nearest negative. Where an anchor has none of either, that logarithm is 0, as in pytorch-metric-learning.

    When to use: in place of batch-hard triplets, if these collapse or follow wrong labels. Of mined triplets every
    pair counts once.

    Args:
        neg_margin: the distance beyond which negatives weigh little; it shifts the sum.
        pos_margin: is taken off the distance of positives.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Hermans, Beyer and Leibe, 2017; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(GeneralizedLiftedStructureLoss()(x, ['a', 'a', 'b']).round(4))
    0.8288
    """

    neg_margin: float = 1.0
    pos_margin: float = 0.0
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            neg_margin=options.number(),
            pos_margin=options.number(),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        some, others = xp.any(found.positives, axis=1), xp.any(found.negatives, axis=1)
        near = masked_logsumexp(d - self.pos_margin, found.positives, keepdims=False)
        far = masked_logsumexp(self.neg_margin - d, found.negatives, keepdims=False)
        rows = xp.relu(xp.where(some, near, 0.0) + xp.where(others, far, 0.0))
        # An anchor without any pair is a place that only fills the batch.
        return reduce(rows, xp.any(relation.positives | relation.negatives, axis=1), self.reducer)
