"""Pooling and head on top of a Paddle layer."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finetuner.backends.paddle import paddle
from finetuner.backends.paddle.around import Around
from finetuner.backends.paddle.parts import TENSORS
from finetuner.losses import distances, pooling
from finetuner.tailor.recipe import MASKS, Pooling

_nn = paddle.nn


class Pool(paddle.nn.Layer):
    """One vector an item: the formulas of `finetuner.losses.pooling`, and what they learn."""

    def __init__(self, how: Pooling) -> None:
        super().__init__()
        self.how = how
        if how.name == 'gem' and how.learn:
            self.p = self.create_parameter([1], default_initializer=_nn.initializer.Constant(float(how.p)))
        elif how.name == 'gem':
            self.register_buffer('p', paddle.full([1], float(how.p)))
        elif how.name == 'attention':
            self.query = self.create_parameter([how.width], default_initializer=_nn.initializer.Constant(0.0))

    def forward(self, x: Any, mask: Any = None) -> Any:
        """(B, D); the mask (B, T) says which tokens count."""
        how = self.how
        if how.name == 'cls':
            return pooling.cls(x)
        if how.name == 'gem':
            return pooling.gem(x, self.p, how.eps, how.axis, mask)
        if how.name == 'attention':
            return pooling.attention(x, self.query, how.axis, mask)
        return (pooling.max if how.name == 'max' else pooling.mean)(x, how.axis, mask)

    def extra_repr(self) -> str:
        return self.how.name


class Normalize(paddle.nn.Layer):
    """Rows of length 1."""

    def forward(self, x: Any) -> Any:
        """(B, D)."""
        return distances.normalize(x)


class Tailored(Around):
    """A body, pooling and a head; called as the body is."""

    def __init__(self, body: Any, pool: Pool | None, head: Any) -> None:
        super().__init__()
        self.body, self.pool, self.projection = body, pool, head
        self.names = list(inspect.signature(body.forward).parameters)

    @property
    def within(self) -> Any:
        """The layer whose forward says how this one is called."""
        return self.body

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """(B, D) vectors."""
        x = self.body(*args, **kwargs)
        if self.pool is not None:
            x = self.pool(x, _mask(self.names, x, self.pool.how.axis, args, kwargs))
        return x if self.projection is None else self.projection(x)


@paddle.jit.not_to_static  # type: ignore[untyped-decorator]
def _mask(names: Sequence[str], x: Any, axis: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if len(x.shape) != 3 or axis != -1:
        return None
    inputs: Mapping[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(inputs) == 1 and isinstance(only := next(iter(inputs.values())), Mapping):
        inputs = only
    for name in MASKS:
        mask = inputs.get(name)
        if isinstance(mask, TENSORS) and list(mask.shape) == list(x.shape[:2]):
            return mask
    return None


def attach(
    body: Any,
    how: Pooling | None,
    steps: Sequence[Sequence[Any]],
    module: Any,
    kernels: Sequence[np.ndarray | None],
) -> Tailored:
    """See `finetuner.tailor.base.Tailor.attach`."""
    like = next((p for p in body.parameters() if p.is_floating_point()), None)

    def placed(layer: Any) -> Any:
        return layer if like is None else layer.to(device=like.place, dtype=like.dtype)

    layers = [
        module if step[0] == 'module' else placed(_layer(kernel, *step))
        for step, kernel in zip(steps, kernels, strict=True)
    ]
    model = Tailored(body, None if how is None else placed(Pool(how)), _nn.Sequential(*layers) if layers else None)
    theirs = {id(layer) for layer in body.sublayers(include_self=True)}
    for layer in model.sublayers(include_self=True):
        if id(layer) not in theirs:
            layer.training = body.training
    return model


def _layer(kernel: np.ndarray | None, kind: str, *options: Any) -> Any:
    if kernel is not None:
        inputs, outputs, *how = options
        start = paddle.ParamAttr(initializer=_nn.initializer.Assign(kernel))
        return _nn.Linear(inputs, outputs, start, False if 'unbiased' in how else None)
    if kind == 'batchnorm':
        return _nn.BatchNorm1D(options[0], momentum=0.9, epsilon=1e-5)
    return {'relu': _nn.ReLU, 'normalize': Normalize}[kind]()
