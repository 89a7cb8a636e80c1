"""The random numbers of a batch, and what is drawn with them: the same on every engine."""

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


def lots_of(relation: Relation, number: int, name: str) -> Tensor:
    """(N, L) the lots of a relation, in float32.

    Args:
        relation: perhaps without any.
        number: as many are needed for each anchor.
        name: who needs them.

    Raises:
        ArgumentError: there are none, or fewer.
    """
    came = 0 if relation.lots is None else int(relation.lots.shape[1])
    if came < max(number, 1):
        raise ArgumentError(
            f'{name} draws: it needs {number} random numbers for each anchor and got {came}. Call it with '
            f"relation._replace(lots=np.random.default_rng(0).random((n, {number}), 'float32')) for n anchors."
        )
    xp = get_namespace(relation.lots)
    return xp.cast(relation.lots, xp.float32)


def places(lots: Tensor, number: Tensor) -> Tensor:
    """int32 places from 0 to `number` - 1, each as likely; -1 where there is none.

    Args:
        lots: from [0, 1), in float32, so that every engine rounds alike.
        number: int32, to be broadcast against them.
    """
    xp = get_namespace(lots)
    place = xp.cast(lots * xp.cast(number, xp.float32), xp.int32)
    return xp.minimum(place, number + xp.zeros_like(place) - 1)  # the product may be rounded up to `number`
