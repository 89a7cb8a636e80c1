"""PyTorch's part of Tailor."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from finetuner.backends.torch import adapter as adapters, cutting, tailored, tracing
from finetuner.errors import ArgumentError, ModelError
from finetuner.tailor import base
from finetuner.tailor.layers import Layer, listed, sample
from finetuner.tailor.recipe import Adapter, Pooling
from finetuner.typing import Inputs

BEFORE = '_trained_before_freeze'
"""What `freeze` notes on a module: its own weights by name, and whether they trained; copied and pickled with it."""


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

    def output(self, model: nn.Module, inputs: Inputs) -> Any:
        found = tracing.run(model, inputs)
        return None if getattr(found, 'is_meta', False) else found  # which has no numbers

    def copy(self, model: nn.Module) -> nn.Module:
        try:
            return copy.deepcopy(model)
        except Exception as error:
            raise ModelError(
                f'The model cannot be copied ({type(error).__name__}: {error}); with inplace=True it need not be.'
            ) from error

    def freeze(self, model: nn.Module, paths: Sequence[str]) -> None:
        for path in paths:
            marks = [(m, vars(m)[BEFORE]) for m in model.modules() if BEFORE in vars(m)]
            frozen = {id(m._parameters.get(name)) for m, mark in marks for name, trained in mark.items() if trained}
            held, modules = _below(model, path)
            for module, name, weight in held:  # all are looked at before any is frozen: some may be one
                vars(module).setdefault(BEFORE, {}).setdefault(name, weight.requires_grad or id(weight) in frozen)
            for _, _, weight in held:
                weight.requires_grad_(False)
            for module in modules:
                names = [name for name, _ in module.named_buffers(recurse=False)]
                # The statistics of BatchNorm, and the vectors of spectral_norm (`_u`, `weight_u`).
                if any(name == 'running_mean' or name.endswith('_u') for name in names):
                    module.training = False
                    if not stands_still(module):
                        vars(module).setdefault(BEFORE, {})[''] = True
                        module.register_forward_pre_hook(_stand_still, prepend=True)

    def unfreeze(self, model: nn.Module, paths: Sequence[str]) -> None:
        adapted = bool(adapters.adapted(model))  # their body stands still, and no mark says that it did not
        for path in paths:
            held, modules = _below(model, path)
            known = [name in vars(module).get(BEFORE, {}) for module, name, _ in held]
            if adapted and not any(known) and not all(weight.requires_grad for _, _, weight in held):
                raise ArgumentError(
                    f'{path or "The model"!r} has weights that adapters are trained in place of: take these in first, '
                    f'with finetuner.tailor.merge(model).'
                )
            for module, name, weight in held:
                trained = weight.requires_grad if adapted else weight.is_floating_point()
                weight.requires_grad_(vars(module).get(BEFORE, {}).pop(name, trained))
            for module in filter(stands_still, modules):
                if not vars(module).get(BEFORE, {}).pop('', not adapted):
                    continue
                for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _stand_still]:
                    del module._forward_pre_hooks[key]
                module.training = model.training
            for module in modules:
                if vars(module).get(BEFORE) == {}:
                    del vars(module)[BEFORE]

    def cut(self, model: nn.Module, at: str, call: int, inputs: Inputs) -> base.Cut:
        return cutting.cut(model, at, call, inputs)

    def adaptable(self, model: nn.Module) -> Mapping[str, bool]:
        return adapters.places(model)

    def adapt(self, cut: base.Cut, adapter: Adapter, seed: int) -> None:
        body = cut.model.model if cut.way == 'wrapper' else cut.model  # as the general model's paths have it
        there = adapters.places(body)  # without what was cut off together with what runs after the cut
        adapters.adapt(body, adapter._replace(at=tuple(path for path in adapter.at if path in there)), seed)
        for module in body.modules():  # what was frozen for the adapters is not unfrozen beside them
            vars(module).pop(BEFORE, None)

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


def _below(model: nn.Module, path: str) -> tuple[list[tuple[nn.Module, str, nn.Parameter]], list[nn.Module]]:
    # The weights at a path and below it, with who holds them and by what name; and the modules.
    place, _, name = path.rpartition('.')
    parent = model.get_submodule(place)
    if name in parent._parameters:
        return [(parent, name, getattr(parent, name))], []
    modules = list(model.get_submodule(path).modules())
    return [(m, name, weight) for m in modules for name, weight in m._parameters.items() if weight is not None], modules


def stands_still(module: nn.Module) -> bool:
    """Whether `freeze` keeps the statistics of this module itself as they are."""
    return _stand_still in module._forward_pre_hooks.values()


def _stand_still(module: nn.Module, args: Any) -> None:
    # A hook, because train() of the whole model sets the mode anew; of all ways this one is copied and pickled too.
    if module.training:
        module.training = False
