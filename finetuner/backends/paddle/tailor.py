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


class Tailor(base.Tailor):
    """Works on what the layer calls, seen by hooks."""

    framework = 'paddle'
    in_place_of_adapters = 'freeze_layer=-1 trains only the last block, freeze=True only the head.'

    def sample(self, model: Any) -> Inputs | None:
        return None

    def trace(self, model: Any, inputs: Inputs) -> list[Layer]:
        return listed(tracing.calls(model, inputs))

    def copy(self, model: Any) -> Any:
        try:
            return parts.eager(copy.deepcopy(model))
        except Exception as error:
            raise ModelError(
                f'The model cannot be copied ({type(error).__name__}: {error}); with inplace=True it need not be.'
            ) from error

    def freeze(self, model: Any, paths: Sequence[str]) -> None:
        for path in paths:
            place, _, name = path.rpartition('.')
            parent = model.get_sublayer(place)
            if name in parent._parameters:
                parent._parameters[name].stop_gradient = True
                continue
            block = model.get_sublayer(path)
            for parameter in block.parameters():
                parameter.stop_gradient = True
            for layer in block.sublayers(include_self=True):
                if '_mean' in parts.statistics(layer):
                    layer.training = False
                    layer._use_global_stats = True  # False would normalise by the batch in any mode
                    layer._trainable_statistics = False
                    if _stand_still not in layer._forward_pre_hooks.values():
                        layer.register_forward_pre_hook(_stand_still)

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


def _stand_still(layer: Any, inputs: Any) -> None:
    # A hook, because train() of the whole model sets the mode anew; it is copied with the layer.
    layer.training = False
