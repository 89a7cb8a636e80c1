"""The part of a batch that costs most."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.miners.base import Miner
from finetuner.losses.miners.lots import lots_of
from finetuner.losses.relation import Relation
from finetuner.typing import Layout, Tensor


@dataclass(frozen=True)
class MaximumLossMiner(Miner):
    """Of `num_trials` random parts of the batch the one whose loss is largest.

    A part holds `output_batch_size` anchors, drawn without replacement, against each other; of pairs, against the other
    columns of their rows. What a memory holds stays. Trials have no slope: only the chosen part is learned from.

    When to use: rarely. Hard batches without any rule about pairs or triplets, for the price of one evaluation of the
    loss for each trial.

    Args:
        output_batch_size: the size of a part; None takes half of the batch.
        num_trials: how many parts are tried.

    Raises:
        ArgumentError: a number is not positive; or, when it is called, there are no lots.

    Source: earlier versions of pytorch-metric-learning, which left `output_batch_size` to the user.

    >>> from finetuner.losses import TripletMarginLoss, base
    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> x, lots = np.eye(4), np.random.default_rng(0).random((4, 2), 'float32')
    >>> relation = same_class(['a', 'a', 'b', 'a'])._replace(lots=lots)
    >>> base.mine(MaximumLossMiner(3, num_trials=2), TripletMarginLoss(), x, x, relation).triplets().tolist()
    [[1, 3, 2], [3, 1, 2]]
    """

    output_batch_size: int | None = None
    num_trials: int = 5
    by_value: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.settle(self, output_batch_size=options.optional(options.whole), num_trials=options.whole)

    def lots(self, layout: Layout) -> int:
        """One for each trial."""
        return self.num_trials

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """Not from distances alone.

        Raises:
            ArgumentError: always; says what to do.
        """
        raise ArgumentError(
            'MaximumLossMiner asks the loss: give it to fit(miner=…) or to Objective(loss, miner), or call '
            'finetuner.losses.base.mine(miner, loss, anchors, candidates, relation).'
        )

    def choose(self, value: Callable[[Relation], Tensor], relation: Relation) -> Relation:
        """The relation with only the pairs of the part that costs most."""
        xp = get_namespace(relation.positives)
        lots = lots_of(relation, self.num_trials, type(self).__name__)
        real = xp.any(relation.positives | relation.negatives, axis=1)
        number = xp.sum(xp.cast(real, xp.int32))
        chosen = cost = None
        for trial in range(self.num_trials):
            place = xp.argsort(xp.argsort(xp.reshape(xp.where(real, lots[:, trial], 2.0), (1, -1))))[0]
            few = 2 * place < number if self.output_batch_size is None else place < self.output_batch_size
            part = xp.cast(few & real, xp.int32)
            now = xp.reshape(xp.stop_gradient(value(_part(relation, part))), (1,))
            chosen = part if cost is None else xp.where(now > cost, part, chosen)
            cost = now if cost is None else xp.maximum(now, cost)
        return _part(relation, chosen)


def _part(relation: Relation, rows: Tensor) -> Relation:
    # The relation of the anchors where `rows` (N,) is 1 to their own columns, and to what stands in no row.
    xp = get_namespace(rows)
    number = xp.sum(xp.ones_like(rows))
    place = xp.positions(xp.transpose(relation.positives))
    outside = place >= number * (relation.width or 1)
    own = outside | (xp.take(rows, place % number) > 0)
    both = (xp.reshape(rows, (-1, 1)) > 0) & xp.reshape(own, (1, -1))
    return relation._replace(positives=relation.positives & both, negatives=relation.negatives & both)
