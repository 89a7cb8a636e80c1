"""The losses and miners by the name of the original; an alias of `finetuner.losses`."""

from typing import Any

from finetuner import losses

__all__ = losses.__all__


def __getattr__(name: str) -> Any:
    return getattr(losses, name)
