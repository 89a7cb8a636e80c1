"""A PyTorch module around another one, which is called as that one is."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import nn


class _Forward:
    # Only read, for other libraries put a forward of their own into a module.
    def __get__(self, module: Any, kind: Any) -> Callable[..., Any]:
        if module is None:
            return kind.run

        @wraps(module.within.forward)
        def forward(*args: Any, **kwargs: Any) -> Any:
            return module.run(*args, **kwargs)

        return forward


class Around(nn.Module):
    """Its `forward` is `run`, with the signature of the module within: torch.export and trainers go by that."""

    forward = _Forward()

    @property
    def within(self) -> nn.Module:
        """The module whose forward says how this one is called."""
        raise NotImplementedError

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What forward gives."""
        raise NotImplementedError
