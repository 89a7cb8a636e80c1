"""A Paddle layer around another one, which is called as that one is."""

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

from finetuner.backends.paddle import paddle


class _Forward:
    # Only read, for paddle.jit puts another one into the layer.
    def __get__(self, layer: Any, kind: Any) -> Callable[..., Any]:
        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self.run(*args, **kwargs)

        if layer is None:
            return forward
        own, *_ = inspect.signature(forward).parameters.values()
        theirs = inspect.signature(layer.within.forward).parameters.values()
        forward.__signature__ = inspect.Signature([own, *theirs])  # type: ignore[attr-defined]
        return MethodType(forward, layer)


class Around(paddle.nn.Layer):
    """Its `forward` is `run`, with the signature of the layer within: paddle.jit and people go by that."""

    forward = _Forward()

    @property
    def within(self) -> Any:
        """The layer whose forward says how this one is called."""
        raise NotImplementedError

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What forward gives."""
        raise NotImplementedError
