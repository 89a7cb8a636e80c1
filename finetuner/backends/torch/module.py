"""A loss as a torch.nn.Module."""

from typing import Any

import numpy as np
import torch

from finetuner.losses.base import Loss
from finetuner.losses.call import Call

_MEMORY = 'memory_'


class LossModule(torch.nn.Module):
    """Called as `module(embeddings, labels)` or `module(anchors, candidates, relation)`; gives a scalar.

    What the loss learns are its parameters, what it remembers its buffers, renewed in training mode.
    """

    def __init__(
        self,
        loss: Loss,
        dim: int | None = None,
        n_classes: int | None = None,
        *,
        means: np.ndarray | None = None,
        miner: Any = None,
        most: int | None = None,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.call = Call(loss, dim, n_classes, miner, most)
        for name, value in self.call.parameters(means).items():
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(value)))
        for name, value in self.call.memory().items():
            self.register_buffer(_MEMORY + name, torch.tensor(value))

    def forward(self, embeddings: torch.Tensor, labels: Any, relation: Any = None) -> torch.Tensor:
        """The loss of (N, D) embeddings with (N,) labels, or of anchors against (M, D) candidates."""
        learned = dict(self.named_parameters())
        memory = {name.removeprefix(_MEMORY): value for name, value in self.named_buffers()}

        def draw(number: int) -> torch.Tensor:
            return torch.rand((embeddings.shape[0], number), device=embeddings.device)

        look = not torch.compiler.is_compiling()
        with torch.autocast(embeddings.device.type, enabled=False):  # half precision is for the model
            value, after = self.call(embeddings, labels, relation, learned, memory, draw, look)
        if self.training:
            for name, buffer in after.items():
                setattr(self, _MEMORY + name, buffer)  # in place it would break the graph that has just read it
        return value

    def extra_repr(self) -> str:
        return repr(self.loss)
