"""From the embeddings of a batch and its codes to the one number that training lowers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import distances
from finetuner.losses.base import Loss, Mine, mine, of_anchors
from finetuner.losses.memory import CrossBatchMemory, Memory
from finetuner.losses.relation import Scores, classify, relate
from finetuner.losses.wrapper import Change, combined
from finetuner.typing import Codes, Layout, Learned, Tensor


@dataclass(frozen=True)
class Objective:
    """A loss and a miner, applied to batches.

    Args:
        loss: a `Loss`, or any `f(anchors, candidates, relation) -> scalar`, which then runs on its own framework only.
        miner: narrows the relation before the loss sees it.
    """

    loss: Loss | Callable[..., Tensor]
    miner: Mine | None = None

    def members(self) -> list[Any]:
        """The losses, without what wraps them."""
        return list(self.loss.members()) if isinstance(self.loss, Loss) else [self.loss]

    def miners(self) -> list[Any]:
        """The miner, or those that the losses have of their own."""
        own = [getattr(member, 'miner', None) for member in self.members()]
        return [miner for miner in (self.miner, *own) if miner is not None]

    def lots(self, layout: Layout) -> int:
        """How many random numbers each anchor of such batches needs, see `Relation.lots`."""
        drawing = [miner for miner in self.miners() if hasattr(miner, 'lots')]  # Dynamo reads no := in here
        return max([int(miner.lots(layout)) for miner in drawing], default=0)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The initial values of what the loss learns, by name."""
        return self.loss.parameters(dim, n_classes, means) if isinstance(self.loss, Loss) else {}

    def memory(self, dim: int, codes: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
        """The empty memory of earlier batches, by name; nothing where the loss has none.

        Args:
            dim: D, the size of the embeddings.
            codes: of any batch.
            layout: of all batches.
        """
        return self.loss.empty(dim, codes, layout) if isinstance(self.loss, CrossBatchMemory) else {}

    def remember(self, memory: Memory, embeddings: Tensor, codes: Codes, layout: Layout) -> dict[str, Tensor]:
        """The memory after a batch; the oldest are forgotten."""
        if not isinstance(self.loss, CrossBatchMemory):
            return {}
        return self.loss.remember(memory, distances.at_least_float32(embeddings), codes, layout)

    def __call__(
        self,
        embeddings: Tensor,
        codes: Codes,
        layout: Layout,
        learned: Learned | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """The loss of a batch: a scalar; it is not finite where the embeddings are not.

        Args:
            embeddings: (rows * width, D); computed on in float32 at least, whatever the model's precision.
            codes: the supervision of the batch, see `relate`, or `score (rows, S)`; perhaps `guide (rows * width, G)`
                vectors of a guide and `lots (rows, L)` for miners that draw.
            layout: how the batch is laid out.
            learned: the present values of `parameters`.
            memory: earlier batches, as `remember` gave them before this one.
        """
        x = distances.at_least_float32(embeddings)
        past = memory or {}

        def value(loss: Any, change: Change, own: dict[str, Tensor]) -> Tensor:
            return self._value(loss, change, x, codes, layout, own, past)

        real = codes['item'] >= 0 if 'item' in codes else None
        total = combined(self.loss, value, x, dict(learned or {}), real)
        if not isinstance(self.loss, Loss):
            _check_scalar(total, x, self.loss)
        xp = get_namespace(x)
        # Nothing, unless an embedding is not finite: some formulas take what is NaN for zero, or for no pair.
        all_of_them = xp.stop_gradient(xp.sum(x))
        return total + xp.cast(all_of_them - all_of_them, total.dtype)

    def _value(
        self,
        loss: Any,
        change: Change,
        x: Tensor,
        codes: Codes,
        layout: Layout,
        learned: dict[str, Tensor],
        memory: Memory,
    ) -> Tensor:
        xp = get_namespace(x)
        x = change(x)
        if isinstance(loss, Loss) and loss.candidates == 'classes':
            relation = classify(codes, layout.n_classes, layout.most)
            return loss(x, learned.pop('classes'), relation, **learned)
        anchors = candidates = x
        rows = columns = codes
        most = layout.most
        if layout.width > 1:
            anchors, candidates = x[: layout.rows], x[layout.rows :]
            rows = {name: code[: layout.rows] for name, code in codes.items()}
            columns = {name: code[layout.rows :] for name, code in codes.items()}
        if 'score' in codes:
            scores = Scores(xp.cast(codes['score'], x.dtype), layout.width - 1)
            return loss(anchors, candidates, scores, **learned)
        if memory:
            candidates, columns = CrossBatchMemory.extend(memory, change, candidates, columns, layout)
            most = candidates.shape[0]
        relation = relate(rows, columns, most, across=getattr(loss, 'across', False))
        relation = relation._replace(width=max(layout.width - 1, 1), itself=layout.width == 1)
        if 'guide' in codes:
            relation = relation._replace(guide=(rows['guide'], columns['guide']))
        if 'lots' in codes:
            relation = relation._replace(lots=rows['lots'])
        if getattr(loss, 'by_class', ()):
            learned |= of_anchors(loss.by_class, learned, rows['label'])
        if self.miner is not None:
            relation = mine(self.miner, loss, anchors, candidates, relation, learned)
        return loss(anchors, candidates, relation, **learned)


def _check_scalar(value: Any, like: Tensor, loss: Any) -> None:
    # What a function of people's own gives, before a framework stumbles over it.
    shape: Any = getattr(value, 'shape', None)
    try:
        fits = len(shape) == 0 and get_namespace(value) is get_namespace(like)
    except (TypeError, ValueError):  # no tensor; one of unknown rank
        fits = shape is not None and getattr(shape, 'rank', 0) is None
    if not fits:
        came = type(value).__name__ if shape is None else f'{type(value).__name__} of shape {tuple(shape)}'
        raise ArgumentError(
            f'loss={getattr(loss, "__name__", type(loss).__name__)} must give a scalar tensor of the framework of the '
            f'embeddings, {type(like).__name__}, got {came}.'
        )
