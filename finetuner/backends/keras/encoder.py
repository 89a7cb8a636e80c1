"""A Keras 3 model or layer as an encoder, on any engine."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from typing import Any

import keras
import numpy as np

from finetuner import inference
from finetuner.backends.keras import execution, parts, stop  # noqa: F401, so that Keras knows them when it makes a model again
from finetuner.backends.keras.calls import spread
from finetuner.backends.keras.compiling import compiled
from finetuner.backends.keras.places import freeze, places
from finetuner.backends.keras.replicas import lay
from finetuner.errors import CheckpointError
from finetuner.tailor.layers import topmost
from finetuner.typing import Inputs

SEED = 'seed_generator_state'


class Shell(keras.Model):
    """The user's model inside one of ours, so that compiling and predicting leave no trace on it."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def build(self, shape: Any = None) -> None:
        """Nothing: the inner model builds itself. Keras registers variables with its torch engine after this."""

    def call(self, inputs: Inputs, training: bool | None = None) -> Any:
        """What the model gives."""
        args, kwargs = spread(self.inner, inputs)
        return self.inner(*args, **kwargs, training=training)


class Encoder(inference.Encoder):
    """Calls the model in compiled batches."""

    framework = 'keras'

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.devices: Any = None  # several, while a training lays the model on them
        self.own: Any = None  # within `computing`, the policies of the layers and the shell of before
        self.shell = Shell(model)
        self.shell.compile(jit_compile=keras.backend.backend() == 'jax')

    def place(self, device: str | None) -> None:
        self.device = inference.wanted_device(device, _has_gpu(), f'Keras on {keras.backend.backend()}')

    @property
    def shapes_matter(self) -> bool:
        return keras.backend.backend() != 'torch'

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Where to build and call: it keeps a GPU out, for Keras takes one by itself, and says what cannot be compiled.

        A scope that names the device in another way than the weights do would cut gradients off on the torch engine.
        """
        place = 'cpu' if keras.backend.backend() == 'torch' else 'cpu:0'
        where = keras.device(place) if self.device == 'cpu' and _has_gpu() else nullcontext()
        with compiled(self.model), self.devices.scope() if self.devices else where:
            yield

    def lay(self, on: Any) -> None:
        """Lay the model on several devices, or back on one."""
        if on is not self.devices:
            self.devices = on
            lay(self.model.variables, on)
            with self.scope():
                self.shell.compile(jit_compile=True)  # what is compiled is for the devices of before

    def native(self, inputs: Inputs) -> Inputs:
        """Arrays and tensors of any library as numpy arrays, which Keras takes to its engine."""
        return inference.leaves(lambda x: x if isinstance(x, np.ndarray) else keras.ops.convert_to_numpy(x), inputs)

    @contextmanager
    def computing(self, precision: str) -> Iterator[None]:
        if precision == '32':
            yield
            return
        own = self.own, self.shell
        with execution.computing(self.model, precision) as policies:
            # What is compiled is compiled for a precision.
            self.own, self.shell = (policies, self.shell), Shell(self.model)
            self.shell.compile(jit_compile=keras.backend.backend() == 'jax')
            try:
                yield
            finally:
                self.own, self.shell = own

    @contextmanager
    def as_is(self) -> Iterator[None]:
        if self.own is None:
            yield
            return
        (policies, shell), half = self.own, self.shell
        self.own, self.shell = None, shell
        try:
            with execution.changed(policies):
                yield
        finally:
            self.own, self.shell = (policies, shell), half

    def forward(self, inputs: Inputs) -> Any:
        with self.scope():
            return self.shell.predict_on_batch(self.native(inputs))

    def variables(self) -> list[Any]:
        """All variables but the states of random generators."""
        return [v for v in self.model.variables if v.name != SEED]

    def weights(self) -> dict[str, np.ndarray]:
        return {name: np.array(value) for name, value in self.arrays()}

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for i, variable in enumerate(self.variables()):
            yield f'{i:05d}.{variable.name}', keras.ops.convert_to_numpy(variable)

    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        variables = {f'{i:05d}.{v.name}': v for i, v in enumerate(self.variables())}
        inference.check_fit(variables, weights)
        for name, variable in variables.items():
            variable.assign(np.array(weights[name]))

    def average(self, averages: dict[str, Any], decay: float) -> None:
        layers = self.model._flatten_layers()
        followed = {id(v) for layer in layers for v in layer._non_trainable_variables}  # frozen ones are elsewhere
        followed |= {id(v) for v in self.model.trainable_variables}
        moved = {}
        with self.scope():
            for i, variable in enumerate(self.variables()):
                if id(variable) not in followed:
                    continue
                name, floats = f'{i:05d}.{variable.name}', 'float' in variable.dtype
                value = keras.ops.stop_gradient(keras.ops.convert_to_tensor(variable))
                if floats:
                    value = keras.ops.cast(value, keras.backend.result_type(variable.dtype, 'float32'))
                if name in averages and floats:
                    moved[name] = value
                else:
                    averages[name] = keras.ops.copy(value)  # JAX will give the memory of the variable away
            found = _mover()([averages[name] for name in moved], list(moved.values()), 1 - decay)
            averages.update(zip(moved, found, strict=True))

    def architecture(self) -> dict[str, Any] | None:
        try:
            config: dict[str, Any] = keras.saving.serialize_keras_object(self.model)
            json.dumps(config)
        except Exception:  # a class of the user's that does not say how it is made, or fails to
            return None
        # A class of the user's says nothing of the layers that it holds; their names may be others in another process.
        found = places(self.model)
        frozen = topmost(path for path, part in found.items() if not part.trainable)
        return {'model': config, 'frozen': [list(found).index(path) for path in frozen]}

    def trainable(self) -> int:
        return int(sum(np.prod(v.shape) for v in self.model.trainable_variables))

    def layers(self) -> list[str]:
        found, waiting = [], [self.model]
        while waiting:
            layer = waiting.pop()
            found.append(type(layer).__name__)
            waiting += layer._flatten_layers(include_self=False, recursive=False)
        return found


def _moved(averages: list[Any], values: list[Any], part: float) -> list[Any]:
    # Each goes a part of the way towards its value.
    ops = keras.ops
    ways = [ops.multiply(ops.subtract(v, a), part) for a, v in zip(averages, values, strict=True)]
    return [ops.add(a, way) for a, way in zip(averages, ways, strict=True)]


@cache
def _mover() -> Any:
    # Operation by operation JAX is slower than numpy.
    return import_module('jax').jit(_moved) if keras.backend.backend() == 'jax' else _moved


def array(variable: Any) -> np.ndarray:
    """A copy of a variable's value."""
    return np.array(keras.ops.convert_to_numpy(variable))


def build(architecture: Mapping[str, Any]) -> Any:
    """The model with fresh weights, from what `Encoder.architecture` gave; nothing in it is run as code."""
    try:
        model = keras.saving.deserialize_keras_object(architecture['model'], safe_mode=True)
    except (TypeError, ValueError) as error:
        said = str(error).partition('. ')[0].rstrip('.')
        raise CheckpointError(
            f'Keras cannot make the saved model again: {said}. Build it, call it once, and give it to load as its '
            f'second argument.'
        ) from error
    found = list(places(model).values())
    for place in architecture['frozen']:
        freeze(found[place])
    return model


@cache  # asking takes 0.1 ms, and each step asks
def _has_gpu() -> bool:
    if keras.backend.backend() == 'torch':
        import torch

        return bool(torch.cuda.is_available())
    return any('gpu' in name for name in keras.distribution.list_devices())
