"""Threshold-consistent margin: one threshold shall tell positives from negatives in every class."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class ThresholdConsistentMarginLoss(Loss):
    """`lambda_plus * mean over P of [margin_plus - s]+ + lambda_minus * mean over N of [s - margin_minus]+`.

    P and N are the positive and negative pairs of the batch and `s` their cosines. Only pairs on the wrong side of
    their margin count, in the mean too: hard pairs have the same say however few they are. So all classes come to the
    same threshold of similarity, which calibrates them.

    When to use: beside another loss, as `MultipleLosses` allows, if one threshold for "the same" is to hold for all
    classes. Alone it is a contrastive loss on cosines. Of mined triplets every pair counts as often as it stands in
    one.

    Args:
        lambda_plus: weight of the positives.
        lambda_minus: weight of the negatives.
        margin_plus: the similarity that positives shall have.
        margin_minus: the similarity that negatives shall stay below.
        reducer: how the terms of each half become one number; 'nonzero' as published.

    Source: Zhang et al., 2023; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(ThresholdConsistentMarginLoss()(x, ['a', 'a', 'b']).round(4))
    0.6
    """

    lambda_plus: float = 1.0
    lambda_minus: float = 1.0
    margin_plus: float = 0.9
    margin_minus: float = 0.5
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        options.settle(
            self,
            lambda_plus=options.number(least=0),
            lambda_minus=options.number(least=0),
            margin_plus=options.number(),
            margin_minus=options.number(),
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        near = reduce(xp.relu(self.margin_plus - s), found.positives, self.reducer, found.towards)
        far = reduce(xp.relu(s - self.margin_minus), found.negatives, self.reducer, found.away)
        return self.lambda_plus * near + self.lambda_minus * far
