"""Low-rank adapters (LoRA) beside the weights of a PyTorch module, by peft."""

import re
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from finetuner.errors import ArgumentError, MissingExtraError
from finetuner.tailor.layers import inside
from finetuner.tailor.recipe import Adapter

NAME = 'finetuner'
"""What peft calls our adapters; those of other names are the user's own, and are left alone."""


def places(model: nn.Module) -> dict[str, bool]:
    """The paths of the linear layers, each with whether it is adapted by default.

    Within a transformer whose architecture peft knows these are the projections that it names, mostly query and value;
    elsewhere all.

    Raises:
        ArgumentError: the model has adapters already.
        MissingExtraError: peft is not installed.
    """
    peft = _peft()
    from transformers.pytorch_utils import Conv1D  # a linear layer, of GPT-2

    if any(isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer) for module in model.modules()):
        raise ArgumentError(
            'This model has adapters of peft already. Tune it as it is, without adapter; or merge them first, with '
            'finetuner.tailor.merge(model), or model.merge_and_unload() where they are your own.'
        )
    usual = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    architectures = {}
    for path, module in model.named_modules():
        kind = getattr(getattr(module, 'config', None), 'model_type', None)
        if kind in usual:
            architectures[path] = usual[kind]
    owners = Counter(id(p) for module in model.modules() for p in module.parameters(recurse=False))
    found = {}
    for path, module in model.named_modules():
        weight = module._parameters.get('weight')  # parametrized, it is none of its parameters
        # What is read in two places cannot be changed in one.
        if isinstance(module, nn.Linear | Conv1D) and weight is not None and owners[id(weight)] == 1:
            around = max((place for place in architectures if inside(path, place)), key=len, default=None)
            found[path] = around is None or _means(architectures[around], path)
    return found


def _means(names: Any, path: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, path) is not None
    return any(path == name or path.endswith(f'.{name}') for name in names)


def adapt(model: nn.Module, adapter: Adapter, seed: int) -> None:
    """Put adapters beside the layers that `adapter` names; everything else stands still."""
    peft, modules = _peft(), dict(model.named_modules())
    config = peft.LoraConfig(
        r=int(adapter.r),
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        # One pattern: in a list of names each would also mean all paths that end with it.
        target_modules='|'.join(re.escape(path) for path in adapter.at),
    )
    doubles = {id(modules[path]): path for path in adapter.at}
    aliases = [
        (path, doubles[id(module)])
        for path, module in model.named_modules(remove_duplicate=False)
        if id(module) in doubles and path not in adapter.at
    ]
    with torch.random.fork_rng([]), warnings.catch_warnings(action='ignore'):
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(config, model, NAME)
    for path, target in aliases:
        _put(model, path, model.get_submodule(target))
    for path in adapter.at:
        layer = model.get_submodule(path)
        layer.train(modules[path].training)
        layer.register_forward_pre_hook(_is_called)


def _is_called(module: nn.Module, args: Any) -> None:
    """Does nothing; for its sake nn.TransformerEncoderLayer calls its layers.

    In evaluation that one otherwise reads their weights and computes with them by itself, past the adapters
    (torch 2.13); where a layer has hooks it does not.
    """


def adapted(model: nn.Module) -> dict[str, Any]:
    """The layers with adapters of ours, by all their paths."""
    if sys.modules.get('peft') is None:  # then nobody made any
        return {}
    from peft.tuners.lora import LoraLayer

    modules = model.named_modules(remove_duplicate=False)
    return {path: module for path, module in modules if isinstance(module, LoraLayer) and NAME in module.scaling}


def merge(model: nn.Module) -> None:
    """Take the adapters out, and add what they learned to the weights beside them."""
    layers = adapted(model)
    with torch.no_grad():
        for layer in {id(layer): layer for layer in layers.values()}.values():
            layer.base_layer.weight += layer.get_delta_weight(NAME)
    for path, layer in layers.items():
        _put(model, path, layer.base_layer)
    for module in model.modules():
        if NAME in module.__dict__.get('peft_config', ()):
            del module.peft_config


def merged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict that the model would have after `merge`."""
    names, found = _names(model), {}
    for own, value in model.state_dict().items():
        name = names.get(own, own)
        if name is not None:
            found[name] = value
    for path, layer in adapted(model).items():
        found[f'{path}.weight'] = found[f'{path}.weight'] + layer.get_delta_weight(NAME).detach()
    return found


def beside(model: nn.Module, weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Weights of the model without adapters as weights with them, which add nothing; others as they are."""
    names = _names(model)
    if not names or any(names.get(name, name) is None for name in weights):
        return weights
    found = {plain: name for name, plain in names.items() if plain is not None}
    whole = {found.get(name, name): value for name, value in weights.items()}
    for name, value in model.state_dict().items():
        if names.get(name, name) is None:
            value = torch.zeros_like(value) if '.lora_B.' in name else value
            whole[name] = value.detach().cpu().float().numpy()
    return whole


def _names(model: nn.Module) -> dict[str, str | None]:
    # Of what adapters changed the names of: the name without them, None for their own weights.
    names: dict[str, str | None] = {}
    for path, layer in adapted(model).items():
        for name in layer.state_dict():
            plain = name.removeprefix('base_layer.')
            names[f'{path}.{name}'] = f'{path}.{plain}' if plain != name else None
    return names


def _put(model: nn.Module, path: str, layer: nn.Module) -> None:
    place, _, name = path.rpartition('.')
    setattr(model.get_submodule(place), name, layer)


def _peft() -> ModuleType:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"adapter='lora' needs the package {error.name!r}, which is not installed. "
            f"Install it with: pip install 'finetuner[lora]'"
        ) from error
    return peft
