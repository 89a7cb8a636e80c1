"""Who belongs to whom in a batch: codes become masks on the device.

A batch carries its supervision as small integer codes, O(N); the (N, M) masks are made from them where the
embeddings are, so nothing quadratic travels. A relation is what every loss and miner works on.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses.distances import at_least_float32, cosine_similarity
from finetuner.losses.labels import UNKNOWN, label_codes, most_alike
from finetuner.typing import Codes, Tensor

Keep = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Band:
    """The rule that keeps the triplets with `low < d_an - d_ap <= high`."""

    low: float = -math.inf
    high: float = math.inf

    def __call__(self, near: Tensor, far: Tensor, between: Tensor | None) -> Tensor:
        """(N, M) whether the triplets of (N, 1) `near` and (N, M) `far` are kept."""
        gap = far - near
        kept = gap <= self.high
        return kept & (gap > self.low) if self.low > -math.inf else kept


class Relation(NamedTuple):
    """Which candidates (columns, M) are positives and negatives of which anchors (rows, N).

    Attributes:
        positives: (N, M) booleans.
        negatives: (N, M) booleans; what is in neither mask does not count.
        most: no row has more positives than this; a Python number, so that loops over positives are static.
        keep: the rule of a triplet miner: from the distances anchor-positive (N, 1), anchor-negative (N, M) and
            positive-negative (N, M) or None, an (N, M) mask of the triplets that count. None keeps all.
        distances: (N, M) what `keep` judges by; None leaves it to the loss, which has its own.
        between: (M, M) the same between the candidates, for rules that look at the third side of a triplet.
        drawn: the triplets that a miner drew, T for each anchor: (N, T) places of positives and (N, T) of negatives,
            int32, -1 where there is none. With them all others are out.
        lots: (N, L) random numbers from [0, 1), for miners that draw.
        guide: (N, G) and (M, G) vectors of a guide, another model's, for losses and miners that trust it; what it
            finds similar is `guide_similarity()`.
        width: K, where the first K * N candidates belong to the anchors one by one: candidate k * N + i stands in the
            row of anchor i, and those beyond in none. 1 where a batch is compared with itself; None is not known.
        itself: whether the first N candidates are the anchors themselves, those beyond being remembered; None leaves
            it to whether candidates and anchors are one tensor, see `within`.
    """

    positives: Tensor
    negatives: Tensor
    most: int
    keep: Keep | None = None
    distances: Tensor | None = None
    between: Tensor | None = None
    drawn: tuple[Tensor, Tensor] | None = None
    lots: Tensor | None = None
    guide: tuple[Tensor, Tensor] | None = None
    width: int | None = None
    itself: bool | None = None

    def within(self, anchors: Tensor, candidates: Tensor) -> bool:
        """Whether a batch is compared with itself, whatever is remembered beside it."""
        return candidates is anchors if self.itself is None else self.itself

    def guide_similarity(self) -> Tensor:
        """(N, M) cosine similarities in the eyes of the guide, without slope."""
        if self.guide is None:
            raise ArgumentError('This relation has no guide: give fit(…, guide=model), or relation._replace(guide=…).')
        anchors, candidates = (at_least_float32(get_namespace(x).stop_gradient(x)) for x in self.guide)
        return cosine_similarity(anchors, candidates)

    def pairs(self) -> np.ndarray:
        """The related pairs as rows `(anchor, candidate, 1 or 0)`, positives first; for people, in numpy."""
        xp = get_namespace(self.positives)
        positives, negatives = xp.to_numpy(self.positives), xp.to_numpy(self.negatives)
        near, far = np.argwhere(positives), np.argwhere(negatives)
        ones = np.concatenate([np.ones(len(near), int), np.zeros(len(far), int)])
        return np.column_stack([np.concatenate([near, far]), ones])

    def triplets(self) -> np.ndarray:
        """The triplets as rows `(anchor, positive, negative)`; for people, in numpy."""
        xp = get_namespace(self.positives)
        found = []
        for pick, kept in self.visit():
            near, far = xp.to_numpy(pick), xp.to_numpy(kept)
            found += [(a, p, n) for a, p in np.argwhere(near) for n in np.flatnonzero(far[a])]
        return np.array(sorted(found), int).reshape(-1, 3)

    def visit(self, distances: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Every triplet once, positive by positive: `most` static steps of (N, M).

        Args:
            distances: (N, M) what `keep` judges by where the relation has no distances of its own.

        Yields:
            (N, M) booleans: at most one positive per anchor; and the negatives that form a triplet with it.
        """
        xp = get_namespace(self.positives)
        if self.drawn is not None:
            yield from self._visit_drawn(*self.drawn)
            return
        if self.most >= UNKNOWN:
            raise ArgumentError(
                'This goes from positive to positive, and nobody knows how many a batch of unknown size may hold. Say '
                'how many others of its class an item has in a batch at most: module(…, most=3).'
            )
        order = xp.cumsum(xp.cast(self.positives, xp.int32), axis=1)
        d = distances if self.distances is None else self.distances
        if self.keep is not None and d is None:
            raise ArgumentError('This relation has a rule for triplets and no distances to judge by: pass distances.')
        for step in range(1, self.most + 1):
            pick = self.positives & (order == step)
            kept = self.negatives & xp.any(pick, axis=1, keepdims=True)
            if self.keep is not None:
                near = xp.sum(xp.where(pick, d, 0.0), axis=1, keepdims=True)
                third = None if self.between is None else xp.take(self.between, place_of(pick), axis=0)
                kept = kept & self.keep(near, d, third)
            yield pick, kept

    def _visit_drawn(self, near: Tensor, far: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        xp = get_namespace(near)
        candidates = xp.reshape(xp.positions(xp.transpose(self.positives)), (1, -1))
        for step in range(near.shape[1]):
            pick = self.positives & (candidates == near[:, step : step + 1])
            kept = self.negatives & (candidates == far[:, step : step + 1])
            yield pick, kept & xp.any(pick, axis=1, keepdims=True)

    @property
    def mined(self) -> bool:
        """Whether some triplets of its positives and negatives are out."""
        return self.keep is not None or self.drawn is not None


def place_of(pick: Tensor) -> Tensor:
    """(N,) int32 the column of the one that holds in each row of an (N, M) mask; 0 where none does."""
    xp = get_namespace(pick)
    places = xp.reshape(xp.positions(xp.transpose(pick)), (1, -1))
    return xp.sum(xp.where(pick, places, xp.zeros_like(places)), axis=1)


class Scores(NamedTuple):
    """Graded supervision: anchor i against its own K candidates.

    Attributes:
        values: (N, S) real targets: one similarity per candidate, or one margin.
        width: K, the number of candidates an anchor has; candidate k of anchor i is row `k * N + i`.
    """

    values: Tensor
    width: int


def _against(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    # (N, 1) and (1, M), ready to be compared each with each.
    xp = get_namespace(rows)
    return xp.reshape(rows, (-1, 1)), xp.reshape(columns, (1, -1))


def same_label(rows: Tensor, columns: Tensor) -> Tensor:
    """(N, M): both share at least one label; codes are (N, L) and (M, L), and -1 is no label."""
    shared: Tensor = None
    for i in range(rows.shape[1]):
        for j in range(columns.shape[1]):
            a, b = _against(rows[:, i], columns[:, j])
            match = (a == b) & (a >= 0)
            shared = match if shared is None else shared | match
    return shared


def relate(rows: Codes, columns: Codes, most: int, across: bool = False) -> Relation:
    """The relation of anchors to candidates, from their codes.

    Args:
        rows: codes of the N anchors: `item (N,)` with `label (N, L)`, or with `session (N,)` and `kind (N,)`.
        columns: codes of the M candidates, alike.
        most: no anchor has more positives than this.
        across: in sessions, whether the members of other sessions are negatives.

    Equal items are neither positive nor negative: an item and itself, its repetitions and its copies in a memory.
    An item of code -1 is nobody: a place that only fills the batch.
    A label of code -1 belongs to no class: negative to all. In a session, the root (kind 0) and its positive
    matches (1) are positives of each other, its negative matches (-1) are negatives of all those.
    """
    a, b = _against(rows['item'], columns['item'])
    real = (a >= 0) & (b >= 0) & (a != b)
    if 'session' not in rows:
        same = same_label(rows['label'], columns['label'])
        return Relation(real & same, real & ~same, most)
    a, b = _against(rows['session'], columns['session'])
    together = a == b
    a, b = _against(rows['kind'] >= 0, columns['kind'] >= 0)
    negatives = together & (a ^ b)
    if across:
        negatives = negatives | ~together
    return Relation(real & together & a & b, real & negatives, most)


def classify(rows: Codes, n_classes: int, most: int) -> Relation:
    """The relation of items to the classes themselves: (N, C), a class is positive when the item bears its label."""
    label = rows['label']
    xp = get_namespace(label)
    member: Tensor = None
    for i in range(label.shape[1]):
        own = label[:, i]
        hit = (xp.one_hot(own, n_classes) > 0) & (xp.reshape(own, (-1, 1)) >= 0)
        member = hit if member is None else member | hit
    real = xp.reshape(rows['item'], (-1, 1)) >= 0
    return Relation(real & member, real & ~member, most)


def same_class(labels: Any, like: Tensor = None) -> Relation:
    """The relation of a batch to itself from its class labels, for your own training code.

    Args:
        labels: (N,) labels or (N, L), several of each item, see `label_codes`; -1 is no class.
        like: makes the masks tensors of its library, where it is; pass the embeddings.

    Raises:
        ArgumentError: there is not one label, or row of them, for each embedding.

    >>> same_class(['cat', 'dog', 'cat']).pairs().tolist()
    [[0, 2, 1], [2, 0, 1], [0, 1, 0], [1, 0, 0], [1, 2, 0], [2, 1, 0]]
    """
    codes, known = label_codes(labels, like)
    return relate(codes, codes, most_alike(codes['label'], known))
