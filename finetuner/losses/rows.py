"""Pairs as rows of a table: which candidates stand in the row of an anchor, and blocks within one column."""

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


def own_documents(anchors: Tensor, candidates: Tensor) -> Tensor:
    """(N, D) the first candidate in the row of each anchor, which is its positive.

    Raises:
        ArgumentError: there are fewer candidates than anchors, so they are not rows of pairs.
    """
    _check_rows(anchors.shape[0], candidates.shape[0])
    xp = get_namespace(anchors)
    return xp.take(candidates, xp.positions(anchors), axis=0)


def of_documents(x: Tensor) -> Tensor:
    """(N, N) what an (N, M) tensor says of the first candidate in the row of each anchor.

    Raises:
        ArgumentError: there are fewer candidates than anchors, so they are not rows of pairs.
    """
    _check_rows(*x.shape)
    xp = get_namespace(x)
    return xp.take(x, xp.positions(x), axis=1)


def _check_rows(n: int | None, m: int | None) -> None:
    if n is not None and m is not None and m < n:
        raise ArgumentError(
            f'Pairs have a candidate for each anchor, and these are {n} anchors with {m} candidates: give candidate i '
            f'for anchor i first, then others.'
        )


def in_row(relation: Relation) -> Tensor:
    """(N, M) booleans: the candidate stands in the row of the anchor."""
    xp = get_namespace(relation.positives)
    n, m = relation.positives.shape
    width = relation.width
    if width is None:
        if n is None or m is None:
            raise ArgumentError(
                'How many columns pairs have cannot be seen from tensors of unknown length: give '
                'relation._replace(width=K), with K candidates for each anchor.'
            )
        width = max(m // max(n, 1), 1)
    row, place = xp.positions(relation.positives), xp.positions(xp.transpose(relation.positives))
    number = xp.sum(xp.ones_like(row))  # N, which TensorFlow may not know beforehand
    row, place = xp.reshape(row, (-1, 1)), xp.reshape(place, (1, -1))
    found = place == row
    for column in range(1, width):
        found = found | (place == row + column * number)
    return found
