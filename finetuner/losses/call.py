"""A loss in people's own training loops: what its native modules do, whatever their framework.

A module owns what the loss learns and remembers, as parameters and buffers of its framework. What it does with them is
written here, once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import distances, registry
from finetuner.losses.base import Change, Loss, combined, mine
from finetuner.losses.memory import Memory
from finetuner.losses.objective import Objective
from finetuner.losses.relation import UNKNOWN, Scores, label_codes, looked_at, most_alike
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
        miner: a miner or its name.
        most: no class has more others than this in a batch; None sees for itself, where labels can be looked at.

    Raises:
        ArgumentError: a size is missing, or loss and miner do not fit.
    """

    def __init__(
        self,
        loss: Loss,
        dim: int | None = None,
        n_classes: int | None = None,
        miner: Any = None,
        most: int | None = None,
    ) -> None:
        made = None if miner is None else registry.make(miner, 'miner')
        scored = next((member for member in loss.members() if member.expects is Scores), None)
        kind, width = ('class', 1) if scored is None else ('score', scored.columns or 2)
        registry.check(loss, kind, width, made)
        self.loss, self.most = loss, most
        self.objective = Objective(loss, made)
        self.remembers = bool(getattr(loss, 'outermost', False))
        self.learns_classes = self._learns_classes(dim, n_classes)
        self.dim, self.n_classes = dim or ANY, n_classes or 1

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
        """The initial values of what the loss learns, by name."""
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
        codes = self._codes(other, embeddings, look)
        layout = Layout(embeddings.shape[0], 1, self.most or self._most(codes['label'], look), self.n_classes)
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
        seen = memory['seen'] + xp.max(codes['item']) + 1
        codes['item'] = codes['item'] + memory['seen']
        value = self.objective(embeddings, codes, layout, learned, past)
        after = self.objective.remember(past, embeddings, codes, layout)
        return value, after | {'seen': xp.where(seen < ITEMS, seen, xp.zeros_like(seen))}

    @staticmethod
    def _most(label: Tensor, look: bool) -> int:
        if label.shape[1] == 1 and look:
            return most_alike(label)
        return UNKNOWN if label.shape[0] is None else max(int(label.shape[0]) - 1, label.shape[1])

    def _codes(self, labels: Any, like: Tensor, look: bool) -> dict[str, Tensor]:
        if any(member.expects is Scores for member in self.loss.members()):
            raise ArgumentError(
                f'{type(self.loss).__name__} expects scores: call module(anchors, candidates, scores) with (N, D), '
                f'(K * N, D) and (N, S) tensors.'
            )
        if (self.learns_classes or self.remembers) and isinstance(labels, Sequence):
            labels = np.asarray(labels)
            if labels.dtype.kind not in 'iu':
                raise ArgumentError(
                    f'labels={labels[:3].tolist()}…: {type(self.loss).__name__} learns or remembers classes, so they '
                    f'must have numbers that stay the same: 0, 1, 2, …'
                )
        if len(getattr(labels, 'shape', ())) != 2:
            codes = label_codes(labels, like)
        else:  # several labels of each item
            xp = get_namespace(like)
            label = xp.cast(xp.asarray(labels, like=like), xp.int32)
            codes = {'item': xp.positions(label), 'label': label}
        if self.remembers and codes['label'].shape[1] > 1:
            raise ArgumentError(f'{type(self.loss).__name__} takes one label of each item in a module.')
        n, m = like.shape[0], codes['label'].shape[0]
        if n is not None and m is not None and n != m:
            raise ArgumentError(f'There are {n} embeddings and {m} labels.')
        known = looked_at(labels) if self.learns_classes and look else None
        if known is not None and known.size and not -1 <= known.min() <= known.max() < self.n_classes:
            wrong, last = (known.min() if known.min() < -1 else known.max()), self.n_classes - 1
            raise ArgumentError(
                f'A label is {wrong}: with n_classes={self.n_classes} they go from 0 to {last}, or are -1.'
            )
        return codes

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
