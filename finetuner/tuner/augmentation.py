"""The augmentation of images by the name of the original; an alias of `finetuner.data.augmentation`."""

from typing import Any

from finetuner.data import augmentation

__all__ = augmentation.__all__


def __getattr__(name: str) -> Any:
    return getattr(augmentation, name)
