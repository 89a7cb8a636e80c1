"""A loss in people's own training loops: what its native modules do, whatever their framework.

A module owns what the loss learns and remembers, as parameters and buffers of its framework. What it does with them is
written here, once.
"""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import distances, registry
from finetuner.losses.base import Loss, mine
from finetuner.losses.labels import UNKNOWN, label_codes, most_alike
from finetuner.losses.memory import CrossBatchMemory, Memory
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Scores, same_label
from finetuner.losses.wrapper import Change, combined
from finetuner.typing import Layout, Learned, Tensor

ANY = 2**16  # in place of a size that nothing depends on
ITEMS = 2**30
"""Items are numbered anew after so many, within int32."""


class Call:
    """A loss as a function of embeddings and labels, or of anchors, candidates and their relation.

    Args:
        loss: what is evaluated.
        dim: D, the size of the embeddings; needed where what it learns depends on it.
        n_classes: C, the number of classes; likewise.
        miner: a miner, its name or its class, or any `f(distances, relation) -> relation`.
        most: no class has more others than this in a batch; None sees for itself, where labels can be looked at.

    Raises:
        ArgumentError: a size is missing or impossible, or loss and miner do not fit.
    """

    def __init__(
        self,
        loss: Loss,
        dim: int | None = None,
        n_classes: int | None = None,
        miner: Any = None,
        most: int | None = None,
    ) -> None:
        for name, size in (('dim', dim), ('n_classes', n_classes), ('most', most)):
            if size is not None and (isinstance(size, bool) or not isinstance(size, Integral) or size < 1):
                raise ArgumentError(f'{name}={size!r}: expected a whole number from 1, or None.')
        made = None if miner is None else registry.make(miner, 'miner')
        scored = next((member for member in loss.members() if member.expects is Scores), None)
        kind, width = ('class', 1) if scored is None else ('score', scored.columns or 2)
        registry.check(loss, kind, width, made)
        self.loss, self.most = loss, most
        self.objective = Objective(loss, made)
        self.remembers = bool(getattr(loss, 'outermost', False))
        self.learns_classes = self._learns_classes(dim, n_classes)
        self.dim, self.n_classes = int(dim or ANY), int(n_classes or 1)

    def _learns_classes(self, dim: int | None, n_classes: int | None) -> bool:
        sizes = ((2, 2), (3, 2), (2, 3))
        members = list(self.loss.members())
        shapes = [[v.shape for member in members for v in member.parameters(*size).values()] for size in sizes]
        name = type(self.loss).__name__
        if dim is None and (self.remembers or shapes[0] != shapes[1]):
            raise ArgumentError(f'{name} needs the size of the embeddings: module(…, dim=128), say.')
        if n_classes is None and shapes[0] != shapes[2]:
            raise ArgumentError(f'{name} learns something of each class: module(…, n_classes=10), say.')
        return shapes[0] != shapes[2]

    def parameters(self, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The initial values of what the loss learns, by name.

        Raises:
            ArgumentError: the means are not those of the classes.
        """
        if means is not None:
            means = np.asarray(means)
            expected = (self.n_classes, self.dim)
            if (means.shape != expected and self.learns_classes) or means.dtype.kind not in 'fiu':
                raise ArgumentError(
                    f'means are {means.dtype} of shape {means.shape}: expected numbers of shape (C, D), {expected}.'
                )
        return self.objective.parameters(self.dim, self.n_classes, means)

    def memory(self) -> dict[str, np.ndarray]:
        """The empty memory, by name, with the number `seen` of items that it has met; nothing where there is none."""
        codes = {'item': np.zeros(1, np.int32), 'label': np.zeros((1, 1), np.int32)}
        empty = self.objective.memory(self.dim, codes, Layout(0, 1, 1, self.n_classes))
        return empty | {'seen': np.zeros(1, np.int32)} if empty else {}

    @property
    def draws(self) -> bool:
        """Whether its miner needs random numbers."""
        return self.objective.lots(Layout(1)) > 0

    def __call__(
        self,
        embeddings: Tensor,
        other: Any,
        relation: Any,
        learned: Learned,
        memory: Memory,
        draw: Callable[[int], Tensor],
        look: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The value, and the memory after the batch.

        Args:
            embeddings: (N, D).
            other: (N,) labels, or (M, D) candidates.
            relation: of embeddings and candidates; None where there are labels.
            learned: present values of `parameters`.
            memory: present values of `memory`.
            draw: from a number L, an (N, L) tensor of random numbers from [0, 1), for miners that draw.
            look: whether the labels can be looked at, where they are on no device.
        """
        if relation is not None:
            return self._contrast(embeddings, other, relation, dict(learned)), {}
        past = {name: value for name, value in memory.items() if name != 'seen'}
        codes, known = self._codes(other, embeddings, look)
        layout = Layout(embeddings.shape[0], 1, self._most(codes['label'], known), self.n_classes)
        if self.draws:
            if layout.most >= UNKNOWN:
                name = type(self.objective.miners()[0]).__name__
                raise ArgumentError(
                    f'{name} draws, and nobody knows how often in a batch of unknown size. Say how many others of its '
                    f'class an item has in a batch at most: module(…, most=3).'
                )
            codes['lots'] = draw(self.objective.lots(layout._replace(rows=layout.rows or 1)))
        if not past:
            return self.objective(embeddings, codes, layout, learned), {}
        xp = get_namespace(embeddings)
        batch = xp.max(codes['item']) + 1
        # The batch takes its part of `memory_size`; its length may be unknown, so the oldest are blanked, not cut off.
        old = xp.positions(past['item']) < batch
        shown = {**past, 'item': xp.where(old, xp.zeros_like(past['item']) - 1, past['item'])}
        seen = memory['seen'] + batch
        codes['item'] = codes['item'] + memory['seen']
        value = self.objective(embeddings, codes, layout, learned, shown)
        after = self.objective.remember(past, embeddings, codes, layout)
        return value, after | {'seen': xp.where(seen < ITEMS, seen, xp.zeros_like(seen))}

    def _most(self, label: Tensor, known: np.ndarray | None) -> int:
        most = most_alike(label, known)
        if self.most is None:
            return max(most, int(label.shape[1]))
        if known is not None and most > self.most:
            found = most if known.shape[1] == 1 else int(same_label(known, known).sum(axis=1).max()) - 1
            if found > self.most:
                raise ArgumentError(
                    f'An item of this batch has {found} others of its class, and most={self.most} was promised: give '
                    f'module(…, most={found}), or leave it out.'
                )
        return max(self.most, int(label.shape[1]))

    def _codes(self, labels: Any, like: Tensor, look: bool) -> tuple[dict[str, Tensor], np.ndarray | None]:
        name = type(self.loss).__name__
        if any(member.expects is Scores for member in self.loss.members()):
            raise ArgumentError(
                f'{name} expects scores: call module(anchors, candidates, scores) with (N, D), (K * N, D) and (N, S) '
                f'tensors.'
            )
        numbered = self.learns_classes or self.remembers
        n_classes = self.n_classes if self.learns_classes else None
        codes, known = label_codes(labels, like, name if numbered else '', n_classes, look)
        if self.remembers and codes['label'].shape[1] > 1:
            raise ArgumentError(f'{name} takes one label of each item in a module.')
        if isinstance(self.loss, CrossBatchMemory) and like.shape[0] is not None:
            self.loss.check_batch(int(like.shape[0]))
        return codes, known

    def _contrast(self, anchors: Tensor, candidates: Tensor, relation: Any, learned: dict[str, Tensor]) -> Tensor:
        if self.learns_classes or self.remembers:
            raise ArgumentError(f'{type(self.loss).__name__} goes by labels: call module(embeddings, labels).')
        itself = candidates is anchors
        anchors = distances.at_least_float32(anchors)
        candidates = anchors if itself else distances.at_least_float32(candidates)
        xp = get_namespace(anchors)

        def value(loss: Loss, change: Change, own: dict[str, Tensor]) -> Tensor:
            first = change(anchors)
            second = first if itself else change(candidates)
            miner, found = self.objective.miner, relation
            if miner is not None:
                found = mine(miner, loss, first, second, relation, own)
            return loss(first, second, found, **own)

        batch = anchors if itself else xp.concatenate([anchors, xp.cast(candidates, anchors.dtype)])
        return combined(self.loss, value, batch, learned)
