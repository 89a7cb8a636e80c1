"""What a miner is: from distances and a relation to the part of it that teaches most."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


class Miner(ABC):
    """Narrows a relation. Pair miners narrow its masks; triplet miners give it a rule for triplets.

    Subclasses are frozen dataclasses. Miners see distances without gradient.

    Attributes:
        distance: the name of the distance to judge by; None takes the loss's own.
        within: whether candidates must be the batch itself.
    """

    distance: str | None = None
    within: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The mined relation.

        Args:
            distances: (N, M).
            relation: who belongs to whom.
        """


@dataclass(frozen=True)
class AllMiner(Miner):
    """Every pair and every triplet: leaves the relation as it is.

    When to use: never needed. The original's SiameseMiner, TripletMiner, SiameseSessionMiner and TripletSessionMiner
    are this, for here a relation holds all pairs and triplets of classes and of sessions from the start.

    >>> from finetuner.losses.miners import TripletMiner
    >>> TripletMiner()
    AllMiner()
    """

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation as it came."""
        return relation
