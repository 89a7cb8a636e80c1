"""A loss as a keras.layers.Layer, on any engine."""

from typing import Any

import keras
import numpy as np

from finetuner.losses.base import Loss
from finetuner.losses.call import Call
from finetuner.losses.config import from_config, to_config


class _Held:
    """A relation, for Keras to leave alone: it takes no arguments that hold tensors together with other things."""

    def __init__(self, content: tuple[Any, ...]) -> None:
        self.content = content


@keras.saving.register_keras_serializable('finetuner')
class LossModule(keras.layers.Layer):
    """Called as `module(embeddings, labels)` or `module(anchors, candidates, relation)`; gives a scalar.

    What the loss learns are its trainable weights, what it remembers the others, renewed where `training`. Import this
    module before `keras.models.load_model` reads a model with such a layer in it.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**{'dtype': 'float32', **kwargs})
        loss, miner = from_config(loss), from_config(miner)
        self.sizes = {'dim': dim, 'n_classes': n_classes, 'most': most}
        self.function = Call(loss, dim, n_classes, miner, most)
        self.learned = {name: self._own(name, value, True) for name, value in self.function.parameters(means).items()}
        self.memory = {name: self._own(f'memory_{name}', v, False) for name, v in self.function.memory().items()}
        self.chance = keras.random.SeedGenerator() if self.function.draws else None
        self.built = True

    def _own(self, name: str, value: np.ndarray, trainable: bool) -> Any:
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(value, dtype),
            name=name,
            dtype=str(value.dtype),
            trainable=trainable,
        )

    def __call__(self, embeddings: Any, labels: Any, relation: Any = None, **kwargs: Any) -> Any:
        held = _Held(relation) if isinstance(relation, tuple) else relation
        return super().__call__(embeddings, labels, relation=held, **kwargs)

    def call(self, embeddings: Any, labels: Any, relation: Any = None, training: bool | None = None) -> Any:
        """The loss of (N, D) embeddings with (N,) labels, or of anchors against (M, D) candidates."""
        tensor = keras.ops.convert_to_tensor
        learned = {name: tensor(value) for name, value in self.learned.items()}
        memory = {name: tensor(value) for name, value in self.memory.items()}
        relation = relation.content if isinstance(relation, _Held) else relation

        def draw(number: int) -> Any:
            return keras.random.uniform((keras.ops.shape(embeddings)[0], number), seed=self.chance)

        value, after = self.function(embeddings, labels, relation, learned, memory, draw)
        if training:
            for name, buffer in after.items():
                self.memory[name].assign(keras.ops.reshape(buffer, self.memory[name].shape))
        return value

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return keras.KerasTensor((), 'float32')

    def get_config(self) -> dict[str, Any]:
        own = {'loss': to_config(self.function.loss), 'miner': to_config(self.function.objective.miner)}
        return {**super().get_config(), **self.sizes, **own}
