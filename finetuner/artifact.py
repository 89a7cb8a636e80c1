"""What a training leaves behind, and how it is read back.

An artifact is a folder: arrays as safetensors, facts as JSON, and `manifest.json` with the sha256 of every file. It is
written beside its place and then moved there, so a folder of that name is whole or absent; nothing in it is code.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from finetuner.errors import ArgumentError, CheckpointError

MANIFEST = 'manifest.json'
Arrays = Mapping[str, np.ndarray]


def home() -> Path:
    """The folder for what has no other place: $FINETUNER_HOME, or `.finetuner` in the user's home."""
    return Path(os.environ.get('FINETUNER_HOME') or Path.home() / '.finetuner')


def write(
    folder: str | Path, arrays: Mapping[str, Arrays], facts: Mapping[str, Any], extra: Path | None = None
) -> Path:
    """Write an artifact, in place of one of the same name.

    Args:
        folder: where; its parents are made.
        arrays: arrays by name, by the stem of their file.
        facts: what JSON can hold, by the stem of its file.
        extra: a file of a framework's own format, moved into the folder.

    Raises:
        ArgumentError: `folder` exists and is no artifact: it is not overwritten.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise ArgumentError(f'{folder} exists and was not written by Finetuner; name another folder.')
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.parent / f'.{folder.name}.{os.getpid()}.writing'
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        for stem, values in arrays.items():
            solid = {name: np.asarray(value, order='C') for name, value in values.items()}
            save_file(solid, fresh / f'{stem}.safetensors')
        for stem, value in facts.items():
            (fresh / f'{stem}.json').write_text(json.dumps(value, indent=1, default=float))  # numpy's numbers
        if extra is not None:
            shutil.move(extra, fresh / extra.name)
        digests = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        (fresh / MANIFEST).write_text(json.dumps({'sha256': digests}, indent=1))
        for path in fresh.iterdir():
            _flush(path)
        if folder.exists():
            old = folder.parent / f'.{folder.name}.{os.getpid()}.old'
            os.replace(folder, old)
            os.replace(fresh, folder)
            shutil.rmtree(old)
        else:
            os.replace(fresh, folder)
        _flush(folder.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def read(folder: str | Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """The arrays and facts of an artifact, by the stems of their files.

    Raises:
        CheckpointError: it is missing, or a file of it is missing or not what was written.
    """
    folder = Path(folder)
    verify(folder)
    arrays = {path.stem: load_file(path) for path in folder.glob('*.safetensors')}
    facts = {path.stem: json.loads(path.read_text()) for path in folder.glob('*.json') if path.name != MANIFEST}
    return arrays, facts


def verify(folder: str | Path) -> None:
    """Check every file of an artifact against its checksum.

    Raises:
        CheckpointError: names the first file that is missing or damaged.
    """
    folder = Path(folder)
    try:
        digests = json.loads((folder / MANIFEST).read_text())['sha256']
    except FileNotFoundError:
        what = f'{folder} is no folder that Finetuner saved: it has no {MANIFEST}.'
        raise CheckpointError(what if folder.is_dir() else f'There is no folder {folder}.') from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'{folder / MANIFEST} is damaged: {error}') from error
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f'{path} is missing; it was there when this was saved.')
        if sha256(path) != digest:
            raise CheckpointError(f'{path} is damaged: its content is not what was saved (sha256 differs).')


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
