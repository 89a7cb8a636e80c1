"""Supervised contrastive: tell the positives of an anchor from everything else in the batch."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import count, masked_logsumexp, quotient, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class SupConLoss(Loss):
    """`mean over anchors of the mean over P of -log(e^(s_ap/T) / sum over positives and negatives of e^(s_aj/T))`.

    `s` are cosines. The positives of an anchor compete with each other, which makes them equally near to it;
    `InfoNCELoss` holds each of them against the negatives alone. With one positive per anchor both are the same. An
    anchor without positives, or with nothing beside its one positive, does not count. A batch of one class still has a
    slope: it evens out the positives.

    When to use: labels with several items of a class in a batch, the larger the batch the better. Of mined triplets
    every pair counts once.

    Args:
        temperature: T; smaller looks harder at the nearest.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Khosla et al., 2020; defaults of pytorch-metric-learning, whose mean over terms above zero this is: all are.
    For a batch of one class it gives 0.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(SupConLoss(temperature=1.0)(x, ['a', 'a', 'b']).round(4))
    0.6178
    """

    across: ClassVar[bool] = True
    temperature: float = 0.1
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, temperature=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        cosine = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - cosine)
        s = cosine / self.temperature
        near = masked_logsumexp(s, found.positives)
        far = masked_logsumexp(s, found.negatives)
        number = count(found.positives, s, axis=1)
        among = xp.sum(xp.where(found.positives, near - s, 0.0), axis=1)
        # In two parts, each exact near zero: positives among themselves, and all of them against the negatives.
        rows = quotient(among, number) + xp.softplus(far - near)[:, 0]
        counts = (number > 0) & (number + count(found.negatives, s, axis=1) > 1)
        return reduce(rows, counts, self.reducer)
