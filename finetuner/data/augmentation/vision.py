"""From images of any size, given in any way, to the float32 arrays that vision models take."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from finetuner.data.augmentation.images import ImageAugmentation
from finetuner.data.augmentation.pixels import is_picture, opened, pillow
from finetuner.data.readers.source import content
from finetuner.data.uri import Uri, load, names_image
from finetuner.errors import ArgumentError, DataError, whole_number

PHASES = ('train', 'validation')
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pixels of ImageNet


def vision_preprocessor(
    height: int = 224,
    width: int = 224,
    default_channel_axis: int = -1,
    target_channel_axis: int = 0,
    normalize: bool = False,
    phase: str = 'train',
    *,
    augmentation: ImageAugmentation | None = None,
) -> 'VisionPreprocessor':
    """A `preprocess_fn` for images: a random view of this size, or in the phase 'validation' the middle of the image.

    It takes a document, an array, a picture of Pillow or the path of a file, and leaves it as it is. Where a model is
    measured or encodes, the function of the phase 'train' is taken for that of the phase 'validation'.

    Args:
        height: of what it gives.
        width: of what it gives.
        default_channel_axis: where arrays have their channels, -1 or 0.
        target_channel_axis: where the model wants them: 0 for PyTorch and Paddle, -1 for Keras.
        normalize: whether to take off the mean and divide by the standard deviation of ImageNet; else pixels go from
            0 to 1.
        phase: 'train' or 'validation'.
        augmentation: the random changes of the phase 'train'; `ImageAugmentation()` by default.

    Raises:
        ArgumentError: an argument is impossible.

    >>> image = np.zeros((100, 80, 3), np.uint8)
    >>> view = vision_preprocessor(32, 32)(image)
    >>> view.shape, view.dtype
    ((3, 32, 32), dtype('float32'))
    """
    whole_number('height', height, 1)
    whole_number('width', width, 1)
    for name, axis in (('default_channel_axis', default_channel_axis), ('target_channel_axis', target_channel_axis)):
        if isinstance(axis, bool) or axis not in (0, -1, 2):
            raise ArgumentError(f'{name}={axis!r}: expected 0 for (C, H, W) or -1 for (H, W, C).')
    if phase not in PHASES:
        raise ArgumentError(f"phase={phase!r}: expected 'train' or 'validation'.")
    if augmentation is not None and not isinstance(augmentation, ImageAugmentation):
        raise ArgumentError(f'augmentation={augmentation!r}: expected an ImageAugmentation(…).')
    return VisionPreprocessor(
        height,
        width,
        default_channel_axis,
        target_channel_axis,
        bool(normalize),
        phase,
        augmentation or ImageAugmentation(),
    )


@dataclass(frozen=True)
class VisionPreprocessor:
    """What `vision_preprocessor` makes; its fields are the arguments."""

    height: int
    width: int
    default_channel_axis: int
    target_channel_axis: int
    normalize: bool
    phase: str
    augmentation: ImageAugmentation = field(default_factory=ImageAugmentation)

    @property
    def still(self) -> 'VisionPreprocessor':
        """The same without chance."""
        return replace(self, phase='validation')

    def __call__(self, item: Any) -> np.ndarray:
        """The (C, H, W) or (H, W, C) float32 pixels of an item.

        Raises:
            DataError: it is no image, or cannot be read.
        """
        picture = self._picture(item)
        size = self.width, self.height
        if self.phase == 'train':
            view = self.augmentation.draw(picture, size)
        else:
            view = picture.resize(size, pillow().Resampling.BILINEAR, box=_middle(picture.size, size))
        pixels = np.asarray(view, np.float32) / np.float32(255)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        if self.normalize:
            mean, std = (np.array(one, np.float32) for one in (MEAN, STD))
            gray = pixels.shape[2] == 1
            pixels = (pixels - (mean.mean() if gray else mean)) / (std.mean() if gray else std)
        return np.ascontiguousarray(np.moveaxis(pixels, -1, self.target_channel_axis))

    def _picture(self, item: Any) -> Any:
        found = content(item)
        if isinstance(found, str) and names_image(found):
            found = load(Uri(found, ()))  # a path, and nothing that is fetched: nobody said that it may be
        if found is None:
            raise DataError('it has no content: no tensor, blob or uri')
        if is_picture(found):
            return found if found.mode in ('L', 'RGB') else found.convert('RGB')
        if isinstance(found, str):
            raise DataError(f'expected an image or the path of one, came the text {found[:40]!r}')
        return opened(found, self.default_channel_axis)[0]


def _middle(given: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    # The largest box in the middle that has the shape of what is wanted.
    part = min(given[0] / wanted[0], given[1] / wanted[1])
    left, upper = ((have - part * want) / 2 for have, want in zip(given, wanted, strict=True))
    return max(left, 0), max(upper, 0), min(given[0] - left, given[0]), min(given[1] - upper, given[1])
