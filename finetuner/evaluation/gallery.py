"""A picture of queries and their nearest results before and after, right ones framed green and wrong ones red.

Requires pillow (extra `demo`).
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuner.errors import ArgumentError, DataError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

RIGHT, WRONG, PAPER, INK = (46, 160, 67), (218, 54, 51), (255, 255, 255), (36, 41, 47)
FRAME = 4  # pixels around an image, drawn inside its cell
GAP = 6  # between cells
SPACE = 24  # between query, before and after
HEAD = 28  # for the titles


def gallery(
    images: Sequence[Any] | np.ndarray,
    queries: Sequence[int] | np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    relevant_before: np.ndarray,
    relevant_after: np.ndarray,
    path: str | os.PathLike[str] | None = None,
    *,
    size: int = 64,
    titles: tuple[str, str, str] = ('query', 'nearest before tuning', 'nearest after tuning'),
) -> 'Image':
    """Draw one row for each query: the query, its results before, and its results after.

    Args:
        images: what all numbers below count: arrays (H, W), (H, W, C) or (C, H, W) of uint8 or of real numbers, or
            files.
        queries: (Q,) which of them are queries.
        before: (Q, K) which were found before, nearest first; -1 leaves a place empty.
        after: (Q, K') which were found after.
        relevant_before: (Q, K) whether these are right.
        relevant_after: (Q, K') whether those are.
        path: where to save the picture; its ending says in which format.
        size: pixels of the side of a cell.
        titles: over the three columns.

    Returns:
        The picture, as an RGB image of Pillow.

    Raises:
        ArgumentError: the shapes do not fit together.
        DataError: an image is no image; names it.
        MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "A gallery needs the package 'pillow', which is not installed. "
            "Install it with: pip install 'finetuner[demo]'"
        ) from error

    sides = [(np.asarray(before), np.asarray(relevant_before)), (np.asarray(after), np.asarray(relevant_after))]
    for places, right in sides:
        if places.ndim != 2 or len(places) != len(queries) or right.shape != places.shape:
            raise ArgumentError(
                f'Results and their relevance have one row per query, shape ({len(queries)}, K); '
                f'they have {places.shape} and {right.shape}.'
            )
    widths = (sides[0][0].shape[1], sides[1][0].shape[1])
    picture = Image.new('RGB', corner(len(queries), 2, widths[1], widths, size), PAPER)
    draw = ImageDraw.Draw(picture)
    for part, title in enumerate(titles):
        draw.text((corner(0, part, 0, widths, size)[0], GAP), title, fill=INK)
    thumbnails = _Thumbnails(images, size - 2 * FRAME)
    for row, query in enumerate(queries):
        picture.paste(thumbnails[int(query)], _inside(corner(row, 0, 0, widths, size)))
        for part, (places, right) in enumerate(sides, start=1):
            for column, place in enumerate(places[row]):
                if place < 0:
                    continue
                x, y = corner(row, part, column, widths, size)
                draw.rectangle((x, y, x + size - 1, y + size - 1), fill=RIGHT if right[row, column] else WRONG)
                picture.paste(thumbnails[int(place)], _inside((x, y)))
    if path is not None:
        picture.save(path)
    return picture


def corner(row: int, part: int, column: int, widths: tuple[int, int], size: int) -> tuple[int, int]:
    """The upper left pixel (x, y) of a cell.

    Args:
        row: which query.
        part: 0 the query itself, 1 before, 2 after.
        column: which result.
        widths: how many results there are before and after.
        size: pixels of the side of a cell.
    """
    cells = column + (part > 0) + (widths[0] if part > 1 else 0)
    return GAP + cells * (size + GAP) + part * SPACE, HEAD + row * (size + GAP)


def _inside(cell: tuple[int, int]) -> tuple[int, int]:
    return cell[0] + FRAME, cell[1] + FRAME


class _Thumbnails:
    # Square pictures of the images, made when first asked for.
    def __init__(self, images: Sequence[Any] | np.ndarray, side: int) -> None:
        self.images, self.side = images, side
        self.made: dict[int, Image] = {}

    def __getitem__(self, number: int) -> 'Image':
        if number not in self.made:
            self.made[number] = self._make(number)
        return self.made[number]

    def _make(self, number: int) -> 'Image':
        from PIL import Image, ImageOps

        image = self.images[number]
        if isinstance(image, str | os.PathLike):
            picture: Image.Image = Image.open(image).convert('RGB')
        elif isinstance(image, Image.Image):
            picture = image.convert('RGB')
        else:
            picture = Image.fromarray(pixels(image, f'Image {number}'))
        # Few pixels are shown as they are, many are averaged.
        method = Image.Resampling.NEAREST if max(picture.size) < self.side else Image.Resampling.LANCZOS
        return ImageOps.pad(picture, (self.side, self.side), method, color=PAPER)


def pixels(image: Any, name: str = 'This') -> np.ndarray:
    """An image as (H, W, 3) uint8.

    Args:
        image: (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4. Of real numbers, 0 is black where nothing is below
            it, and the largest is white; up to 1 they are taken as they are.
        name: how an error calls it.

    Raises:
        DataError: it is nothing of this.
    """
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)
    flat = array.ndim == 2
    shaped = flat or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not shaped or not array.size or array.dtype.kind not in 'fiub' or not np.isfinite(array).all():
        raise DataError(
            f'{name} is no image: expected an array (H, W), (H, W, C) or (C, H, W) of finite numbers with 1, 3 or 4 '
            f'channels; it has shape {array.shape} and type {array.dtype}.'
        )
    if array.dtype != np.uint8:
        real = array.astype(float)
        low, high = min(real.min(), 0.0), max(real.max(), 1.0)
        array = np.round((real - low) / (high - low) * 255).astype(np.uint8)
    array = array[:, :, None] if flat else array[:, :, :3]
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))
