"""A PyTorch module in two parts: what stands still, and what trains on top of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from finetuner.backends.torch.around import Around
from finetuner.backends.torch.encoder import Encoder
from finetuner.backends.torch.tailored import Pool, Tailored
from finetuner.backends.torch.tracing import undisturbed
from finetuner.tailor.halves import Halves, Step, boundary
from finetuner.typing import Inputs

Masks = dict[nn.Module, Callable[..., Any]]
"""Of a pooling: what finds its mask, as `Tailored` does."""


class Lower(Around):
    """The first layers of a model; called as the model is."""

    def __init__(self, steps: Sequence[nn.Module], masks: Masks, above: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.masks = masks
        self.wanted = masks.get(above)

    @property
    def within(self) -> nn.Module:
        """The module whose forward says how this one is called."""
        return self.steps[0]

    def run(self, *args: Any, **kwargs: Any) -> list[torch.Tensor]:
        """What the layer above takes; if that is a pooling, perhaps with a mask."""
        first, *others = self.steps
        x = first(*args, **kwargs)
        for step in others:
            x = step(x, self.masks[step](x, args, kwargs)) if step in self.masks else step(x)
        mask = None if self.wanted is None else self.wanted(x, args, kwargs)
        return [x] if mask is None else [x, mask]


class Upper(nn.Module):
    """The last layers of a model."""

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, D) of what `Lower` gives."""
        x, *mask = parts
        first, *others = self.steps
        x = first(x, *mask)
        for step in others:
            x = step(x)
        return x


def halves(model: nn.Module) -> Halves | str:
    """The two parts of a model; or why it has none."""
    masks: Masks = {}
    steps = _steps(model, masks)
    end = boundary([_step(step) for step in steps])
    if isinstance(end, str):
        return end
    if any(isinstance(step, Pool) and step.how.axis == -1 for step in steps[end + 1 :]):
        return 'layers below its pooling train, and they may need the mask of the tokens'
    lower, upper = Lower(steps[:end], masks, steps[end]), Upper(steps[end:])
    return Halves(lower, upper, isinstance(steps[end], Pool) and steps[end].how.axis == -1)


def awake(lower: nn.Module, inputs: Inputs) -> tuple[list[torch.Tensor], bool]:
    """What the lower part gives in training mode, and whether statistics of it move; it is left as it was."""
    with undisturbed(lower, training=True):
        before = [buffer.clone() for buffer in lower.buffers()]
        output = Encoder(lower).call(inputs)
        return output, any(not torch.equal(a, b) for a, b in zip(before, lower.buffers(), strict=True))


def _steps(model: nn.Module, masks: Masks) -> list[nn.Module]:
    hooked = model._forward_hooks or model._forward_pre_hooks or model._backward_hooks or model._backward_pre_hooks
    if not hooked and type(model) is Tailored:
        found = _steps(model.body, masks)
        if model.pool is not None:
            masks[model.pool] = model._mask
            found.append(model.pool)
        return found if model.projection is None else found + _steps(model.projection, masks)
    if not hooked and isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward and len(model):
        return [step for child in model for step in _steps(child, masks)]
    return [model]


def _step(module: nn.Module) -> Step:
    weights = list(module.parameters())
    kinds = [type(part).__name__ for part in module.modules()]
    return Step(any(p.requires_grad for p in weights), bool(weights), kinds)
