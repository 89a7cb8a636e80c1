"""Multi-similarity: soft sums over positives and negatives, each weighed by how wrong it is."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class MultiSimilarityLoss(Loss):
    """`mean over anchors of log(1 + sum_P e^(-alpha (s - base))) / alpha + log(1 + sum_N e^(beta (s - base))) / beta`.

    When to use: images with a few items per class in a batch; it needs no miner and no margin. Of mined triplets every
    pair counts once.

    Args:
        alpha: how sharply the hardest positive counts.
        beta: how sharply the hardest negative counts.
        base: the similarity that positives shall exceed and negatives shall stay below.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Wang et al., 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(MultiSimilarityLoss()(x, ['a', 'a', 'b']).round(4))
    0.7711
    """

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            alpha=options.number(above=0),
            beta=options.number(above=0),
            base=options.number(),
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        near = masked_logsumexp(self.alpha * (self.base - s), found.positives, keepdims=False)
        far = masked_logsumexp(self.beta * (s - self.base), found.negatives, keepdims=False)
        rows = xp.softplus(near) / self.alpha + xp.softplus(far) / self.beta
        # An anchor without any pair is a place that only fills the batch.
        return reduce(rows, xp.any(relation.positives | relation.negatives, axis=1), self.reducer)
