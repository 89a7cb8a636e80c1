"""PNP: the fewer negatives stand before a positive, the better."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import count, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.smoothap import with_anchor
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor

VARIANTS = ('O', 'Ds', 'Dq', 'Iu', 'Ib')


@dataclass(frozen=True)
class PNPLoss(Loss):
    """`mean over anchors of the mean over P of f(r_p)`, with `r_p = sum over N of sigmoid((s_an - s_ap) / anneal)`.

    `r_p` counts the negatives that are nearer to the anchor than the positive p is; `s` are cosines. The variant says
    how such a place is judged:

    | variant | f(r) | |
    |---|---|---|
    | O | `r` | all negatives alike |
    | Ds | `log(1 + r)` | positives far down the list pull less, slowly |
    | Dq | `1 - (1 + r)^-alpha` | positives far down the list pull less, quickly: the top of the list counts |
    | Iu | `(1 + r) log(1 + r)` | positives far down the list pull more, without bound |
    | Ib | `(b r - log(1 + b r)) / b^2` | positives far down the list pull more, up to `1 / b` |

    As in the authors' code the anchor stands in its own list, with similarity 1, as one of the positives. An anchor
    without positives does not count; pytorch-metric-learning lets it lower the mean.

    When to use: large batches with several items of a class, where the order of the whole list matters: retrieval. The
    authors advise Ds or Dq where a class has several clusters, as real ones do. It takes a step for each positive that
    an anchor can have, and as many times the memory; with a `CrossBatchMemory` these are all that it holds, so take
    `FastAPLoss` there. Of mined triplets every pair counts once.

    Args:
        b: of variant Ib.
        alpha: of variant Dq.
        anneal: temperature of the sigmoids; smaller counts more exactly, and leaves more pairs without slope.
        variant: 'O', 'Ds', 'Dq', 'Iu' or 'Ib'.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Li et al., 2022; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(PNPLoss(variant='Dq')(x, ['a', 'a', 'b']).round(4))
    0.125
    """

    across: ClassVar[bool] = True
    b: float = 2.0
    alpha: float = 1.0
    anneal: float = 0.01
    variant: str = 'O'
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            b=options.number(above=0),
            alpha=options.number(above=0),
            anneal=options.number(above=0),
            variant=options.one_of(VARIANTS),
            reducer=options.reducer,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        s, listed = with_anchor(s, found, relation.most)
        cost = xp.zeros_like(s[:, 0])
        for pick, negatives in listed.visit():
            own = xp.sum(xp.where(pick, s, 0.0), axis=1, keepdims=True)
            before = xp.sum(xp.where(negatives, xp.sigmoid((s - own) / self.anneal), 0.0), axis=1)
            cost = cost + self._judge(before)  # nothing where there is no positive at this step
        rows = quotient(cost, count(listed.positives, s, axis=1))
        return reduce(rows, xp.any(found.positives, axis=1), self.reducer)

    def _judge(self, r: Tensor) -> Tensor:
        xp = get_namespace(r)
        if self.variant == 'O':
            return r
        if self.variant == 'Ds':
            return xp.log(1 + r)
        if self.variant == 'Dq':
            return 1 - xp.exp(-self.alpha * xp.log(1 + r))
        if self.variant == 'Iu':
            return (1 + r) * xp.log(1 + r)
        return xp.relu(self.b * r - xp.log(1 + self.b * r)) / self.b**2  # rounding makes no loss negative
