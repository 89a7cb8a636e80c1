"""Small public data sets for trying things out: scikit-learn's digits, and files that you have.

`banking77`, `omniglot`, `mnist` and `clothing` read a folder that `FINETUNER_DATA` names, and nothing is downloaded:

    banking77/train.csv, test.csv                   PolyAI-LDN/task-specific-datasets, CC BY 4.0
    omniglot/images_background_small1.zip           brendenlake/omniglot, MIT
    mnist/t10k-images-idx3-ubyte.gz, t10k-labels-…  the MNIST test set, CC BY-SA 3.0
    clothing/clothing-small-160px.zip               alexeygrigorev/clothing-dataset-small, CC0 1.0, scaled down
"""

import gzip
import hashlib
import io
import os
import struct
import zipfile
from functools import cache
from pathlib import Path

import numpy as np

from finetuner.data.csv import CSVOptions, parse
from finetuner.data.uri import image
from finetuner.errors import DataError, MissingExtraError

_FILES = {
    'banking77/train.csv': (
        'b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b',
        'https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/train.csv',
    ),
    'banking77/test.csv': (
        'd12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d',
        'https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/test.csv',
    ),
    'omniglot/images_background_small1.zip': (
        'f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4',
        'https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background_small1.zip',
    ),
    'mnist/t10k-images-idx3-ubyte.gz': (
        '167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b',
        'the MNIST test set, t10k-images-idx3-ubyte.gz',
    ),
    'mnist/t10k-labels-idx1-ubyte.gz': (
        'fc607395669ec21321ea83e4b82c0544b7e8e63ff5b34337c06bc0a17cc0da3c',
        'the MNIST test set, t10k-labels-idx1-ubyte.gz',
    ),
    'clothing/clothing-small-160px.zip': (
        '5efd4b2da1bc288ed99b6347b60caf39db916856e6f7e839ba0a2905f01b98be',
        'the photos of https://github.com/alexeygrigorev/clothing-dataset-small, scaled to 160 pixels, as '
        '{train,validation}/class/file.jpg',
    ),
}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 handwritten digits of scikit-learn: images (N, 8, 8) float32 from 0 to 1, and labels (N,).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingExtraError("The digits come with scikit-learn: pip install 'finetuner[demo]'") from error
    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target.astype(np.int64)


def banking77(split: str = 'train') -> list[tuple[str, str]]:
    """10,003 ('train') or 3,080 ('test') questions of bank customers with one of 77 intents: (text, label).

    Raises:
        DataError: the file is not there; says how to get it.
    """
    if split not in ('train', 'test'):
        raise DataError(f'banking77 has no split {split!r}: expected train or test.')
    rows = parse(path(f'banking77/{split}.csv'), CSVOptions(dialect='excel'))[1:]
    return [(row.cells[0].strip(), row.cells[1]) for row in rows]


def omniglot(size: int = 28) -> tuple[np.ndarray, list[str], list[str]]:
    """2,720 drawings of 136 characters: (N, size, size) float32 with ink 1, 'alphabet/character', and alphabets.

    Args:
        size: height and width; the drawings are 105 pixels wide.

    Raises:
        DataError: the file is not there; says how to get it.
        MissingExtraError: Pillow is not installed.
    """
    images, characters = [], []
    with zipfile.ZipFile(path('omniglot/images_background_small1.zip')) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith('.png') and '__MACOSX' not in name:
                images.append(_shrunk(1 - image(archive.read(name))[..., 0] / np.float32(255), size))
                characters.append('/'.join(name.split('/')[-3:-1]))
    return np.stack(images), characters, [character.partition('/')[0] for character in characters]


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 handwritten digits of the MNIST test set: images (N, 28, 28) float32 from 0 to 1, labels (N,).

    Raises:
        DataError: the files are not there; says how to get them.
    """
    images = _idx(path('mnist/t10k-images-idx3-ubyte.gz'))
    labels = _idx(path('mnist/t10k-labels-idx1-ubyte.gz'))
    return images.astype(np.float32) / 255, labels.astype(np.int64)


def clothing(split: str = 'train') -> tuple[list[np.ndarray], list[str]]:
    """1,100 ('train') or 341 ('validation') photos of clothes of 10 kinds: (H, W, 3) uint8 each, and labels.

    The longer side of a photo has 160 pixels.

    Raises:
        DataError: the file is not there; says how to get it.
        MissingExtraError: Pillow is not installed.
    """
    if split not in ('train', 'validation'):
        raise DataError(f'clothing has no split {split!r}: expected train or validation.')
    photos, kinds = [], []
    with zipfile.ZipFile(path('clothing/clothing-small-160px.zip')) as archive:
        for name in sorted(archive.namelist()):
            folder, _, rest = name.partition('/')
            if folder == split and name.endswith('.jpg'):
                photos.append(image(archive.read(name)))
                kinds.append(rest.partition('/')[0])
    return photos, kinds


def path(name: str) -> Path:
    """Where a file of a data set is, its checksum compared.

    Raises:
        DataError: it is not there, or is another file.
    """
    digest, source = _FILES[name]
    folder = os.environ.get('FINETUNER_DATA')
    found = Path(folder) / name if folder else None
    if found is None or not found.is_file():
        where = f'There is no {found}' if found else 'FINETUNER_DATA is not set'
        raise DataError(
            f'{where}: get {source}, put it at <folder>/{name}, and say where with FINETUNER_DATA=<folder>.'
        )
    if _digest(found, found.stat().st_mtime_ns) != digest:
        raise DataError(f'{found} is not the published file: its sha256 is not {digest}. Get it again: {source}')
    return found


@cache
def _digest(file: Path, changed: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _idx(file: Path) -> np.ndarray:
    data = io.BytesIO(gzip.decompress(file.read_bytes()))
    _, kind, dimensions = struct.unpack('>HBB', data.read(4))
    if kind != 8:
        raise DataError(f'{file} holds no bytes.')
    shape = struct.unpack(f'>{dimensions}I', data.read(4 * dimensions))
    return np.frombuffer(data.read(), np.uint8).reshape(shape)


def _shrunk(pixels: np.ndarray, size: int) -> np.ndarray:
    # The mean of the pixels that fall into each place, at most `size` of them along a side.
    if size >= len(pixels):
        return pixels
    edges = np.linspace(0, len(pixels), size + 1).astype(int)[:-1]
    total = np.add.reduceat(np.add.reduceat(pixels, edges, axis=0), edges, axis=1)
    widths = np.diff(np.append(edges, len(pixels)))
    mean: np.ndarray = (total / np.outer(widths, widths)).astype(np.float32)
    return mean
