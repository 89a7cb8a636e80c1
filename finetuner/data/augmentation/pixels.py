"""Arrays as pictures of Pillow and back, in the form that they had."""

from typing import Any, NamedTuple

import numpy as np

from finetuner.errors import DataError, MissingExtraError

CHANNELS = (1, 3)
_LEAST = 4  # pixels on a side: below that, an array of three axes is hardly a picture


class Form(NamedTuple):
    """How an array writes a picture.

    Attributes:
        axis: where its channels are; None where there is no such axis.
        high: what is white.
        dtype: of its numbers.
    """

    axis: int | None
    high: float
    dtype: np.dtype[Any]


def pillow() -> Any:
    """The module `Image` of Pillow.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingExtraError("Images need Pillow: pip install 'finetuner[image]'") from error
    return Image


def is_picture(content: Any) -> bool:
    """Whether a content is a picture of Pillow; asked of its class, so that Pillow is not imported to ask."""
    return any(base.__module__ == 'PIL.Image' for base in type(content).__mro__)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis of 1 or 3 channels, the last or the first; None in (H, W).

    Raises:
        DataError: this is the shape of no picture.

    >>> channel_axis((224, 224, 3)), channel_axis((3, 224, 224)), channel_axis((28, 28))
    (-1, 0, None)
    """
    if len(shape) == 2 and min(shape) > 0:
        return None
    if len(shape) == 3 and min(shape) > 0:
        for axis, sides in ((-1, shape[:2]), (0, shape[1:])):
            if shape[axis] in CHANNELS and min(sides) >= _LEAST:
                return axis
    raise DataError(f'an image is (H, W), (H, W, C) or (C, H, W) with 1 or 3 channels; this is {tuple(shape)}')


def opened(content: Any, axis: int | None = None) -> tuple[Any, Form]:
    """A content as a picture of mode L or RGB, and the form that `closed` gives it back in.

    Args:
        content: a picture of Pillow in one of these modes, or an array of numbers up to 1 or up to 255.
        axis: where the channels of an array of three axes are; None sees for itself.

    Raises:
        DataError: it is neither; says what it is.
    """
    image = pillow()
    if is_picture(content):
        if content.mode not in ('L', 'RGB'):
            raise DataError(f"the image has mode {content.mode}: expected L or RGB. Use image.convert('RGB')")
        return content, Form(-1 if content.mode == 'RGB' else None, 255.0, np.dtype(np.uint8))
    array = np.asarray(content)
    if array.dtype.kind not in 'buif':
        raise DataError(f'expected an image, came a {type(content).__name__} of {array.dtype}')
    found = channel_axis(array.shape)
    if axis is not None and array.ndim == 3:
        if array.shape[axis] not in CHANNELS:
            raise DataError(f'an image of shape {array.shape} has no 1 or 3 channels along axis {axis}')
        found = axis
    if not (array.min() >= 0 and array.max() <= 255):  # NaN is neither
        raise DataError(
            f'pixels go from 0 to 1 or from 0 to 255; these go from {array.min():g} to {array.max():g}. '
            f'Normalise in the model, or with vision_preprocessor(normalize=True) as preprocess_fn'
        )
    high = 1.0 if array.dtype.kind == 'b' or (array.dtype.kind == 'f' and array.max() <= 1) else 255.0
    pixels = array if found is None else np.moveaxis(array, found, -1)
    if array.dtype != np.uint8:
        pixels = np.round(pixels * np.float32(255 / high)).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return image.fromarray(np.ascontiguousarray(pixels)), Form(found, high, array.dtype)


def closed(picture: Any, form: Form) -> np.ndarray:
    """A picture in the form of the array that it was opened from."""
    pixels = np.array(picture)
    if form.dtype != np.uint8:
        scaled = pixels * np.float32(form.high / 255)
        pixels = (scaled if form.dtype.kind == 'f' else np.round(scaled)).astype(form.dtype)
    if form.axis is None:
        return pixels
    whole = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(np.moveaxis(whole, -1, form.axis))
