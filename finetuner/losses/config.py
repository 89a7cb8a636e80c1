"""Losses, miners and regularizers as JSON, for frameworks that save what a model is made of."""

from dataclasses import fields, is_dataclass
from typing import Any

from finetuner.errors import ArgumentError
from finetuner.losses.names import LOSSES, MINERS, REGULARIZERS, WRAPPERS, find, get


def to_config(what: Any) -> Any:
    """A loss, miner or regularizer as JSON knows it, with all that is in it; of numbers and texts themselves.

    Raises:
        ArgumentError: it is none of ours, and could not be made again.

    >>> to_config(get('CrossBatchMemory', loss='SiameseLoss'))['options']['memory_size']
    1024
    """
    if not is_dataclass(what):
        return [to_config(part) for part in what] if isinstance(what, tuple) else what
    kinds = {'loss': LOSSES | WRAPPERS, 'miner': MINERS, 'regularizer': REGULARIZERS}
    name = type(what).__name__
    kind = next((kind for kind, table in kinds.items() if name in table), None)
    if kind is None or find(name, kind) is not type(what):
        raise ArgumentError(f'{name} is not one of ours: it has no configuration, for nobody could read it.')
    options = {field.name: to_config(getattr(what, field.name)) for field in fields(what)}
    return {kind: name, 'options': options}


def from_config(config: Any) -> Any:
    """What `to_config` was given; anything else as it came."""
    if isinstance(config, list):
        return tuple(from_config(part) for part in config)
    if not isinstance(config, dict) or 'options' not in config:
        return config
    kind, name = next((kind, config[kind]) for kind in ('loss', 'miner', 'regularizer') if kind in config)
    return get(name, kind, **{option: from_config(value) for option, value in config['options'].items()})
