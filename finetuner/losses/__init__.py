"""Losses, written once in numpy's words and run on the tensors of any framework; imported when first used."""

from importlib import import_module
from typing import Any

from finetuner.losses.names import LOSSES, REGULARIZERS, WRAPPERS, find, get

_MODULES = ('distances', 'miners', 'reduce', 'relation')
__all__ = ['get', *_MODULES, *LOSSES, *WRAPPERS, *REGULARIZERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in LOSSES or name in WRAPPERS:
        return find(name)
    if name in REGULARIZERS:
        return find(name, 'regularizer')
    if name in _MODULES:
        return import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *LOSSES, *WRAPPERS, *REGULARIZERS})
