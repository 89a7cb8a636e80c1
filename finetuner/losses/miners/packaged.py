"""Triplets that stand one after the other in the batch."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class EmbeddingsAlreadyPackagedAsTriplets(Miner):
    """The triplets of rows (0, 1, 2), (3, 4, 5), …: anchor, positive, negative.

    Labels do not matter, but for places that only fill the batch.

    When to use: in your own training code, where batches are made of triplets. `fit` needs no miner for them: give it
    rows `(anchor, positive, negative)`.

    Source: the name of pytorch-metric-learning.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> EmbeddingsAlreadyPackagedAsTriplets()(
    ...     np.zeros((6, 6)), same_class(['a', 'b', 'c', 'd', 'e', 'f'])
    ... ).triplets().tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    within: ClassVar[bool] = True
    packaged: ClassVar[bool] = True

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the packaged pairs in its masks."""
        xp = get_namespace(relation.positives)
        related = relation.positives | relation.negatives
        real = xp.any(related, axis=1, keepdims=True) & xp.any(related, axis=0, keepdims=True)
        anchor = xp.reshape(xp.positions(relation.positives), (-1, 1))
        other = xp.reshape(xp.positions(xp.transpose(relation.positives)), (1, -1))
        first = real & (anchor % 3 == 0)
        positives, negatives = first & (other == anchor + 1), first & (other == anchor + 2)
        whole = xp.any(positives, axis=1, keepdims=True) & xp.any(negatives, axis=1, keepdims=True)
        return relation._replace(positives=positives & whole, negatives=negatives & whole, most=1)
