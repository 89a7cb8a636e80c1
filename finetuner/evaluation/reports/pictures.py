"""Items as people see them on a page: a small picture in a data URI, or a text, or their name."""

import base64
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from finetuner.data.records import Records
from finetuner.errors import DataError, FinetunerError
from finetuner.evaluation.gallery import pixels
from finetuner.evaluation.reports.words import bare, cut, is_file, labelled

SIDE = 96  # pixels
# An array is taken for a picture if its sides have so many pixels, and one is not much longer than the other.
_FEWEST, _LONGEST_SIDE = 8, 4

Show = Callable[[Any], Any]
"""From an item, as `preprocess_fn` gets it, to what is shown: an array, an image of Pillow, or a text."""


class Item(NamedTuple):
    """What is shown of an item.

    Attributes:
        name: how errors call it, too.
        label: its label; None where there is none.
        text: what it says; None of a picture.
        picture: a data URI of it; None of a text.
        few: of the picture, whether it has so few pixels that they are shown as squares.
    """

    name: str
    label: str | None
    text: str | None = None
    picture: str | None = None
    few: bool = False


class Gallery:
    """The items of a page, each of which is read and drawn once.

    Args:
        show: as `seen` takes it.
    """

    def __init__(self, show: Show | None) -> None:
        self.show = show
        self._seen: dict[tuple[int, int], Item] = {}

    def __call__(self, records: Records, item: int) -> Item:
        """An item of a data set."""
        key = id(records), int(item)
        if key not in self._seen:
            self._seen[key] = seen(records, item, self.show)
        return self._seen[key]


def seen(records: Records, item: int, show: Show | None = None) -> Item:
    """An item of a data set.

    Args:
        records: the data.
        item: its number.
        show: finds what is shown; None takes what the item is.

    Raises:
        DataError: `show` gave neither a picture nor a text.
    """
    content, name = records.contents[int(item)], cut(bare(str(records.names[int(item)])))
    labels = None if records.labels is None else records.labels[int(item)]
    label = labelled(labels)
    if show is not None:
        given = show(content)
        if isinstance(given, str):
            return Item(name, label, cut(given))
        image = picture_of(given)
        if image is None:
            raise DataError(
                f'show gave {type(given).__name__} for {name}: expected a text, an image of Pillow, or an array '
                f'(H, W) or (H, W, C) of 1, 3 or 4 channels.'
            )
        return _pictured(name, label, image)
    text = content if isinstance(content, str) else getattr(content, 'text', None)
    if isinstance(text, str) and text.strip() and not is_file(text):
        return Item(name, label, cut(text))
    image = picture_of(content)
    if image is None and not isinstance(content, np.ndarray):
        try:
            content = records.default_content(content)
        except (FinetunerError, OSError, ValueError):
            pass  # a file is gone, or preprocess_fn alone can read it: its name is shown
        image = picture_of(content)
    if image is not None:
        return _pictured(name, label, image)
    if isinstance(content, str) and content.strip():
        return Item(name, label, cut(bare(content) if is_file(content) else content))
    return Item(name, label, name)


def picture_of(content: Any) -> np.ndarray | None:
    """(H, W, 3) uint8 of what is a picture: an array that looks like one, or an image of Pillow; else None.

    What is transparent lies on white; a large image of Pillow is made small.
    """
    if hasattr(content, 'convert') and type(content).__module__.startswith('PIL'):
        return _of_pillow(content)
    if not hasattr(content, '__array__') or not hasattr(content, 'shape'):
        return None
    shape = tuple(content.shape)
    sides = shape
    if len(shape) == 3:
        sides = shape[:2] if shape[2] in (1, 3, 4) else shape[1:] if shape[0] in (1, 3, 4) else ()
    if len(sides) != 2 or min(sides) < _FEWEST or max(sides) > _LONGEST_SIDE * min(sides):
        return None
    try:
        return _on_white(np.asarray(content))
    except (DataError, TypeError, RuntimeError):  # of texts, or where numpy cannot reach
        return None


def encoded(image: np.ndarray, side: int = SIDE) -> str:
    """A data URI of a picture (H, W, 3) uint8, no larger than `side`; JPEG where Pillow is, and there is much in it."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        Image = None
    if Image is None or max(image.shape[:2]) <= side // 2:
        return _uri('png', png(_reduced(image, side)))
    buffer = BytesIO()
    picture = Image.fromarray(image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(buffer, 'JPEG', quality=82)
    return _uri('jpeg', buffer.getvalue())


def png(image: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as a PNG file."""
    height, width, _ = image.shape
    # Every line begins with the number of its filter: 0, none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1).tobytes()
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(lines, 9)), (b'IEND', b'')]
    packed = [
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(packed)


def _of_pillow(image: Any) -> np.ndarray:
    if image.mode == 'F' or image.mode.startswith('I'):  # more than 8 bits, which conversion would cut off
        return pixels(np.asarray(image))
    clear = image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info
    if image.mode not in ('L', 'RGB', 'RGBA'):
        image = image.convert('RGBA' if clear else 'RGB')
    if max(image.size) > SIDE:
        part = SIDE / max(image.size)
        image = image.resize([max(round(size * part), 1) for size in image.size], reducing_gap=2.0)
    return _on_white(np.asarray(image.convert('RGBA' if clear else 'RGB')))


def _on_white(image: np.ndarray) -> np.ndarray:
    colours = pixels(image)
    axis = 2 if image.ndim == 3 and image.shape[2] in (1, 3, 4) else 0
    if image.ndim == 2 or image.shape[axis] != 4:
        return colours
    opaque = pixels(np.take(image, 3, axis)).astype(np.uint16)
    mixed: np.ndarray = ((colours * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
    return mixed


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    # Means of squares of pixels, so many that the picture is no larger than `side`.
    step = -(-max(image.shape[:2]) // side)
    if step == 1:
        return image
    height, width = (max(size // step, 1) for size in image.shape[:2])
    part = image[: height * step, : width * step]
    tall, wide = part.shape[0] // height, part.shape[1] // width
    squares = part[: height * tall, : width * wide].reshape(height, tall, width, wide, 3)
    reduced: np.ndarray = np.round(squares.mean(axis=(1, 3))).astype(np.uint8)
    return reduced


def _pictured(name: str, label: str | None, image: np.ndarray) -> Item:
    return Item(name, label, picture=encoded(image), few=max(image.shape[:2]) <= SIDE // 2)


def _uri(kind: str, data: bytes) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
