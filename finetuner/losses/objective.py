"""From the embeddings of a batch and its codes to the one number that training lowers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.losses import distances
from finetuner.losses.base import Loss, Mine, mine
from finetuner.losses.relation import Scores, classify, relate
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

    def parameters(self, dim: int, n_classes: int) -> dict[str, np.ndarray]:
        """The initial values of what the loss learns, by name."""
        return self.loss.parameters(dim, n_classes) if isinstance(self.loss, Loss) else {}

    def __call__(self, embeddings: Tensor, codes: Codes, layout: Layout, learned: Learned | None = None) -> Tensor:
        """The loss of a batch: a scalar.

        Args:
            embeddings: (rows * width, D); computed on in float32 at least, whatever the model's precision.
            codes: the supervision of the batch, see `relate`, or `score (rows, S)`.
            layout: how the batch is laid out.
            learned: the present values of `parameters`.
        """
        xp = get_namespace(embeddings)
        embeddings = distances.at_least_float32(embeddings)
        learned = dict(learned or {})
        loss = self.loss
        if isinstance(loss, Loss) and loss.candidates == 'classes':
            relation = classify(codes, layout.n_classes, layout.most)
            return loss(embeddings, learned.pop('classes'), relation, **learned)
        anchors = candidates = embeddings
        rows = columns = codes
        if layout.width > 1:
            anchors, candidates = embeddings[: layout.rows], embeddings[layout.rows :]
            rows = {name: code[: layout.rows] for name, code in codes.items()}
            columns = {name: code[layout.rows :] for name, code in codes.items()}
        if 'score' in codes:
            scores = Scores(xp.cast(codes['score'], embeddings.dtype), layout.width - 1)
            return loss(anchors, candidates, scores, **learned)
        relation = relate(rows, columns, layout.most, across=getattr(loss, 'across', False))
        if self.miner is not None:
            relation = mine(self.miner, loss, anchors, candidates, relation)
        return loss(anchors, candidates, relation, **learned)
