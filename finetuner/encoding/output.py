"""Where vectors go: into memory, or into a file that grows, is gone on with after a kill, and is whole or absent.

`vectors.npy.part` takes the rows; `vectors.npy.json` says of what encode they are, and which are there. The rows that
came after it was last written are computed again: they come out the same. When all are there the file is given its
name; the note stays, so that the same call finds its file done.
"""

import errno
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from finetuner.artifact import check_place, whole_file
from finetuner.encoding.batches import Place
from finetuner.errors import ArgumentError, CheckpointError, StorageError, enumerated

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

SUFFIX = '.npy'
EVERY = 5.0
"""Seconds between two notes of what is done."""


class Output(Protocol):
    """Takes the vectors of n items, some rows at a time."""

    start: Place
    done: bool
    precision: str | None
    pads: bool | None

    def write(self, items: np.ndarray, vectors: np.ndarray, after: Place) -> None:
        """The vectors of some items, after which the plan goes on there."""

    def finish(self) -> np.ndarray:
        """All, (n, D) float32."""

    def close(self) -> None:
        """Nothing more comes, whether all came or not."""


class Memory:
    """An array.

    Args:
        n: its rows.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.start, self.done = Place(), False
        self.precision: str | None = None
        self.pads: bool | None = None
        self._vectors: np.ndarray | None = None

    def write(self, items: np.ndarray, vectors: np.ndarray, after: Place) -> None:
        """The vectors of some items."""
        if self._vectors is None:
            self._vectors = np.empty((self.n, vectors.shape[1]), np.float32)
        self._vectors[items] = vectors

    def finish(self) -> np.ndarray:
        """All of them."""
        return np.zeros((0, 0), np.float32) if self._vectors is None else self._vectors

    def close(self) -> None:
        """There is nothing to do."""


def checked_path(output: Any) -> Path:
    """The path of an output.

    Raises:
        ArgumentError: it is none of an .npy file, or none that could be written.
    """
    if not isinstance(output, str | os.PathLike):
        raise ArgumentError(f"output={output!r}: expected the path of a file, such as output='vectors.npy'.")
    path = Path(output)
    if path.suffix != SUFFIX:
        raise ArgumentError(
            f'output={str(output)!r}: vectors are written as an array of numpy, so expected a name with the ending '
            f"{SUFFIX}, such as output='{path.stem or 'vectors'}{SUFFIX}'."
        )
    if path.is_dir():
        raise ArgumentError(f'output={str(output)!r} is a folder: name a file in it.')
    check_place('output', path.absolute().parent)
    return path


class File:
    """An .npy file.

    Args:
        path: as `checked_path` gives it.
        n: the rows.
        identity: of what encode they are.

    Attributes:
        start: where the plan goes on.
        done: whether all is there from before.
        precision: that the rows that are there were computed in; set it before the first row.
        pads: whether padding was found to change what the model gives, which their batches depend on; set it likewise.

    Raises:
        ArgumentError: there is a file of this name already that is not of this encode, or somebody writes it.
        CheckpointError: there is a part of another encode.
    """

    def __init__(self, path: Path, n: int, identity: dict[str, Any]) -> None:
        self.path, self.n, self.identity = path, n, identity
        self.part, self.note = (path.with_name(path.name + end) for end in ('.part', '.json'))
        self.start, self.done = Place(), False
        self.precision: str | None = None
        self.pads: bool | None = None
        self._map: np.memmap | None = None
        self._written = 0.0
        self._place = Place()
        found = self._read()
        dim = found.get('dim')
        if path.exists():
            ours = bool(found) and not self.part.exists()
            if ours:
                self._refuse_another(found)
            if not ours or dim is None or not _holds(path, (n, dim)):
                raise ArgumentError(
                    f'output={str(path)!r} exists, and is not what this call writes: name another file, or remove it.'
                )
            self.done = True
            return
        if self.part.exists() and self.part.stat().st_size:  # of none it was killed before a row came
            if not found:
                raise ArgumentError(
                    f'{self.part} exists, and nothing says of what it is: remove it, or name another output.'
                )
            self._refuse_another(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._locked()
        self.precision = found.get('precision') if found.get('identity') == identity else None
        if self.precision is not None and dim is not None and _holds(self.part, (n, dim)):
            self.start = self._place = Place(*found['next'])
            self.pads = found.get('pads')
            self._map = np.lib.format.open_memmap(self.part, mode='r+')

    def write(self, items: np.ndarray, vectors: np.ndarray, after: Place) -> None:
        """The vectors of some items.

        Raises:
            StorageError: there is no room for the file.
        """
        if self._map is None:
            self._map = self._made(vectors.shape[1])
        self._map[items] = vectors
        self._place = after
        if time.monotonic() - self._written >= EVERY:
            self._tell()

    def finish(self) -> np.ndarray:
        """All of them, mapped from the file; to be read."""
        if not self.done:
            assert self._map is not None
            self._tell()
            self._map = None
            os.replace(self.part, self.path)
            self.close()
            self.done = True
        vectors: np.ndarray = np.load(self.path, mmap_mode='r')
        return vectors

    def close(self) -> None:
        """Note what is there, and let others write."""
        if self.done:
            return
        if self._map is not None:
            self._tell()
            self._map = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self.part.exists() and not self.part.stat().st_size:  # not a row came
            self.part.unlink()

    def _read(self) -> dict[str, Any]:
        # What the note says; nothing if there is none of ours.
        try:
            found = json.loads(self.note.read_text())
            return found if isinstance(found, dict) and 'identity' in found else {}
        except (FileNotFoundError, ValueError):
            return {}

    def _refuse_another(self, found: dict[str, Any]) -> None:
        before = found['identity']
        other = [name for name in before.keys() | self.identity.keys() if before.get(name) != self.identity.get(name)]
        if other:
            what = 'The vectors' if self.path.exists() else 'The vectors so far'
            raise CheckpointError(
                f'{what} of output={str(self.path)!r} are of another encode: {enumerated(sorted(other))} '
                f'{"differs" if len(other) == 1 else "differ"}. Call it as before to go on, name another file, or '
                f'remove {self.path.name}, {self.part.name} and {self.note.name} to begin anew.'
            )

    def _locked(self) -> int | None:
        handle = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                raise ArgumentError(
                    f'output={str(self.path)!r}: another process writes this file. Wait for it, or name another.'
                ) from None
            except OSError:  # a file system without locks
                pass
        return handle

    def _made(self, dim: int) -> np.memmap:
        # The file in its full size, for a map dies where the disk is full.
        self._write_note({'dim': None, 'next': Place()})
        made = np.lib.format.open_memmap(self.part, mode='w+', dtype=np.float32, shape=(self.n, dim))
        try:
            if hasattr(os, 'posix_fallocate'):
                assert self._lock is not None
                os.posix_fallocate(self._lock, 0, self.part.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                return made  # this file system cannot
            del made
            for path in (self.part, self.note):
                path.unlink(missing_ok=True)
            needed, free = 4 * self.n * dim / 1e6, shutil.disk_usage(self.part.parent).free / 1e6
            raise StorageError(
                f'{self.path} could not be written: {os.strerror(error.errno)}. It needs {needed:,.1f} MB, and '
                f'{free:,.1f} MB are free there.'
            ) from error
        return made

    def _tell(self) -> None:
        assert self._map is not None
        self._map.flush()
        self._write_note({'dim': self._map.shape[1], 'next': self._place})
        self._written = time.monotonic()

    def _write_note(self, found: dict[str, Any]) -> None:
        note = {'identity': self.identity, 'precision': self.precision, 'pads': self.pads, **found}
        try:
            with whole_file(self.note) as fresh:
                fresh.write_text(json.dumps(note, indent=1))
        except OSError as error:
            raise StorageError(f'{self.note} could not be written: {error}') from error


def _holds(path: Path, shape: tuple[int, int]) -> bool:
    # Whether it is an array of this shape.
    try:
        found = np.load(path, mmap_mode='r')
    except (OSError, ValueError, EOFError):
        return False
    return bool(found.shape == shape and found.dtype == np.float32)
