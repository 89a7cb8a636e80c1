"""A Paddle layer in two parts: what stands still, and what trains on top of it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetuner.backends.paddle import ops, paddle, parts
from finetuner.backends.paddle.around import Around
from finetuner.backends.paddle.encoder import Encoder
from finetuner.backends.paddle.tailored import Pool, Tailored, _mask
from finetuner.backends.paddle.tracing import undisturbed
from finetuner.tailor.halves import Halves, Step, boundary
from finetuner.typing import Inputs

_nn = paddle.nn
Masks = dict[Any, Callable[..., Any]]
"""Of a pooling: what finds its mask, as `Tailored` does."""


class Lower(Around):
    """The first layers of a model; called as the model is."""

    def __init__(self, steps: Sequence[Any], masks: Masks, above: Any) -> None:
        super().__init__()
        self.steps = _nn.LayerList(steps)
        self.masks = masks
        self.wanted = masks.get(above)

    @property
    def within(self) -> Any:
        """The layer whose forward says how this one is called."""
        return self.steps[0]

    def run(self, *args: Any, **kwargs: Any) -> list[Any]:
        """What the layer above takes; if that is a pooling, perhaps with a mask."""
        first, *others = self.steps
        x = first(*args, **kwargs)
        for step in others:
            x = step(x, self.masks[step](x, args, kwargs)) if step in self.masks else step(x)
        mask = None if self.wanted is None else self.wanted(x, args, kwargs)
        return [x] if mask is None else [x, mask]


class Upper(paddle.nn.Layer):
    """The last layers of a model."""

    def __init__(self, steps: Sequence[Any]) -> None:
        super().__init__()
        self.steps = _nn.LayerList(steps)

    def forward(self, parts: Sequence[Any]) -> Any:
        """(B, D) of what `Lower` gives."""
        x = parts[0]
        x = self.steps[0](x) if len(parts) == 1 else self.steps[0](x, parts[1])
        for step in self.steps[1:]:
            x = step(x)
        return x


def halves(model: Any) -> Halves | str:
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


def awake(lower: Any, inputs: Inputs) -> tuple[list[Any], bool]:
    """What the lower part gives in training mode, and whether statistics of it move; it is left as it was."""
    with undisturbed(lower, training=True):
        before = {name: ops.to_numpy(value).copy() for name, value in lower.state_dict().items()}
        output = Encoder(lower).call(inputs)
        moved = any(not np.array_equal(ops.to_numpy(v), before[name]) for name, v in lower.state_dict().items())
        return output, moved


def _steps(model: Any, masks: Masks) -> list[Any]:
    hooked = model._forward_post_hooks or model._forward_pre_hooks
    if not hooked and type(model) is Tailored:
        found = _steps(model.body, masks)
        if model.pool is not None:
            names, axis = model.names, model.pool.how.axis
            masks[model.pool] = lambda x, args, kwargs: _mask(names, x, axis, args, kwargs)
            found.append(model.pool)
        return found if model.projection is None else found + _steps(model.projection, masks)
    chain = isinstance(model, _nn.Sequential) and type(model).forward is _nn.Sequential.forward
    if not hooked and chain and len(model):
        return [step for child in model.children() for step in _steps(child, masks)]
    return [model]


def _step(layer: Any) -> Step:
    weights = list(parts.weights(layer).values())
    kinds = [type(one).__name__ for one in layer.sublayers(include_self=True)]
    return Step(any(not p.stop_gradient for p in weights), bool(weights), kinds)
