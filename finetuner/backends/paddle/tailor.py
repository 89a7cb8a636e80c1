"""PaddlePaddle's part of Tailor."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.backends.paddle import cutting, parts, tailored, tracing
from finetuner.errors import ModelError
from finetuner.tailor import base
from finetuner.tailor.layers import Layer, listed
from finetuner.tailor.recipe import Pooling
from finetuner.typing import Inputs

BEFORE = '_trained_before_freeze'
"""What `freeze` notes on a layer: its own weights by name, and whether they trained; it is copied with the layer."""

STATISTICS = '_statistics_before_freeze'
"""What `freeze` notes on a BatchNorm: how it was told to use its statistics."""

_BY_STATISTICS = '_use_global_stats', '_trainable_statistics'


class Tailor(base.Tailor):
    """Works on what the layer calls, seen by hooks."""

    framework = 'paddle'
    in_place_of_adapters = 'freeze_layer=-1 trains only the last block, freeze=True only the head.'

    def sample(self, model: Any) -> Inputs | None:
        return None

    def trace(self, model: Any, inputs: Inputs) -> list[Layer]:
        return listed(tracing.calls(model, inputs))

    def output(self, model: Any, inputs: Inputs) -> Any:
        return tracing.run(model, inputs)

    def copy(self, model: Any) -> Any:
        try:
            return parts.eager(copy.deepcopy(model))
        except Exception as error:
            raise ModelError(
                f'The model cannot be copied ({type(error).__name__}: {error}); with inplace=True it need not be.'
            ) from error

    def freeze(self, model: Any, paths: Sequence[str]) -> None:
        for path in paths:
            marks = [(one, vars(one)[BEFORE]) for one in model.sublayers(True) if BEFORE in vars(one)]
            frozen = {id(one._parameters.get(name)) for one, mark in marks for name, trained in mark.items() if trained}
            held, layers = _below(model, path)
            for layer, name, weight in held:  # all are looked at before any is frozen: some may be one
                vars(layer).setdefault(BEFORE, {}).setdefault(name, not weight.stop_gradient or id(weight) in frozen)
            for _, _, weight in held:
                weight.stop_gradient = True
            for layer in layers:
                if '_mean' in parts.statistics(layer):
                    layer.training = False
                    if not stands_still(layer):
                        vars(layer)[STATISTICS] = {name: vars(layer).get(name) for name in _BY_STATISTICS}
                        layer._use_global_stats = True  # False would normalise by the batch in any mode
                        layer._trainable_statistics = False
                        layer.register_forward_pre_hook(_stand_still)

    def unfreeze(self, model: Any, paths: Sequence[str]) -> None:
        for path in paths:
            held, layers = _below(model, path)
            for layer, name, weight in held:
                weight.stop_gradient = not vars(layer).get(BEFORE, {}).pop(name, True)
            for layer in filter(stands_still, layers):
                for key in [key for key, hook in layer._forward_pre_hooks.items() if hook is _stand_still]:
                    del layer._forward_pre_hooks[key]
                vars(layer).update(vars(layer).pop(STATISTICS))
                layer.training = model.training

    def cut(self, model: Any, at: str, call: int, inputs: Inputs) -> base.Cut:
        return cutting.cut(model, at, call, inputs)

    def attach(
        self,
        model: Any,
        pooling: Pooling | None,
        head: Sequence[tuple[Any, ...]],
        module: Any,
        kernels: Sequence[np.ndarray | None],
    ) -> Any:
        return tailored.attach(model, pooling, head, module, kernels)


def _below(model: Any, path: str) -> tuple[list[tuple[Any, str, Any]], list[Any]]:
    # The weights at a path and below it, with who holds them and by what name; and the layers. Statistics are none.
    place, _, name = path.rpartition('.')
    parent = model.get_sublayer(place)
    if name in parent._parameters:
        return [(parent, name, parent._parameters[name])], []
    layers = model.get_sublayer(path).sublayers(include_self=True)
    held = [(layer, name, p) for layer in layers for name, p in layer._parameters.items() if p is not None]
    return [(layer, name, p) for layer, name, p in held if name not in parts.statistics(layer)], layers


def stands_still(layer: Any) -> bool:
    """Whether `freeze` keeps the statistics of this layer itself as they are."""
    return _stand_still in layer._forward_pre_hooks.values()


def _stand_still(layer: Any, inputs: Any) -> None:
    # A hook, because train() of the whole model sets the mode anew; it is copied with the layer.
    layer.training = False
