"""Pooling and head on top of a PyTorch module."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from finetuner.backends.torch.around import Around
from finetuner.losses import distances, pooling
from finetuner.tailor.recipe import MASKS, Pooling


class Pool(nn.Module):
    """One vector an item: the formulas of `finetuner.losses.pooling`, and what they learn."""

    def __init__(self, how: Pooling) -> None:
        super().__init__()
        self.how = how
        if how.name == 'gem':
            p = torch.full((1,), float(how.p))
            if how.learn:
                self.p = nn.Parameter(p)
            else:
                self.register_buffer('p', p)
        elif how.name == 'attention':
            self.query = nn.Parameter(torch.zeros(how.width))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
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


class Normalize(nn.Module):
    """Rows of length 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D)."""
        return distances.normalize(x)


class Tailored(Around):
    """A body, pooling and a head; called as the body is."""

    def __init__(self, body: nn.Module, pool: Pool | None, head: nn.Sequential | None) -> None:
        super().__init__()
        self.body, self.pool, self.projection = body, pool, head
        self.names = list(inspect.signature(body.forward).parameters)

    @property
    def within(self) -> nn.Module:
        """The module whose forward says how this one is called."""
        return self.body

    def run(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, D) vectors."""
        x = self.body(*args, **kwargs)
        if self.pool is not None:
            x = self.pool(x, self._mask(x, args, kwargs))
        return x if self.projection is None else self.projection(x)

    def _mask(self, x: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
        if x.ndim != 3 or self.pool is None or self.pool.how.axis != -1:
            return None
        inputs = {**dict(zip(self.names, args, strict=False)), **kwargs}
        if len(args) == 1 and isinstance(args[0], Mapping):
            inputs |= args[0]
        for name in MASKS:
            mask = inputs.get(name)
            if isinstance(mask, torch.Tensor) and mask.shape == x.shape[:2]:
                return mask
        return None


def attach(
    body: nn.Module,
    how: Pooling | None,
    steps: Sequence[Sequence[Any]],
    module: nn.Module | None,
    kernels: Sequence[np.ndarray | None],
) -> Tailored:
    """See `finetuner.tailor.base.Tailor.attach`."""
    like = next((p for p in body.parameters() if p.is_floating_point()), torch.zeros(()))
    pool = None if how is None else Pool(how).to(like.device, like.dtype)
    layers = [
        module if step[0] == 'module' else _layer(kernel, *step).to(like.device, like.dtype)
        for step, kernel in zip(steps, kernels, strict=True)
    ]
    model = Tailored(body, pool, nn.Sequential(*layers) if layers else None)
    model.training = body.training
    for part in (model.pool, model.projection):
        if part is not None:
            part.train(body.training)
    return model


def _layer(kernel: np.ndarray | None, kind: str, *options: Any) -> nn.Module:
    if kernel is not None:
        inputs, outputs, *how = options
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias='unbiased' not in how)  # draws no numbers
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(kernel.T))
            if linear.bias is not None:
                linear.bias.zero_()
        return linear
    if kind == 'batchnorm':
        return nn.BatchNorm1d(options[0], eps=1e-5)
    return {'relu': nn.ReLU, 'normalize': Normalize}[kind]()
