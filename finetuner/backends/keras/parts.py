"""Layers that Tailor puts after a Keras model: pooling, head, and the model that has them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from finetuner.losses import pooling as formulas
from finetuner.losses.distances import normalize
from finetuner.tailor.recipe import MASKS, Pooling


@keras.saving.register_keras_serializable('finetuner')
class Pool(keras.layers.Layer):
    """From tokens or positions to one vector; takes the mask that Keras hands on, or one that is given."""

    def __init__(self, pooling: Pooling | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling if isinstance(pooling, Pooling) else Pooling(**pooling)
        self.supports_masking = True
        self.p = self.query = None
        if self.pooling.name == 'gem' and self.pooling.learn:
            start = keras.initializers.Constant(self.pooling.p)
            self.p = self.add_weight(shape=(1,), initializer=start, name='p')
        elif self.pooling.name == 'attention':
            self.query = self.add_weight(shape=(self.pooling.width,), initializer='zeros', name='query')
        self.built = True

    def call(self, x: Any, mask: Any = None) -> Any:
        """(B, D) of (B, T, D) or (B, H, W, D)."""
        name, axis = self.pooling.name, self.pooling.axis
        mask = keras.ops.cast(mask, 'int32') if fits(mask, x, axis) else None
        if name == 'cls':
            return formulas.cls(x)
        if name == 'gem':
            p = self.pooling.p if self.p is None else keras.ops.convert_to_tensor(self.p)
            return formulas.gem(x, p, self.pooling.eps, axis, mask)
        if name == 'attention':
            return formulas.attention(x, keras.ops.convert_to_tensor(self.query), axis, mask)
        return {'mean': formulas.mean, 'max': formulas.max}[name](x, axis, mask)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """A vector has none."""

    def compute_output_shape(self, input_shape: Any, *_: Any) -> tuple[Any, ...]:
        return input_shape[0], self.pooling.width

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), 'pooling': dict(self.pooling._asdict())}


@keras.saving.register_keras_serializable('finetuner')
class Normalize(keras.layers.Layer):
    """Vectors of length 1."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    def call(self, x: Any) -> Any:
        """`x / |x|`."""
        return normalize(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@keras.saving.register_keras_serializable('finetuner')
class SpectralNormalization(keras.layers.SpectralNormalization):
    """As Keras' own, and still where it is not trained: that one writes its kernel anew whenever others train."""

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """What the layer within gives."""
        return super().call(inputs, training=bool(training) and self.trainable)


@keras.saving.register_keras_serializable('finetuner')
class Tailored(keras.Model):
    """A model that is no graph, followed by pooling and head; it is called as the model is."""

    def __init__(self, body: Any, steps: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **{'name': 'tailored', **kwargs})
        self.body = body
        self.steps = list(steps)
        self.built = True

    @property
    def general(self) -> Any:
        """The model whose `call` says what this one takes."""
        return getattr(self.body, 'general', self.body)

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The vectors."""
        x = self.body(*args, training=training, **kwargs)
        for step in self.steps:
            mask = self._mask(args, kwargs) if isinstance(step, Pool) else None
            x = step(x) if mask is None else step(x, mask=mask)
        return x

    def _mask(self, args: Any, kwargs: Any) -> Any:
        given = {**inspect.signature(self.general.call).bind_partial(*args).arguments, **kwargs}
        given |= {k: v for value in given.values() if isinstance(value, Mapping) for k, v in value.items()}
        return next((given[name] for name in MASKS if given.get(name) is not None), None)

    def get_config(self) -> dict[str, Any]:
        save = keras.saving.serialize_keras_object
        return {'name': self.name, 'body': save(self.body), 'steps': [save(step) for step in self.steps]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        load = keras.saving.deserialize_keras_object
        steps = [load(step, custom_objects) for step in config['steps']]
        return cls(load(config['body'], custom_objects), steps, name=config['name'])


def fits(mask: Any, x: Any, axis: int) -> bool:
    """Whether a mask is of the tokens of x: (B, T) for (B, T, D)."""
    if mask is None or len(x.shape) != 3 or axis % 3 != 2 or len(mask.shape) != 2:
        return False
    return mask.shape[1] is None or x.shape[1] is None or mask.shape[1] == x.shape[1]


def free(name: str, taken: set[str]) -> str:
    """The name, or one like it that is not taken; then it is."""
    number, own = 2, name
    while own in taken:
        number, own = number + 1, f'{name}_{number}'
    taken.add(own)
    return own


def made(step: tuple[Any, ...], kernel: np.ndarray | None, dtype: str, taken: set[str]) -> Any:
    """A step of a head as a layer, built, with a name of its own."""
    kind, *options = step
    if kernel is not None:
        width, to, *how = options
        name = free('projection', taken)
        layer = keras.layers.Dense(
            to, use_bias='unbiased' not in how, kernel_initializer='zeros', dtype=dtype, name=name
        )
        layer.build((None, width))
        layer.kernel.assign(kernel)
        return layer
    if kind == 'batchnorm':
        name = free('projection_norm', taken)
        layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, name=name)
        layer.build((None, *options))
        return layer
    if kind == 'relu':
        return keras.layers.ReLU(dtype=dtype, name=free('projection_relu', taken))
    return Normalize(dtype=dtype, name=free('normalize', taken))
