"""Ranked list: positives within a ball, negatives beyond a larger one."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class RankedListLoss(DistanceLoss):
    """`mean over anchors of (1 - imbalance) * mean_P of (d - alpha + margin) + imbalance * mean_N of (alpha - d)`.

    The means are over the positives farther than `alpha - margin` and the negatives nearer than `alpha`, each weighed
    by `e^(T * what it costs)`. So positives come into a ball of radius `alpha - margin`, which keeps the spread within
    a class, and negatives go beyond `alpha`. The weights have a slope, and are exact at any temperature;
    pytorch-metric-learning adds 1e-5 for every item of the batch to their sum, and leaves out negatives at distance 0.

    When to use: labels with several items of a class in a batch, where classes have a spread worth keeping. Of mined
    triplets every pair counts once.

    Args:
        margin: between the ball of the positives and that of the negatives.
        Tn: how sharply the nearest negatives count; 0 weighs all alike.
        imbalance: the weight of the negatives, 0 to 1.
        alpha: the distance that negatives shall exceed; None is `1 + margin / 2`.
        Tp: how sharply the farthest positives count; 0 weighs all alike.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Wang et al., 2019, whose `margin` and `Tn` these are; other defaults of pytorch-metric-learning, where those
    two must be given.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(RankedListLoss()(x, ['a', 'a', 'b']).round(4))
    0.2207
    """

    margin: float = 0.4
    Tn: float = 10.0
    imbalance: float = 0.5
    alpha: float | None = None
    Tp: float = 0.0
    distance: str = 'euclidean'
    normalize: bool = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            margin=options.number(),
            imbalance=options.number(least=0, most=1),
            alpha=options.optional(options.number()),
            Tn=options.number(least=0),
            Tp=options.number(least=0),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        alpha = 1 + self.margin / 2 if self.alpha is None else self.alpha
        near = _weighed(d - (alpha - self.margin), found.positives, self.Tp)
        far = _weighed(alpha - d, found.negatives, self.Tn)
        rows = (1 - self.imbalance) * near + self.imbalance * far
        # An anchor without any pair is a place that only fills the batch.
        return reduce(rows, xp.any(relation.positives | relation.negatives, axis=1), self.reducer)


def _weighed(cost: Tensor, mask: Tensor, temperature: float) -> Tensor:
    # (N,) the mean of what is above zero, weighed by e^(temperature * cost).
    xp = get_namespace(cost)
    mask = mask & (cost > 0)
    total = masked_logsumexp(temperature * cost, mask)
    weight = xp.exp(xp.where(mask, temperature * cost - total, -1e30))
    return xp.sum(xp.where(mask, weight * cost, 0.0), axis=1)
