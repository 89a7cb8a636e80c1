"""Online contrastive loss: of all pairs, only those that are in the wrong order."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import distances, options
from finetuner.losses.base import DistanceLoss
from finetuner.losses.distances import FAR
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class OnlineContrastiveLoss(DistanceLoss):
    """`sum of d^2 over hard positives, plus sum of [margin - d]+^2 over hard negatives`.

    A positive is hard if it is farther than the nearest negative pair of the batch, a negative if it is nearer than
    the farthest positive pair. Where the batch has no negatives, hard positives are those beyond their mean distance;
    where it has no positives, hard negatives are those below theirs.

    When to use: pairs that are mostly easy, where `ContrastiveLoss` and `SiameseLoss` average over what is learned
    already; for example duplicates of questions.

    Args:
        margin: negatives farther than this are left alone.
        distance: 'cosine', 'euclidean' or 'sqeuclidean'.
        normalize: whether vectors are brought to length 1 first.
        reducer: 'sum' is sentence-transformers' value, which grows with the batch; 'mean' (over the hard pairs) keeps
            one learning rate right for all sizes of batch; or 'nonzero', 'anchor'.

    Source: defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(OnlineContrastiveLoss()(x, ['a', 'a', 'b']))
    2.5
    """

    margin: float = 0.5
    distance: str = 'cosine'
    normalize: bool = True
    reducer: str = 'sum'

    def __post_init__(self) -> None:
        options.settle(
            self, margin=options.number(), distance=options.distance, normalize=options.flag, reducer=options.reducer
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        d = self.measure(anchors, candidates)
        found = pairs(relation, lambda: d)
        near, far = found.positives, found.negatives
        judged = xp.stop_gradient(d)
        farthest = xp.where(xp.any(near), xp.max(xp.where(near, judged, -FAR)), _mean(judged, far))
        nearest = xp.where(xp.any(far), xp.min(xp.where(far, judged, FAR)), _mean(judged, near))
        # Of cosines equal distances differ by rounding, and each library rounds in its own way.
        slack = 4 * distances.epsilon(d) if self.distance == 'cosine' else 0.0
        hard = (near & (judged > nearest + slack)) | (far & (judged < farthest - slack))
        wrong = xp.where(near, d, xp.relu(self.margin - d))
        times = None if found.towards is None else xp.where(near, found.towards, found.away)
        return reduce(wrong * wrong, hard, self.reducer, times)


def _mean(d: Tensor, mask: Tensor) -> Tensor:
    return quotient(get_namespace(d).sum(get_namespace(d).where(mask, d, 0.0)), count(mask, d))
