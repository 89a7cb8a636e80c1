"""How often each positive is pulled and each negative is pushed by the triplets of a relation.

These counts are all that a hinge needs: a sum over chosen triplets of `d_ap - d_an` is linear in the distances. They
are made without gradient, so a graph holds O(N M) numbers however many triplets there are.

Few positives per anchor are visited one by one. Many would make as many steps; there, one sort of each row counts all
of them: among the sorted distances, a positive raised by the edge of a band has as many negatives before it as lie
below that edge.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from finetuner.dispatch import get_namespace
from finetuner.losses.distances import FAR
from finetuner.losses.relation import Band, Relation
from finetuner.typing import Tensor

BLOCK = 512  # anchors counted at a time: bounds the memory that counting takes
FEW = 32  # positives per anchor up to which visiting is the faster way (measured from N = 256 to 1024)


class Pairs(NamedTuple):
    """The pairs of a relation that count, and how often.

    Attributes:
        positives: (N, M) booleans.
        negatives: (N, M) booleans.
        towards: (N, M) how often each positive counts; None where each counts once.
        away: (N, M) the same of the negatives.
    """

    positives: Tensor
    negatives: Tensor
    towards: Tensor | None = None
    away: Tensor | None = None

    def transpose(self) -> 'Pairs':
        """The same pairs, seen from the candidates."""
        xp = get_namespace(self.positives)
        return Pairs(*(None if x is None else xp.transpose(x) for x in self))


def pairs(relation: Relation, distances: Callable[[], Tensor]) -> Pairs:
    """The pairs of a relation: after a triplet miner, each counts as often as it stands in a triplet.

    Args:
        relation: perhaps mined.
        distances: gives the loss's own distances (N, M), which a miner without any judges by.
    """
    if not relation.mined:
        return Pairs(relation.positives, relation.negatives)
    towards, away = counts(relation, relation.distances if relation.distances is not None else distances())
    return Pairs(towards > 0, away > 0, towards, away)


def counts(relation: Relation, d: Tensor, below: float = float('inf')) -> tuple[Tensor, Tensor]:
    """(N, M) how many triplets hold each positive, and how many hold each negative.

    Args:
        relation: perhaps mined.
        d: (N, M) the loss's own distances.
        below: count only triplets with `d_an - d_ap < below`.
    """
    return _in_blocks(lambda block, rows: _counts(block, rows, below), relation, d)


def slopes(relation: Relation, d: Tensor, below: float = float('inf')) -> tuple[Tensor, Tensor]:
    """The slope of a sum of `d_ap - d_an` over triplets, (N, M), and (N,) how many triplets each anchor has.

    Args:
        relation: perhaps mined.
        d: (N, M) the loss's own distances.
        below: count only triplets with `d_an - d_ap < below`.
    """

    def pull_less_push(block: Relation, rows: Tensor) -> tuple[Tensor, Tensor]:
        pull, push = _counts(block, rows, below)
        return pull - push, get_namespace(push).sum(push, axis=1)

    return _in_blocks(pull_less_push, relation, d)


def _in_blocks(
    count: Callable[[Relation, Tensor], tuple[Tensor, Tensor]], relation: Relation, d: Tensor
) -> tuple[Tensor, Tensor]:
    xp = get_namespace(d)
    d = xp.stop_gradient(d)
    n = d.shape[0]
    if n is None or n <= BLOCK:  # TensorFlow may not know
        return count(relation, d)
    parts = []
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        block = relation._replace(
            positives=relation.positives[rows],
            negatives=relation.negatives[rows],
            distances=None if relation.distances is None else relation.distances[rows],
            drawn=None if relation.drawn is None else (relation.drawn[0][rows], relation.drawn[1][rows]),
        )
        parts.append(count(block, d[rows]))
    return xp.concatenate([first for first, _ in parts], axis=0), xp.concatenate([last for _, last in parts], axis=0)


def _counts(relation: Relation, d: Tensor, below: float) -> tuple[Tensor, Tensor]:
    band = Band() if relation.keep is None else relation.keep
    if relation.drawn is not None:
        return _visited(relation, d, below)
    one_distance = relation.keep is None or relation.distances is None or below == math.inf
    if relation.most > FEW and isinstance(band, Band) and one_distance:
        return _sorted(relation, d if relation.distances is None else relation.distances, band, below)
    return _visited(relation, d, below)


def _visited(relation: Relation, d: Tensor, below: float) -> tuple[Tensor, Tensor]:
    xp = get_namespace(d)
    pull = push = xp.zeros_like(d)
    for pick, kept in relation.visit(d):
        if below < math.inf:
            near = xp.sum(xp.where(pick, d, 0.0), axis=1, keepdims=True)
            kept = kept & (near - d + below > 0)
        held = xp.cast(kept, d.dtype)
        pull = pull + xp.where(pick, xp.sum(held, axis=1, keepdims=True), 0.0)
        push = push + held
    return pull, push


def _sorted(relation: Relation, d: Tensor, band: Band, below: float) -> tuple[Tensor, Tensor]:
    xp = get_namespace(d)
    high = min(band.high, below)
    if band.low >= high:
        return xp.zeros_like(d), xp.zeros_like(d)
    pull, push = _beneath(relation, d, high, strict=below <= band.high)
    if band.low > -math.inf:
        less, fewer = _beneath(relation, d, band.low, strict=False)
        pull, push = pull - less, push - fewer
    return xp.cast(pull, d.dtype), xp.cast(push, d.dtype)


def _beneath(relation: Relation, d: Tensor, edge: float, strict: bool) -> tuple[Tensor, Tensor]:
    # The counts of triplets with `d_an - d_ap <= edge`, or `< edge`. The sort is stable: which half comes first says
    # whether a negative exactly at the edge is beneath it.
    xp = get_namespace(d)
    raised, negatives = xp.where(relation.positives, d + edge, FAR), xp.where(relation.negatives, d, FAR)
    ones, others = xp.cast(relation.positives, xp.int32), xp.cast(relation.negatives, xp.int32)
    none = xp.zeros_like(ones)

    def halves(positive: Tensor, negative: Tensor) -> Tensor:
        return xp.concatenate([positive, negative] if strict else [negative, positive], axis=1)

    order = xp.argsort(halves(raised, negatives))
    back = xp.argsort(order)

    def before(flags: Tensor) -> Tensor:
        return xp.take_along_axis(xp.cumsum(xp.take_along_axis(flags, order, axis=1), axis=1), back, axis=1)

    def half(x: Tensor, last: bool) -> Tensor:
        m = d.shape[1]
        if m is not None:
            return x[:, m:] if last else x[:, :m]
        places = xp.positions(xp.transpose(d))  # TensorFlow may not know how many
        return xp.take(x, places + xp.max(places) + 1 if last else places, axis=1)

    pull = half(before(halves(none, others)), last=not strict)
    push = xp.sum(ones, axis=1, keepdims=True) - half(before(halves(ones, none)), last=strict)
    return xp.where(relation.positives, pull, 0), xp.where(relation.negatives, push, 0)
