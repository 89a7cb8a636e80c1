"""Angular loss: bound the angle at the negative of every triplet."""

import math
from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor

WIDEST = 65.0  # degrees up to which the sums below stay within float32


@dataclass(frozen=True)
class AngularLoss(Loss):
    """`mean over positive pairs of log(1 + sum over negatives of e^(4 t (a + p) . n - 2 (1 + t) a . p))`.

    `a`, `p` and `n` are directions of anchor, positive and negative, and `t = tan(alpha)^2`. It wants the angle at
    `n`, under which the circle around `a` and `p` is seen, to be less than `alpha`. An angle does not depend on how
    far classes spread, unlike the margin of a distance.

    The sums over the negatives of all pairs are one product of matrices: O(N^2) in memory for a batch of N, and O(M^2)
    where candidates are M others, so keep a memory below ten thousand vectors.

    When to use: classes that spread unequally, where no margin suits all; often together with `NPairsLoss`, as
    published.

    Args:
        alpha: degrees, up to 65; 36 to 55 are usual, smaller asks for more. At 60 a triangle of equal sides is right
            already.
        reducer: 'mean' over positive pairs whose anchor has a negative, 'nonzero', 'anchor', or 'sum'.

    Source: Wang et al., 2017; defaults of pytorch-metric-learning, which takes negatives as long as they are: give it
    unit vectors to compare.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(AngularLoss(alpha=45.0)(x, ['a', 'a', 'b']).round(4))
    4.0181
    """

    alpha: float = 40.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, alpha=options.number(above=0, most=WIDEST), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        t = math.tan(math.radians(self.alpha)) ** 2
        s = cosine_similarity(anchors, candidates)
        third = s if candidates is anchors else cosine_similarity(candidates, candidates)
        found = pairs(relation, lambda: 1 - s)
        # e^(4 t (a + p) . n) is a product of two, so its sum over n is one of matrices. Cosines end at 1.
        far = xp.where(found.negatives, xp.exp(4 * t * (s - 1)), 0.0)
        if found.away is not None:
            far = far * found.away
        total = xp.matmul(far, xp.transpose(xp.exp(4 * t * (third - 1))))
        rest = xp.log(xp.where(total > 0, total, 1.0)) + 8 * t
        some = found.positives & xp.any(found.negatives, axis=1, keepdims=True)
        return reduce(xp.softplus(rest - 2 * (1 + t) * s), some, self.reducer, found.towards)
