"""What a miner is: from distances and a relation to the part of it that teaches most."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from finetuner.losses.relation import Relation
from finetuner.typing import Layout, Tensor


class Miner(ABC):
    """Narrows a relation. Pair miners narrow its masks; triplet miners give it a rule for triplets.

    Subclasses are frozen dataclasses. Miners see distances without gradient.

    Attributes:
        distance: the name of the distance to judge by; None takes the loss's own.
        unit: whether it judges directions, even where the loss takes vectors as they are.
        within: whether candidates must be the batch itself.
        guided: whether it needs a guide, see `Relation.guide`.
        third_side: whether it looks at `Relation.between`, the distances between candidates.
        by_value: whether it asks the loss itself: then `choose` stands in for the call.
        packaged: whether it goes by the places in the batch, which only people's own training code can see to.
    """

    distance: str | None = None
    unit: ClassVar[bool] = False
    within: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    third_side: ClassVar[bool] = False
    by_value: ClassVar[bool] = False
    packaged: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The mined relation.

        Args:
            distances: (N, M).
            relation: who belongs to whom.
        """

    def choose(self, value: Callable[[Relation], Tensor], relation: Relation) -> Relation:
        """The mined relation, where `by_value`.

        Args:
            value: the loss of the batch with another relation, a scalar.
            relation: who belongs to whom.
        """
        raise NotImplementedError

    def lots(self, layout: Layout) -> int:
        """How many random numbers it needs for each anchor of such batches, see `Relation.lots`; most need none."""
        return 0

    def prepared(self, dim: int) -> 'Miner':
        """The miner for vectors of `dim` numbers; most do not care."""
        return self


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
