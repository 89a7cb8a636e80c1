"""Triplets chosen by how much farther the negative is than the positive."""

from dataclasses import dataclass

from finetuner.losses import options
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Band, Relation
from finetuner.typing import Tensor

KINDS = ('all', 'hard', 'semihard', 'easy')


@dataclass(frozen=True)
class TripletMarginMiner(Miner):
    """The triplets with `low < d_an - d_ap <= high`, a band for each type of triplets.

    When to use: with triplet losses; 'semihard' is the steady choice, 'hard' alone may collapse early in training.

    Args:
        margin: of the bands below.
        type_of_triplets: 'all' (up to `margin`), 'hard' (up to 0: the negative is no farther), 'semihard' (beyond 0 up
            to `margin`) or 'easy' (beyond `margin`).
        distance: the name of a distance; None takes the loss's own.

    Source: the rules of pytorch-metric-learning.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> TripletMarginMiner(type_of_triplets='semihard')(d, same_class(['a', 'a', 'b', 'b'])).triplets().tolist()
    [[0, 1, 2]]
    """

    margin: float = 0.2
    type_of_triplets: str = 'all'
    distance: str | None = None

    def __post_init__(self) -> None:
        options.settle(
            self,
            margin=options.number(),
            type_of_triplets=options.one_of(KINDS),
            distance=options.optional(options.distance),
        )

    @property
    def band(self) -> Band:
        """The gaps `d_an - d_ap` that are kept."""
        return {
            'all': Band(high=self.margin),
            'hard': Band(high=min(self.margin, 0.0)),
            'semihard': Band(0.0, self.margin),
            'easy': Band(low=self.margin),
        }[self.type_of_triplets]

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with the band as its rule for triplets."""
        return relation._replace(keep=self.band, distances=distances)
