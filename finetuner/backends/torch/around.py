"""A PyTorch module around another one, which is called as that one is."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import nn


class Around(nn.Module):
    """Its `forward` has the signature of the module within: by it torch.export, trainers and people know the inputs."""

    @property
    def within(self) -> nn.Module:
        """The module whose forward says how this one is called."""
        raise NotImplementedError

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """What forward gives."""
        raise NotImplementedError

    @property
    def forward(self) -> Callable[..., Any]:
        """`run`, called as the module within."""

        @wraps(self.within.forward)
        def forward(*args: Any, **kwargs: Any) -> Any:
            return self.run(*args, **kwargs)

        return forward
