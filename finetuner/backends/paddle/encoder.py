"""A Paddle layer as an encoder."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from finetuner import inference
from finetuner.backends.paddle import execution, ops, paddle, parts
from finetuner.typing import Inputs


class Encoder(inference.Encoder):
    """Calls the layer with tensors on its own device and in its own precision."""

    framework = 'paddle'

    def place(self, device: str | None) -> None:
        gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
        self.device = inference.wanted_device(device, gpu, 'Paddle')
        place = 'cpu' if self.device == 'cpu' else f'gpu:{self.device.partition(":")[2] or 0}'
        paddle.set_device(place)
        # Paddle 3.3 cannot move a buffer that holds nothing yet, as that of an LSTM before its first call in training.
        every = [(layer._buffers, name) for layer in self.model.sublayers(include_self=True) for name in layer._buffers]
        empty = [(kept, name, kept[name]) for kept, name in every if not _holds_numbers(kept[name])]
        for kept, name, _ in empty:
            kept[name] = None
        try:
            self.model.to(place)
        finally:
            for kept, name, buffer in empty:
                kept[name] = buffer

    @property
    def shapes_matter(self) -> bool:
        return hasattr(self.model.forward, 'dygraph_function')  # it was compiled, by paddle.jit

    def native(self, inputs: Inputs) -> Inputs:
        """Arrays and tensors as Paddle's; floats in the model's precision."""
        first = next((p for p in self.model.parameters() if p.is_floating_point()), None)

        def convert(leaf: Any) -> Any:
            tensor = ops.asarray(leaf)
            return tensor.astype(first.dtype) if first is not None and tensor.is_floating_point() else tensor

        return inference.leaves(convert, inputs)

    def call(self, inputs: Inputs, model: Any = None) -> Any:
        """What the model, or another in its place, gives for a batch in its present mode."""
        forward = self.model.forward
        compiled = getattr(forward, 'dygraph_function', forward)  # paddle.jit hides the signature
        args, kwargs = inference.arguments(compiled, self.native(inputs))
        return (self.model if model is None else model)(*args, **kwargs)

    def computing(self, precision: str) -> AbstractContextManager[None]:
        return execution.computing(precision)

    def as_is(self) -> AbstractContextManager[None]:
        return paddle.amp.auto_cast(enable=False)  # type: ignore[no-any-return]

    def forward(self, inputs: Inputs) -> Any:
        training = [layer for layer in self.model.sublayers(include_self=True) if layer.training]
        for layer in training:
            layer.training = False
        try:
            with paddle.no_grad():
                return self.call(inputs)
        finally:
            for layer in training:
                layer.training = True

    def weights(self) -> dict[str, np.ndarray]:
        return {name: value.copy() for name, value in self.arrays()}

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for name, value in self.model.state_dict().items():
            yield name, ops.to_numpy(value)

    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        own = self.model.state_dict()
        inference.check_fit(own, weights)
        for name, value in own.items():
            value.set_value(paddle.to_tensor(weights[name]).astype(value.dtype))

    def average(self, averages: dict[str, Any], decay: float) -> None:
        frozen = {id(p) for p in parts.weights(self.model).values() if p.stop_gradient}
        with paddle.no_grad():
            for name, value in self.model.state_dict().items():
                if id(value) in frozen or not _holds_numbers(value):
                    continue
                floats = value.is_floating_point()
                wide = value.astype('float32') if floats and value.element_size() < 4 else value
                if name in averages and floats:
                    averages[name].lerp_(wide, 1 - decay)
                else:
                    averages[name] = wide.detach().clone()

    def trainable(self) -> int:
        return int(sum(p.size for p in self.model.parameters() if not p.stop_gradient))

    def layers(self) -> list[str]:
        return [type(layer).__name__ for layer in self.model.sublayers(include_self=True)]


def _holds_numbers(buffer: Any) -> bool:
    return buffer is not None and bool(buffer._is_initialized())
