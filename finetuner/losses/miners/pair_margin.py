"""Pairs on the wrong side of a margin."""

from dataclasses import dataclass

from finetuner.losses import options
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class PairMarginMiner(Miner):
    """Positives with `d_ap > pos_margin` and negatives with `d_an < neg_margin`.

    When to use: with losses on pairs that have no margin of their own, where the distances that are good enough are
    known.

    Args:
        pos_margin: positives this near are done.
        neg_margin: negatives this far are done.
        distance: the name of the distance that the margins speak of; None takes the loss's own.

    Source: the rule and the defaults of pytorch-metric-learning.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 0.1], [0.9, 0.8, 0.1, 0.0]])
    >>> PairMarginMiner()(d, same_class(['a', 'a', 'b', 'b'])).pairs().tolist()
    [[0, 1, 1], [1, 0, 1], [0, 2, 0], [1, 2, 0], [2, 0, 0], [2, 1, 0]]
    """

    pos_margin: float = 0.2
    neg_margin: float = 0.8
    distance: str | None = 'euclidean'

    def __post_init__(self) -> None:
        options.settle(
            self, pos_margin=options.number(), neg_margin=options.number(), distance=options.optional(options.distance)
        )

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation without the pairs that are done."""
        return relation._replace(
            positives=relation.positives & (distances > self.pos_margin),
            negatives=relation.negatives & (distances < self.neg_margin),
        )
