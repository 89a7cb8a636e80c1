"""Pairs that are informative beside the hardest of the other kind."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.distances import FAR
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class MultiSimilarityMiner(Miner):
    """Positives with `d_ap + epsilon > min d_an` and negatives with `d_an - epsilon < max d_ap`, of every anchor.

    Positives farther than the nearest negative and negatives nearer than the farthest positive are kept, and those
    that miss it by less than `epsilon`. An anchor whose positives all lie clearly before its negatives has learned its
    lesson and is left out, as is one that lacks positives or negatives.

    When to use: with `MultiSimilarityLoss`, for which it was made, or with other losses on pairs once most pairs have
    become easy.

    Args:
        epsilon: how far from the border a pair may be; larger keeps more.
        distance: the name of a distance; None takes the loss's own.

    Source: Wang et al., 2019; defaults of pytorch-metric-learning, which writes the rule with cosine similarities.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.55, 0.9], [0.5, 0.0, 0.9, 0.8], [0.55, 0.9, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> MultiSimilarityMiner()(d, same_class(['a', 'a', 'b', 'b'])).pairs().tolist()
    [[0, 1, 1], [2, 3, 1], [3, 2, 1], [0, 2, 0], [2, 0, 0], [2, 1, 0], [3, 0, 0], [3, 1, 0]]
    """

    epsilon: float = 0.1
    distance: str | None = 'cosine'

    def __post_init__(self) -> None:
        options.settle(self, epsilon=options.number(), distance=options.optional(options.distance))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the informative pairs in its masks."""
        xp = get_namespace(distances)
        nearest = xp.min(xp.where(relation.negatives, distances, FAR), axis=1, keepdims=True)
        farthest = xp.max(xp.where(relation.positives, distances, -FAR), axis=1, keepdims=True)
        return relation._replace(
            positives=relation.positives & (distances + self.epsilon > nearest),
            negatives=relation.negatives & (distances - self.epsilon < farthest),
        )
