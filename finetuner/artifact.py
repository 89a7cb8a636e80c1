"""What a training leaves behind, and how it is read back.

An artifact is a folder: arrays as safetensors, facts as JSON, and `manifest.json` with the sha256 of every file. It is
written beside its place and then moved there, so a folder of that name is whole or absent; nothing in it is code.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from finetuner.console import logger
from finetuner.errors import ArgumentError, CheckpointError, StorageError
from finetuner.world import current

MANIFEST = 'manifest.json'
Arrays = Mapping[str, np.ndarray]


def home() -> Path:
    """The folder for what has no other place: $FINETUNER_HOME, or `.finetuner` in the user's home."""
    return Path(os.environ.get('FINETUNER_HOME') or Path.home() / '.finetuner')


def write(
    folder: str | Path, arrays: Mapping[str, Arrays], facts: Mapping[str, Any], extra: Path | None = None
) -> Path:
    """Write an artifact, in place of one of the same name; of processes that train together the first one does.

    Args:
        folder: where; its parents are made.
        arrays: arrays by name, by the stem of their file.
        facts: what JSON can hold, by the stem of its file.
        extra: a file of another format, or a folder of such files, moved into the folder.

    Raises:
        ArgumentError: `folder` exists and is no artifact: it is not overwritten.
        StorageError: there is no room for it, say; what was there before is as it was.
    """
    folder = Path(folder)
    if current().rank:
        return folder
    if folder.exists() and not (folder / MANIFEST).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise ArgumentError(f'{folder} exists and was not written by Finetuner; name another folder.')
    fresh, old = (folder.parent / f'.{folder.name}.{os.getpid()}.{what}' for what in ('writing', 'old'))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        fresh.mkdir()
        for stem, values in arrays.items():
            solid = {name: np.asarray(value, order='C') for name, value in values.items()}
            save_file(solid, fresh / f'{stem}.safetensors')
        for stem, value in facts.items():
            (fresh / f'{stem}.json').write_text(json.dumps(value, indent=1, default=float))  # numpy's numbers
        if extra is not None:
            for path in sorted(extra.iterdir()) if extra.is_dir() else [extra]:
                shutil.move(path, fresh / path.name)
        digests = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        (fresh / MANIFEST).write_text(json.dumps({'sha256': digests}, indent=1))
        for path in fresh.iterdir():
            _flush(path)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
        _flush(folder.parent)
    except (OSError, SafetensorError) as error:
        code = _errno(error)
        if code is None:  # not of the disk
            raise
        shutil.rmtree(fresh, ignore_errors=True)  # before what is free is asked for
        raise _unwritable(folder, code, arrays) from error
    finally:
        if old.exists() and not folder.exists():  # interrupted between the two
            os.replace(old, folder)
        for rest in (fresh, old):
            shutil.rmtree(rest, ignore_errors=True)
    return folder


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Where to write a file, beside `path`; it is moved there if nothing is raised, so that it is whole or as it was.

    Args:
        path: of the file; its folder is made.
    """
    path = Path(path)
    fresh = path.with_name(f'.{path.name}.{os.getpid()}')
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield fresh
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def forgiving(hint: str) -> Iterator[None]:
    """Say what could not be written, and go on: a full disk must not end a training.

    Args:
        hint: what that means, and when it is tried again.
    """
    try:
        yield
    except OSError as error:
        logger.error('%s %s', error, hint)


def check_place(name: str, folder: str | Path) -> None:
    """Refuse a folder that nothing can be written to; it is not made.

    Args:
        name: of the argument, for the error.
        folder: it, or where it would be made.

    Raises:
        ArgumentError: it is below a file, or in a folder that is not to be written to.
    """
    folder = Path(folder).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = 'is not to be written to' if there.is_dir() else 'is a file'
        raise ArgumentError(f'{name}={str(folder)!r}: {there} {what}. Name a folder that you may write to.')


def read(folder: str | Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """The arrays and facts of an artifact, by the stems of their files.

    Raises:
        CheckpointError: it is missing, or a file of it is missing or not what was written.
    """
    folder = Path(folder)
    files = [folder / name for name in verify(folder)]
    arrays = {path.stem: load_file(path) for path in files if path.suffix == '.safetensors'}
    facts = {path.stem: json.loads(path.read_text()) for path in files if path.suffix == '.json'}
    return arrays, facts


def verify(folder: str | Path) -> list[str]:
    """Check every file of an artifact against its checksum; gives their names.

    Raises:
        CheckpointError: names the first file that is missing or damaged.
    """
    folder = Path(folder)
    try:
        digests = dict(json.loads((folder / MANIFEST).read_text())['sha256'])
        for name, digest in digests.items():
            path = folder / name
            if not path.is_file():
                raise CheckpointError(f'{path} is missing; it was there when this was saved.')
            if sha256(path) != digest:
                raise CheckpointError(f'{path} is damaged: its content is not what was saved (sha256 differs).')
    except CheckpointError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        what = f'{folder} is no folder that Finetuner saved: it has no {MANIFEST}.'
        raise CheckpointError(what if folder.is_dir() else f'There is no folder {folder}.') from None
    except OSError as error:
        raise CheckpointError(f'{folder} cannot be read: {error}') from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'{folder / MANIFEST} is damaged: {error}') from error
    return list(digests)


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _tidy(folder: Path) -> None:
    # What processes left that were killed while they wrote it.
    for rest in folder.parent.iterdir():
        found = re.fullmatch(rf'\.{re.escape(folder.name)}\.(\d+)\.(writing|old)', rest.name)
        if found and (int(found[1]) == os.getpid() or not lives(int(found[1]))):
            shutil.rmtree(rest, ignore_errors=True)


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r'os error (\d+)', str(error))  # safetensors has errors of its own, which say it in their text
    return int(found[1]) if found else None


def _unwritable(folder: Path, code: int, arrays: Mapping[str, Arrays]) -> StorageError:
    there = next(path for path in folder.absolute().parents if path.exists())
    needed = sum(np.asarray(value).nbytes for values in arrays.values() for value in values.values())
    error = StorageError(
        f'{folder} could not be written: {os.strerror(code)}. It needs {_size(needed)}, and '
        f'{_size(shutil.disk_usage(there).free)} are free there.'
    )
    error.errno = code
    return error


def _size(n: int) -> str:
    return f'{n / 1e6:,.1f} MB' if n < 1e9 else f'{n / 1e9:,.1f} GB'


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
