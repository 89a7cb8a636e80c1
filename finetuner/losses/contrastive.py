"""Contrastive losses: pull related pairs together, push unrelated ones beyond a margin."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import DistanceLoss, Mine
from finetuner.losses.reduce import reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class ContrastiveLoss(DistanceLoss):
    """`mean of [d - pos_margin]+ over positives, plus mean of [neg_margin - d]+ over negatives`.

    When to use: few labels, pairs you trust, and distances that shall mean something in themselves.

    Args:
        pos_margin: positives nearer than this are left alone.
        neg_margin: negatives farther than this are left alone.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: how the terms of each half become one number; 'nonzero' as in pytorch-metric-learning.

    Source: Hadsell, Chopra and LeCun, 2006; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(ContrastiveLoss()(x, ['a', 'a', 'b']).round(4))
    2.4142
    """

    pos_margin: float = 0.0
    neg_margin: float = 1.0
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        options.settle(
            self,
            pos_margin=options.number(),
            neg_margin=options.number(),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        near = reduce(xp.relu(d - self.pos_margin), found.positives, self.reducer, found.towards)
        far = reduce(xp.relu(self.neg_margin - d), found.negatives, self.reducer, found.away)
        return near + far


@dataclass(frozen=True)
class SiameseLoss(DistanceLoss):
    """`mean over all pairs of y * d + (1 - y) * [margin - d]+`, with y = 1 for positives.

    When to use: data made for the original Finetuner, whose names and defaults these are; otherwise `InfoNCELoss`.
    `SiameseLoss(margin=0.5, squared=True)` is the ContrastiveLoss of sentence-transformers.

    Args:
        distance: 'cosine', 'euclidean' or 'sqeuclidean'.
        margin: negatives farther than this are left alone.
        miner: narrows the pairs first, for example `SiameseEasyHardMiner()`.
        normalize: whether vectors are brought to length 1 first; the original took them as they are.
        reducer: how the terms become one number.
        squared: take half the square of each term, as published: far positives and near negatives count more.

    Source: Hadsell, Chopra and LeCun, 2006, and without the squares the original Finetuner.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(SiameseLoss()(x, ['a', 'a', 'b']).round(4))
    0.6667
    """

    distance: str = 'cosine'
    margin: float = 1.0
    miner: Mine | None = None
    normalize: bool = False
    reducer: str = 'mean'
    squared: bool = False

    def __post_init__(self) -> None:
        options.settle(
            self,
            distance=options.distance,
            margin=options.number(),
            miner=options.mine,
            normalize=options.flag,
            reducer=options.reducer,
            squared=options.flag,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        terms = xp.where(found.positives, d, xp.relu(self.margin - d))
        if self.squared:
            terms = terms * terms / 2
        times = None if found.towards is None else xp.where(found.positives, found.towards, found.away)
        return reduce(terms, found.positives | found.negatives, self.reducer, times)
