"""SmoothAP: average precision, with ranks counted by sigmoids."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import Pairs, pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class SmoothAPLoss(Loss):
    """`mean over anchors of 1 - AP`, with `AP = mean over positives p of rank_P(p) / rank(p)`.

    `rank(p) = 1 + sum over the other candidates j of sigmoid((s_aj - s_ap) / temperature)` counts the candidates that
    are nearer to the anchor than p is, and `rank_P` does so among the positives; `s` are cosines. As in the authors'
    code the anchor stands in its own list, with similarity 1, as one of the positives: of a single positive the loss
    cannot exceed a half by much. An anchor without positives does not count.

    When to use: large batches with several items of a class, where the order of the whole list matters: retrieval.
    It takes a step for each positive that an anchor can have, and as many times the memory; with a `CrossBatchMemory`
    these are all that it holds, so take `FastAPLoss` there. Of mined triplets every pair counts once.

    Args:
        temperature: of the sigmoids; smaller counts more exactly, and leaves more pairs without slope.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Brown et al., 2020; defaults of pytorch-metric-learning, which asks for classes of equal size in order, and
    mixes them up unless there are as many classes as items in each.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(SmoothAPLoss()(x, ['a', 'a', 'b']).round(4))
    0.0833
    """

    across: ClassVar[bool] = True
    temperature: float = 0.01
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, temperature=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        s, listed = with_anchor(s, found, relation.most)
        cost = xp.zeros_like(s[:, 0])
        for pick, negatives in listed.visit():
            own = xp.sum(xp.where(pick, s, 0.0), axis=1, keepdims=True)
            before = xp.sigmoid((s - own) / self.temperature)
            near = 1 + xp.sum(xp.where(listed.positives & ~pick, before, 0.0), axis=1)
            far = xp.sum(xp.where(negatives, before, 0.0), axis=1)
            # Summed is what is lacking of 1, so that it is exact near zero and never below.
            cost = cost + far / (near + far)
        rows = quotient(cost, count(listed.positives, s, axis=1))
        return reduce(rows, xp.any(found.positives, axis=1), self.reducer)


def with_anchor(s: Tensor, found: Pairs, most: int) -> tuple[Tensor, Relation]:
    """(N, 1 + M) similarities and who belongs to whom in them, where each anchor with positives heads its own list.

    Args:
        s: (N, M) cosines.
        found: the pairs that count.
        most: no anchor has more positives than this.
    """
    xp = get_namespace(s)
    some = xp.any(found.positives, axis=1, keepdims=True)
    positives = xp.concatenate([some, found.positives], axis=1)
    negatives = xp.concatenate([some & ~some, found.negatives], axis=1)
    return xp.concatenate([xp.ones_like(s[:, :1]), s], axis=1), Relation(positives, negatives, 1 + most)
