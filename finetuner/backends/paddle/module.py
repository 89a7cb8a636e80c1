"""A loss as a paddle.nn.Layer."""

from typing import Any

import numpy as np

from finetuner.backends.paddle import paddle
from finetuner.losses.base import Loss
from finetuner.losses.call import Call

_MEMORY = 'memory_'


class LossModule(paddle.nn.Layer):
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
        learned, memory = self.call.parameters(means), self.call.memory()
        self.learned, self.memory = list(learned), list(memory)
        for name, value in learned.items():
            start = paddle.nn.initializer.Assign(value)
            self.add_parameter(name, self.create_parameter(value.shape, dtype='float32', default_initializer=start))
        for name, value in memory.items():
            self.register_buffer(_MEMORY + name, paddle.to_tensor(value))

    def forward(self, embeddings: Any, labels: Any, relation: Any = None) -> Any:
        """The loss of (N, D) embeddings with (N,) labels, or of anchors against (M, D) candidates."""
        learned = {name: getattr(self, name) for name in self.learned}
        memory = {name: getattr(self, _MEMORY + name) for name in self.memory}

        def draw(number: int) -> Any:
            return paddle.rand([embeddings.shape[0], number])

        with paddle.amp.auto_cast(enable=False):  # half precision is for the model
            value, after = self.call(embeddings, labels, relation, learned, memory, draw)
        if self.training:
            for name, buffer in after.items():
                setattr(self, _MEMORY + name, buffer)
        return value

    def extra_repr(self) -> str:
        return repr(self.loss)
