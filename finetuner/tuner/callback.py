"""The callbacks by the name of the original; an alias of `finetuner.tuner.callbacks`."""

from typing import Any

from finetuner.tuner import callbacks

__all__ = callbacks.__all__


def __getattr__(name: str) -> Any:
    return getattr(callbacks, name)
