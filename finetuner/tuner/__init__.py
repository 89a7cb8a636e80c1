"""Training in this process; what is here is imported when first used."""

from importlib import import_module
from typing import Any

from finetuner import dispatch

_MODULES = ('augmentation', 'callback', 'callbacks', 'losses')
_TUNERS = {'PytorchTuner': 'torch', 'KerasTuner': 'keras', 'PaddleTuner': 'paddle'}

__all__ = [*_MODULES, *_TUNERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f'{__name__}.{name}')
    if name in _TUNERS:
        return dispatch.load(_TUNERS[name], 'tuner').Tuner
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
