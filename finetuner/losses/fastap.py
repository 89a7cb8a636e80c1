"""FastAP: average precision, from histograms of distances."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import distances, options
from finetuner.losses.base import Loss
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class FastAPLoss(Loss):
    """`mean over anchors of 1 - AP`, with `AP = 1/|P| * sum over bins of h_P H_P / H`.

    Squared distances of unit vectors, from 0 to 4, are sorted into bins; a distance between the centres of two bins
    counts in both by its nearness, so that there is a slope. `h_P` are the positives in a bin, `H_P` and `H` the
    positives and all candidates up to it. The sum is the average precision of the list of candidates, with ties within
    a bin. An anchor without positives does not count.

    When to use: large batches with several items of a class, where the order of the whole list matters. Its memory
    grows with `num_bins`, not with the positives as that of `SmoothAPLoss`. Of mined triplets every pair counts once.

    Args:
        num_bins: bins between 0 and 4; more follow the order more closely, and leave more pairs without slope.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Cakir et al., 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(FastAPLoss()(x, ['a', 'a', 'b']).round(4))
    0.25
    """

    across: ClassVar[bool] = True
    num_bins: int = 10
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, num_bins=options.whole, reducer=options.reducer)

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) squared distances of directions, or the distance called `name` of them."""
        return distances.between(anchors, candidates, name or 'sqeuclidean', unit=True)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        n = int(self.num_bins)
        cost = near_so_far = far_so_far = xp.zeros_like(d[:, 0])
        for edge in range(n + 1):
            pulse = xp.relu(1 - xp.abs(d * (n / 4) - edge))
            near = xp.sum(xp.where(found.positives, pulse, 0.0), axis=1)
            near_so_far = near_so_far + near
            far_so_far = far_so_far + xp.sum(xp.where(found.negatives, pulse, 0.0), axis=1)
            # Summed is what is lacking, `h_P H_N / H`: it is exact near zero and never below.
            cost = cost + near * quotient(far_so_far, near_so_far + far_so_far)
        rows = quotient(cost, count(found.positives, d, axis=1))
        return reduce(rows, xp.any(found.positives, axis=1), self.reducer)
