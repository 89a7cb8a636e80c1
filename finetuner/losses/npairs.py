"""N-pairs: one pair of every class, each told from the pairs of the other classes."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class NPairsLoss(Loss):
    """`mean over classes of -log(e^(a . p) / sum over the classes' p' of e^(a . p'))`, with one pair of each class.

    The pair of a class is its first item `a` and the second, `p`, both as directions; further items of the class are
    left out, and so are classes with one item. Of pairs and sessions, the first that has a certain positive. Where
    candidates are others than the anchors, as in pairs, those that nobody has for a positive are negatives too.

    When to use: to compare with published results. `InfoNCELoss` uses all pairs of a batch and has a temperature; here
    cosines stand as they are, so the loss cannot come near 0.

    Args:
        reducer: how the terms become one number.

    Source: Sohn, 2016, with directions for vectors, as in pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> float(NPairsLoss()(x, ['a', 'a', 'b', 'b']).round(4))
    0.3133
    """

    across: ClassVar[bool] = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        pick = _first(found.positives, axis=1)
        free = ~xp.any(found.positives, axis=0, keepdims=True)
        if relation.within(anchors, candidates):
            row = xp.reshape(xp.positions(s), (-1, 1))
            column = xp.reshape(xp.positions(xp.transpose(s)), (1, -1))
            paired = xp.any((row == column) & xp.any(pick, axis=1, keepdims=True), axis=0, keepdims=True)
            pick = pick & ~xp.any(relation.positives & (column < row) & paired, axis=1, keepdims=True)
            free = free & ~xp.any(row == column, axis=0, keepdims=True)  # only what is remembered
        pick = _first(pick, axis=0)
        others = xp.any(pick, axis=0, keepdims=True) | free
        rivals = found.negatives & others
        return reduce(xp.softplus(masked_logsumexp(s, rivals) - s), pick, self.reducer)


def _first(mask: Tensor, axis: int) -> Tensor:
    # At most one along an axis.
    xp = get_namespace(mask)
    return mask & (xp.cumsum(xp.cast(mask, xp.int32), axis=axis) == 1)
