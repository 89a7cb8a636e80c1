"""What makes the views of an item differ: what is named, what its reader or `preprocess_fn` draw, or what suits it."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import numpy as np

from finetuner.data.augmentation.images import ImageAugmentation
from finetuner.data.augmentation.pixels import channel_axis, is_picture, opened
from finetuner.data.augmentation.points import PointAugmentation
from finetuner.data.augmentation.words import WordDropout
from finetuner.data.chance import seeded
from finetuner.data.collate import collate
from finetuner.data.dataset import Dataset
from finetuner.data.inspection import fingerprint
from finetuner.errors import ArgumentError, DataError, nearest
from finetuner.typing import CollateFn, PreprocessFn

NAMES: dict[str, Callable[[], PreprocessFn]] = {
    'image': ImageAugmentation,
    'points': PointAugmentation,
    'text': WordDropout,
}
DROPOUT = 'dropout'
_TRIED = 8  # items that are looked at, because a view may be what the item is: mirrored or not, say
_OFTEN = 64  # the same where each is computed once, so that rare chance would be lost
_CLOUD = 16  # points at least, in an array that is taken for a cloud unasked


class Views(NamedTuple):
    """How the items of some data are changed for training.

    Attributes:
        augmentation: what changes the content of an item; None where nothing does.
        dropout: whether only chance in the model can make the two views of an item differ.
        told: the same as a sentence; '' where items have no views and nothing changes them.
    """

    augmentation: PreprocessFn | None = None
    dropout: bool = False
    told: str = ''


def choose(augmentation: Any, dataset: Dataset, collate_fn: CollateFn | None = None) -> Views:
    """How to change the items of some data.

    Args:
        augmentation: a name, a function, False for nothing, or None: then items with labels stay as they are, and
            items without are changed as suits the first of them, unless they are read or preprocessed by chance.
        dataset: the items.
        collate_fn: from a list of contents to the model's input.

    Raises:
        ArgumentError: there is no such augmentation.
        DataError: an item cannot be read.
    """
    function = _named(augmentation)
    alone = dataset.kind == 'instance' and len(dataset) > 0
    by_name = isinstance(augmentation, str) and augmentation == DROPOUT
    if by_name and dataset.kind != 'instance':
        raise ArgumentError(
            f"augmentation='dropout' makes two views of items alone, and these data teach more ({dataset.kind}); the "
            f'dropout of the model acts in every training. Leave augmentation out.'
        )
    if alone and augmentation is None and not vary(dataset, collate_fn):
        function = suited(dataset.content(0))
    if function is not None:
        dataset = Dataset(dataset.records, dataset.preprocess_fn, augmentation=function)
    dropout = alone and augmentation is not False and (by_name or not vary(dataset, collate_fn))
    if dropout:
        told = 'Two views of each item by what the model draws: dropout.'
    elif function is not None:
        told = f'{"Two views of each item" if alone else "Items are changed"} by {called(function)}.'
    else:
        told = 'Two views of each item as it is read, preprocessed and collated.' if alone else ''
    return Views(function, dropout, told)


def suited(content: Any) -> PreprocessFn | None:
    """The augmentation for a content: of images and of point clouds; None for anything else."""
    if is_picture(content):
        return ImageAugmentation()
    if isinstance(content, str | bytes | Mapping):
        return None
    try:
        array = np.asarray(content)
        if array.ndim == 3 and array.dtype.kind in 'buif' and channel_axis(array.shape) is not None:
            opened(array)  # a normalised one is none
            return ImageAugmentation()
    except (DataError, ValueError, TypeError, RuntimeError):
        return None
    if array.ndim == 2 and array.dtype.kind == 'f' and array.shape[1] == 3 and len(array) >= _CLOUD:
        return PointAugmentation()
    return None


def still(function: PreprocessFn | None) -> PreprocessFn | None:
    """What to preprocess with where a model encodes or is measured: the same, or its `still` form if it has one."""
    return getattr(function, 'still', function)


def called(function: Any) -> str | None:
    """How an augmentation is called in sentences and in checkpoints, the same in every process."""
    if function is None:
        return None
    name = getattr(function, '__qualname__', type(function).__qualname__)
    return repr(function) if is_dataclass(function) else str(name)


def _named(augmentation: Any) -> PreprocessFn | None:
    if augmentation is None or augmentation is False:
        return None
    if isinstance(augmentation, str):
        if augmentation == DROPOUT:
            return None
        if augmentation in NAMES:
            return NAMES[augmentation]()
        raise ArgumentError(f'There is no augmentation {augmentation!r}. {nearest(augmentation, [*NAMES, DROPOUT])}')
    if isinstance(augmentation, type) or not callable(augmentation):
        raise ArgumentError(
            f"augmentation={augmentation!r}: expected 'image', 'points', 'text', 'dropout', False, an instance such "
            f'as ImageAugmentation(), or a function from a content to a content.'
        )
    given: PreprocessFn = augmentation
    return given


def vary(dataset: Dataset, collate_fn: CollateFn | None, rarely: bool = False) -> bool:
    """Whether the inputs of an item hang on chance. What cannot be compared is taken to.

    Args:
        dataset: the items, of which some are tried.
        collate_fn: from a list of contents to the model's input.
        rarely: whether to look for chance that changes few items: more are tried, over all of the data, and more often.
    """
    tried = min(len(dataset), _OFTEN if rarely else _TRIED)
    for slot in np.linspace(0, len(dataset) - 1, tried).astype(int).tolist() if rarely else range(tried):
        seen = set()
        for view in range(4 if rarely else 2):
            with seeded(0, slot, view):
                content = dataset.content(slot)
                seen.add(fingerprint(collate([content], lambda _: dataset.name(slot), collate_fn)))  # noqa: B023
        if len(seen) > 1 or b'' in seen:
            return True
    return False
