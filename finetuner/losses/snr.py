"""Signal to noise: a contrastive loss on the variance of a difference, relative to that of the anchor."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import distances, options
from finetuner.losses.base import Loss
from finetuner.losses.distances import epsilon, normalize
from finetuner.losses.reduce import quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class SignalToNoiseRatioContrastiveLoss(Loss):
    """`mean of [d - pos_margin]+ over positives, plus mean of [neg_margin - d]+ over negatives`, `d` noise to signal.

    `d = var(x_a - x_b) / var(x_a)`, the variances taken over the components of vectors of length 1: the anchor is the
    signal, the difference the noise. An anchor whose components are all equal, zero among them, is no signal: its pairs
    do not count, where pytorch-metric-learning's loss is infinite.

    When to use: in place of `ContrastiveLoss`, if its distances look at lengths and means that carry nothing. Of mined
    triplets every pair counts as often as it stands in one.

    Args:
        pos_margin: positives nearer than this are left alone.
        neg_margin: negatives farther than this are left alone; unrelated vectors are at a distance of about 2.
        reducer: how the terms of each half become one number; 'nonzero' as in pytorch-metric-learning.

    Source: Yuan et al., 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    >>> float(SignalToNoiseRatioContrastiveLoss()(x, ['a', 'a', 'b']).round(4))
    8.32
    """

    pos_margin: float = 0.0
    neg_margin: float = 1.0
    reducer: str = 'nonzero'

    def __post_init__(self) -> None:
        options.settle(self, pos_margin=options.number(), neg_margin=options.number(), reducer=options.reducer)

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) noise-to-signal ratios, 0 where there is no signal; or the distance called `name` of directions."""
        if name is not None:
            return distances.between(anchors, candidates, name, unit=True)
        return _ratio(anchors, candidates)[0]

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d, some = _ratio(anchors, candidates)
        found = pairs(relation, lambda: d)
        near = reduce(xp.relu(d - self.pos_margin), found.positives & some, self.reducer, found.towards)
        far = reduce(xp.relu(self.neg_margin - d), found.negatives & some, self.reducer, found.away)
        return near + far


def _ratio(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    # (N, M) var(a - b) / var(a), and (N, 1) whether var(a) is more than rounding. The number of components cancels.
    xp = get_namespace(anchors)
    a, b = normalize(anchors), normalize(candidates)
    a, b = a - xp.mean(a, axis=1, keepdims=True), b - xp.mean(b, axis=1, keepdims=True)
    signal = xp.sum(a * a, axis=1, keepdims=True)
    some = signal > 4 * epsilon(signal)
    return quotient(distances.sqeuclidean(a, b), xp.where(some, signal, 0.0)), some
