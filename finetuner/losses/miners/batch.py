"""For every anchor a positive and a negative by strategy, as pytorch-metric-learning names and orders them."""

from dataclasses import dataclass
from numbers import Real

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.miners.base import Miner
from finetuner.losses.miners.easyhard import by_strategy, check_strategies
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor

Range = tuple[float, float] | None


@dataclass(frozen=True)
class BatchEasyHardMiner(Miner):
    """One positive and one negative per anchor, each by a strategy; anchors that lack either are dropped.

    | strategy | positive                                     | negative                                     |
    |----------|----------------------------------------------|----------------------------------------------|
    | hard     | the farthest                                 | the nearest                                  |
    | semihard | the farthest nearer than the chosen negative | the nearest farther than the chosen positive |
    | easy     | the nearest                                  | the farthest                                 |
    | all      | all                                          | all                                          |

    With 'all' on either side pairs of both kinds are chosen for themselves, and no anchor is dropped.

    When to use: the default, an easy positive with a semi-hard negative, where classes have several modes, so that not
    all members of a class must come together.

    Args:
        pos_strategy: 'hard', 'semihard', 'easy' or 'all'.
        neg_strategy: the same. Of the two at most one can be 'semihard', and then the other is 'hard' or 'easy'.
        allowed_pos_range: (low, high), the distances that positives may have, both included; None allows all.
        allowed_neg_range: the same of negatives.
        distance: the name of a distance; None takes the loss's own.

    Raises:
        ArgumentError: a strategy is unknown, the two cannot stand together, or a range is none.

    Source: Xuan, Stylianou and Pless, 2020 (easy positives); Hermans, Beyer and Leibe, 2017 (hard); defaults of
    pytorch-metric-learning, which ignores the range of a side that takes 'all'.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> BatchEasyHardMiner()(d, same_class(['a', 'a', 'b', 'b'])).triplets().tolist()
    [[0, 1, 2], [1, 0, 3]]
    """

    pos_strategy: str = 'easy'
    neg_strategy: str = 'semihard'
    allowed_pos_range: Range = None
    allowed_neg_range: Range = None
    distance: str | None = None

    def __post_init__(self) -> None:
        check_strategies(self.pos_strategy, self.neg_strategy)
        options.settle(self, distance=options.optional(options.distance))
        for name in ('allowed_pos_range', 'allowed_neg_range'):
            object.__setattr__(self, name, _range(name, getattr(self, name)))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the chosen ones in its masks."""
        xp = get_namespace(distances)
        positives, negatives = by_strategy(
            distances,
            _within(distances, relation.positives, self.allowed_pos_range),
            _within(distances, relation.negatives, self.allowed_neg_range),
            self.pos_strategy,
            self.neg_strategy,
        )
        if 'all' not in (self.pos_strategy, self.neg_strategy):
            whole = xp.any(positives, axis=1, keepdims=True) & xp.any(negatives, axis=1, keepdims=True)
            positives, negatives = positives & whole, negatives & whole
        most = relation.most if self.pos_strategy == 'all' else 1
        return relation._replace(positives=positives, negatives=negatives, most=most)


@dataclass(frozen=True)
class BatchHardMiner(Miner):
    """The farthest positive and the nearest negative of every anchor; anchors that lack either are dropped.

    When to use: with triplet losses on batches of a few items of each of many classes. Alone it may collapse early in
    training, where semi-hard triplets are steadier.

    Args:
        distance: the name of a distance; None takes the loss's own.

    Source: Hermans, Beyer and Leibe, 2017.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.6, 0.9], [0.5, 0.0, 0.4, 0.8], [0.6, 0.4, 0.0, 1.0], [0.9, 0.8, 1.0, 0.0]])
    >>> BatchHardMiner()(d, same_class(['a', 'a', 'b', 'b'])).triplets().tolist()
    [[0, 1, 2], [1, 0, 2], [2, 3, 1], [3, 2, 1]]
    """

    distance: str | None = None

    def __post_init__(self) -> None:
        options.settle(self, distance=options.optional(options.distance))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the chosen ones in its masks."""
        return BatchEasyHardMiner('hard', 'hard')(distances, relation)


def _range(name: str, given: Range) -> Range:
    if given is None:
        return None
    pair = isinstance(given, list | tuple) and len(given) == 2 and all(isinstance(bound, Real) for bound in given)
    if not pair or not given[0] <= given[1]:
        raise ArgumentError(f'{name}={given!r}: expected two distances (low, high), such as (0.2, 1.0).')
    return float(given[0]), float(given[1])


def _within(d: Tensor, mask: Tensor, allowed: Range) -> Tensor:
    return mask if allowed is None else mask & (d >= allowed[0]) & (d <= allowed[1])
