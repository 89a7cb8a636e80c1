"""For every anchor the hardest or easiest positive and negative, as the original Finetuner chose them."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.distances import FAR
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor

STRATEGIES = ('hard', 'semihard', 'easy', 'all')


@dataclass(frozen=True)
class TripletEasyHardMiner(Miner):
    """One positive and one negative per anchor; anchors that lack either are dropped.

    | strategy | positive                                     | negative                                     |
    |----------|----------------------------------------------|----------------------------------------------|
    | hard     | the farthest                                 | the nearest                                  |
    | semihard | the farthest nearer than the chosen negative | the nearest farther than the chosen positive |
    | easy     | the nearest                                  | the farthest                                 |
    | all      | all                                          | all                                          |

    Of equals the first is taken, and a distance of zero is a distance like any other.

    When to use: 'hard' with 'semihard' where hinges over all triplets have become mostly zero.

    Args:
        pos_strategy: 'hard', 'semihard', 'easy' or 'all'.
        neg_strategy: the same. Of the two at most one can be 'semihard', and then the other is 'hard' or 'easy'.
        distance: the name of a distance; None takes the loss's own.

    Raises:
        ArgumentError: a strategy is unknown, or the two cannot stand together.

    Source: Hermans, Beyer and Leibe, 2017 (hard); Schroff, Kalenichenko and Philbin, 2015 (semihard).

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> TripletEasyHardMiner()(d, same_class(['a', 'a', 'b', 'b'])).triplets().tolist()
    [[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]]
    """

    pos_strategy: str = 'hard'
    neg_strategy: str = 'hard'
    distance: str | None = None
    both: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strategies(self.pos_strategy, self.neg_strategy)
        options.settle(self, distance=options.optional(options.distance))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the chosen ones in its masks."""
        xp = get_namespace(distances)
        positives, negatives = by_strategy(distances, *self._candidates(relation), self.pos_strategy, self.neg_strategy)
        if self.both:
            whole = xp.any(positives, axis=1, keepdims=True) & xp.any(negatives, axis=1, keepdims=True)
            positives, negatives = positives & whole, negatives & whole
        return relation._replace(
            positives=positives, negatives=negatives, most=relation.most if self.pos_strategy == 'all' else 1
        )

    def _candidates(self, relation: Relation) -> tuple[Tensor, Tensor]:
        return relation.positives, relation.negatives


@dataclass(frozen=True)
class SiameseEasyHardMiner(TripletEasyHardMiner):
    """One positive pair and one negative pair per item, every unordered pair looked at once, from its first item.

    The strategies are those of `TripletEasyHardMiner`; an item that lacks one of the two keeps the other.

    When to use: with `SiameseLoss`, to repeat the original. Late items of a batch see few candidates there;
    `TripletEasyHardMiner` has no such bias, and serves losses on pairs as well.

    Args:
        pos_strategy: 'hard', 'semihard', 'easy' or 'all'.
        neg_strategy: the same. Of the two at most one can be 'semihard', and then the other is 'hard' or 'easy'.
        distance: the name of a distance; None takes the loss's own.

    Raises:
        ArgumentError: a strategy is unknown, or the two cannot stand together.

    Source: the original Finetuner.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> SiameseEasyHardMiner()(d, same_class(['a', 'a', 'b', 'b'])).pairs().tolist()
    [[0, 1, 1], [2, 3, 1], [0, 2, 0], [1, 2, 0]]
    """

    both: ClassVar[bool] = False
    within: ClassVar[bool] = True

    def _candidates(self, relation: Relation) -> tuple[Tensor, Tensor]:
        xp = get_namespace(relation.positives)
        first, second = xp.positions(relation.positives), xp.positions(xp.transpose(relation.positives))
        upper = xp.reshape(first, (-1, 1)) < xp.reshape(second, (1, -1))
        return relation.positives & upper, relation.negatives & upper


def check_strategies(pos_strategy: str, neg_strategy: str) -> None:
    """Whether there are such strategies, and whether they can stand together.

    Raises:
        ArgumentError: they cannot.
    """
    for side, name in (('pos_strategy', pos_strategy), ('neg_strategy', neg_strategy)):
        options.one_of(STRATEGIES)(side, name)
    if 'semihard' in (pos_strategy, neg_strategy):
        other = neg_strategy if pos_strategy == 'semihard' else pos_strategy
        if other in ('semihard', 'all'):
            raise ArgumentError(
                f"'semihard' is measured against the one that the other strategy chose, so that cannot be "
                f"{other!r}: take 'hard' or 'easy' for it."
            )


def by_strategy(
    d: Tensor, positives: Tensor, negatives: Tensor, pos_strategy: str, neg_strategy: str
) -> tuple[Tensor, Tensor]:
    """The masks (N, M) of the positives and negatives that two strategies choose, an anchor at a time."""
    if pos_strategy == 'semihard':
        negatives = _choose(d, negatives, farthest=neg_strategy == 'easy')
        return _choose(d, positives & (d < _distance(d, negatives, missing=-FAR)), farthest=True), negatives
    if pos_strategy != 'all':
        positives = _choose(d, positives, farthest=pos_strategy == 'hard')
    if neg_strategy == 'semihard':
        negatives = negatives & (d > _distance(d, positives, missing=-FAR))
    if neg_strategy != 'all':
        negatives = _choose(d, negatives, farthest=neg_strategy == 'easy')
    return positives, negatives


def _choose(d: Tensor, mask: Tensor, farthest: bool) -> Tensor:
    # (N, M): in every row at most one of `mask`, the farthest or nearest, the first of equals.
    xp = get_namespace(d)
    masked = xp.where(mask, d, -FAR if farthest else FAR)
    best = (xp.max if farthest else xp.min)(masked, axis=1, keepdims=True)
    ties = mask & (masked == best)
    return ties & (xp.cumsum(xp.cast(ties, xp.int32), axis=1) == 1)


def _distance(d: Tensor, chosen: Tensor, missing: float) -> Tensor:
    # (N, 1) the distance of the chosen one, `missing` where none is.
    xp = get_namespace(d)
    value = xp.sum(xp.where(chosen, d, 0.0), axis=1, keepdims=True)
    return xp.where(xp.any(chosen, axis=1, keepdims=True), value, missing)
