"""Contents that are named and not given: paths and URLs of images, texts and arrays, read when they are needed."""

import io
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import numpy as np

from finetuner.data.fetch import fetch
from finetuner.data.views import View
from finetuner.errors import DataError, MissingExtraError


class Uri(str):
    """A path or URL whose content is wanted; a string to `preprocess_fn`.

    Attributes:
        schemes: what may be read apart from paths.
    """

    schemes: tuple[str, ...]

    def __new__(cls, value: str, schemes: tuple[str, ...] = ('http', 'https', 'file', 'data')) -> Self:
        """A URI that may be read if it is a path or has one of `schemes`."""
        made = super().__new__(cls, value)
        made.schemes = schemes
        return made


class Uris(View):
    """A column of paths and URLs; cells that are no strings are left as they are.

    Args:
        column: the cells.
        schemes: what may be read apart from paths.
        folder: where relative paths start.
    """

    def __init__(self, column: Sequence[Any], schemes: tuple[str, ...], folder: Path | None = None) -> None:
        self.n, self.column, self.schemes, self.folder = len(column), column, schemes, folder

    def get(self, i: int) -> Any:
        """The cell of row i."""
        cell = self.column[i]
        if not isinstance(cell, str) or not cell.strip():
            return cell
        if self.folder is not None and not scheme(cell):
            cell = str(self.folder / cell)
        return Uri(cell, self.schemes)


def scheme(uri: str) -> str:
    """The scheme of a URI; '' for a path."""
    found = urlsplit(uri).scheme
    return found if len(found) > 1 else ''  # one letter is a drive


def names_image(cell: Any) -> bool:
    """Whether a cell is the name of an image file."""
    if not isinstance(cell, str) or any(c.isspace() for c in cell.strip()):
        return False
    return (mimetypes.guess_type(cell.strip())[0] or '').startswith('image/')


def loaded(item: Any) -> Any:
    """The content of an item: what stands at a `Uri`, any other item itself.

    Raises:
        DataError: it cannot be read.
    """
    return load(item) if isinstance(item, Uri) else item


def load(uri: Uri) -> Any:
    """What stands at a path or URL: an image as (H, W, 3) uint8, a text as a string, an .npy file as an array.

    Raises:
        DataError: it is not allowed to be read, cannot be read, or is nothing of these.
    """
    kind = scheme(uri)
    if kind and kind not in uri.schemes:
        hint = 'say allow_urls=True if you trust it' if kind in ('http', 'https') else f'{kind}: is not allowed there'
        raise DataError(f'{uri} is not fetched, because it came out of a file: {hint}.')
    if kind in ('http', 'https'):
        return decoded(fetch(uri), urlsplit(uri).path)
    if kind == 'data':
        with urlopen(str(uri)) as stream:
            return decoded(stream.read(), 'data' + (mimetypes.guess_extension(stream.headers.get_content_type()) or ''))
    path = Path(unquote(urlsplit(uri).path) if kind == 'file' else uri)
    try:
        return decoded(path.read_bytes(), path.name)
    except OSError as error:
        raise DataError(f'{path}: {error.strerror or error}') from error


def decoded(data: bytes, name: str) -> Any:
    """The content of a file by its name, else by its first bytes.

    Raises:
        DataError: it is no image, text or array.
    """
    kind = mimetypes.guess_type(name)[0] or ''
    if name.endswith('.npy'):
        return np.load(io.BytesIO(data), allow_pickle=False)
    if kind.startswith('text/'):
        return data.decode('utf-8')
    if kind.startswith('image/') or is_image(data):
        return image(data)
    raise DataError(f'{name!r} is no image, text or .npy array: read it in preprocess_fn.')


def is_image(data: bytes) -> bool:
    """Whether a file starts as PNG, JPEG, GIF, BMP, TIFF or WebP files do."""
    starts = (b'\x89PNG', b'\xff\xd8\xff', b'GIF8', b'BM', b'II*\0', b'MM\0*')
    return data.startswith(starts) or (data[:4] == b'RIFF' and data[8:12] == b'WEBP')


def image(data: bytes) -> np.ndarray:
    """The (H, W, 3) uint8 pixels of an image file.

    Raises:
        DataError: it is damaged.
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingExtraError("Images need Pillow: pip install 'finetuner[image]'") from error
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert('RGB'))
    except Exception as error:
        raise DataError(f'the image is damaged: {error}') from error
