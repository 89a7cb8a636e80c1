"""Several losses on the same batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from finetuner.errors import ArgumentError
from finetuner.losses.base import Loss
from finetuner.losses.names import as_loss
from finetuner.losses.wrapper import Value, Wrapper
from finetuner.typing import Tensor


@dataclass(frozen=True)
class MultipleLosses(Wrapper):
    """`sum over losses of weight * loss`, all on the same batch.

    Losses of items and losses of learned classes may stand side by side, as long as the same data suits them all.
    Each keeps what it learns to itself: of the loss at place 1, `classes` is called `classes_1`.

    When to use: a class loss such as ArcFaceLoss for the whole, and a loss of items such as InfoNCELoss for the
    neighbourhood; or a loss and VICRegLoss against collapse. Weights should bring the losses to like sizes.

    Args:
        losses: at least one: names, `(name, options)`, or losses.
        weights: one factor for each loss; None takes 1 for all.

    Source: MultipleLosses of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> loss = MultipleLosses(['TripletLoss', ('InfoNCELoss', {'temperature': 1.0})], weights=[1.0, 0.5])
    >>> float(loss(x, ['a', 'a', 'b']).round(4))  # 1.5 + 0.5 * 1.0032
    2.0016
    """

    losses: Sequence[Any]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        single = isinstance(self.losses, str | Loss) or not isinstance(self.losses, Sequence)
        if single or not self.losses:
            raise ArgumentError(f"losses={self.losses!r}: expected a list, ['InfoNCELoss', 'ArcFaceLoss'] say.")
        object.__setattr__(self, 'losses', tuple(as_loss(loss) for loss in self.losses))
        object.__setattr__(self, 'weights', factors(self.weights, len(self.losses), 'losses'))

    @property
    def inner(self) -> tuple[Loss, ...]:
        """The wrapped losses."""
        return tuple(self.losses)

    def combine(self, value: Value, embeddings: Tensor, learned: dict[str, Tensor], real: Tensor = None) -> Tensor:
        """The weighted sum."""
        total: Tensor = 0.0
        for place, loss in enumerate(self.inner):
            weight = 1.0 if self.weights is None else self.weights[place]
            total = total + weight * value(loss, lambda vectors: vectors, self.own(place, learned))
        return total


def factors(weights: Sequence[float] | None, number: int, of: str) -> tuple[float, ...] | None:
    """Checked weights of a sum, as a tuple.

    Args:
        weights: as people give them.
        number: how many there must be.
        of: what they weigh, for the error.

    Raises:
        ArgumentError: there are more or fewer, or one is no finite number.
    """
    if weights is None:
        return None
    if not isinstance(weights, Sequence | np.ndarray) or isinstance(weights, str) or len(weights) != number:
        raise ArgumentError(f'weights={weights!r}: expected a list of {number} numbers, one for each of the {of}.')
    for weight in weights:
        if isinstance(weight, bool) or not isinstance(weight, Real) or not np.isfinite(float(weight)):
            raise ArgumentError(f'weights={weights!r}: {weight!r} is no finite number.')
    return tuple(float(weight) for weight in weights)
