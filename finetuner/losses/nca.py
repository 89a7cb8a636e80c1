"""NCA: the chance that an item would choose one of its own among all others."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class NCALoss(DistanceLoss):
    """`mean over anchors of -log(sum over positives of e^(-k d) / sum over all others of e^(-k d))`.

    `k` is `softmax_scale` and `d` the squared distance. Only the sum over the positives counts, so one near positive
    is enough and the others may lie elsewhere. Neighbourhood components analysis.

    When to use: classes that fall into several clusters, and search that looks at the nearest few; with `SupConLoss`
    every positive is drawn near.

    Args:
        softmax_scale: k; larger looks only at the nearest. With unit vectors 1 is soft: try 10.
        distance: 'sqeuclidean', 'euclidean' or 'cosine'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'mean' over the anchors that have a positive (without any it is 0, where pytorch-metric-learning
            gives nan), 'nonzero', or 'sum'.

    Source: Goldberger et al., 2004; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(NCALoss()(x, ['a', 'a', 'b']).round(4))
    1.41
    """

    softmax_scale: float = 1.0
    distance: str = 'sqeuclidean'
    normalize: bool = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            softmax_scale=options.number(above=0),
            distance=options.distance,
            normalize=options.flag,
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        near = masked_logsumexp(-self.softmax_scale * d, found.positives, found.towards, keepdims=False)
        far = masked_logsumexp(-self.softmax_scale * d, found.negatives, found.away, keepdims=False)
        some = xp.any(found.positives, axis=1)
        return reduce(xp.softplus(xp.where(some, far - near, 0.0)), some, self.reducer)
