"""PyTorch's part of Tailor."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from finetuner.backends.torch import adapter as adapters, cutting, tailored, tracing
from finetuner.errors import ModelError
from finetuner.tailor import base
from finetuner.tailor.layers import Layer, listed, sample
from finetuner.tailor.recipe import Adapter, Pooling
from finetuner.typing import Inputs


class Tailor(base.Tailor):
    """Works on what the module calls, seen by hooks."""

    framework = 'torch'

    def sample(self, model: Any) -> Inputs | None:
        example = getattr(model, 'example_input_array', None)  # of Lightning
        if example is not None:
            return example
        config: Any = getattr(model, 'config', None)
        main = getattr(model, 'main_input_name', None)
        if main == 'pixel_values' and hasattr(config, 'image_size'):
            size = config.image_size
            height, width = size if isinstance(size, Sequence) else (size, size)
            return {'pixel_values': sample((getattr(config, 'num_channels', 3), height, width))}
        if main == 'input_ids' and not hasattr(config, 'vision_config'):
            return sample({'input_ids': (8,), 'attention_mask': (8,)}, 'int64')
        return None

    def trace(self, model: nn.Module, inputs: Inputs) -> list[Layer]:
        return listed(tracing.calls(model, inputs))

    def copy(self, model: nn.Module) -> nn.Module:
        try:
            return copy.deepcopy(model)
        except Exception as error:
            raise ModelError(
                f'The model cannot be copied ({type(error).__name__}: {error}); with inplace=True it need not be.'
            ) from error

    def freeze(self, model: nn.Module, paths: Sequence[str]) -> None:
        for path in paths:
            place, _, name = path.rpartition('.')
            thing = getattr(model.get_submodule(place), name) if path else model
            if isinstance(thing, nn.Parameter):
                thing.requires_grad_(False)
                continue
            thing.requires_grad_(False)
            for module in thing.modules():
                names = [name for name, _ in module.named_buffers(recurse=False)]
                # The statistics of BatchNorm, and the vectors of spectral_norm (`_u`, `weight_u`).
                if any(name == 'running_mean' or name.endswith('_u') for name in names):
                    module.training = False
                    if _stand_still not in module._forward_pre_hooks.values():
                        module.register_forward_pre_hook(_stand_still, prepend=True)

    def cut(self, model: nn.Module, at: str, call: int, inputs: Inputs) -> base.Cut:
        return cutting.cut(model, at, call, inputs)

    def adaptable(self, model: nn.Module) -> Mapping[str, bool]:
        return adapters.places(model)

    def adapt(self, cut: base.Cut, adapter: Adapter, seed: int) -> None:
        body = cut.model.model if cut.way == 'wrapper' else cut.model  # as the general model's paths have it
        adapters.adapt(body, adapter, seed)

    def merge(self, model: nn.Module) -> None:
        if not adapters.adapted(model):
            super().merge(model)
        adapters.merge(model)

    def attach(
        self,
        model: nn.Module,
        pooling: Pooling | None,
        head: Sequence[tuple[Any, ...]],
        module: Any,
        kernels: Sequence[np.ndarray | None],
    ) -> Any:
        return tailored.attach(model, pooling, head, module, kernels)


def _stand_still(module: nn.Module, args: Any) -> None:
    # A hook, because train() of the whole model sets the mode anew; of all ways this one is copied and pickled too.
    if module.training:
        module.training = False
