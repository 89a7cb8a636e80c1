"""Random changes of items, for views of what has no labels; picklable callables, imported when first used.

They draw from numpy's global generator, which a training seeds for every view of every item.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.data.augmentation.images import ImageAugmentation
    from finetuner.data.augmentation.points import PointAugmentation
    from finetuner.data.augmentation.vision import vision_preprocessor
    from finetuner.data.augmentation.words import WordDropout

_PUBLIC = {
    'ImageAugmentation': 'images',
    'PointAugmentation': 'points',
    'WordDropout': 'words',
    'vision_preprocessor': 'vision',
}
__all__ = ['ImageAugmentation', 'PointAugmentation', 'WordDropout', 'vision_preprocessor']


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_PUBLIC[name]}'), name)
