"""The folder of activations that were computed before: whole or absent, checked when used, bounded in size."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetuner import artifact
from finetuner.data.rows import Column, Rows, Writer
from finetuner.errors import CheckpointError, StorageError

LIMIT = 10_000_000_000
"""Bytes in the folder at most; what was not used for longest goes first."""
_ROOM = 0.9  # of what is free on the disk, so much may be taken


class Shelf:
    """`activations` in FINETUNER_HOME.

    Attributes:
        used: what is read now and must stay.
    """

    def __init__(self) -> None:
        self.folder = artifact.home() / 'activations'
        self.used: set[str] = set()

    def alike(self, start: str) -> list[str]:
        """The names of what is there that begin so."""
        return [path.name for path in self._kept() if path.name.startswith(start)]

    def take(self, name: str) -> Rows | None:
        """What was put there by a name; None where there is nothing, or where it is damaged."""
        path = self.folder / name
        try:
            artifact.verify(path)
            facts = json.loads((path / 'activations.json').read_text())
            columns = [Column(dtype, tuple(shape)) for dtype, shape in facts['columns']]
            rows = Rows.opened(path, columns, facts['count'], facts['ragged'])
            os.utime(path)
        except (CheckpointError, OSError, ValueError, KeyError):
            return None
        self.used.add(name)
        return rows

    @contextmanager
    def writing(self, ragged: bool) -> Iterator[Writer]:
        """A writer into a folder of its own, which is gone in the end; `put` comes before.

        Raises:
            OSError: nothing can be written there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tidy()
        place = Path(tempfile.mkdtemp(prefix=f'.{os.getpid()}.', dir=self.folder))
        try:
            yield Writer(place, ragged)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def put(self, name: str, writer: Writer) -> None:
        """Give what was written a name.

        Raises:
            StorageError: there is no room for it.
        """
        writer.close()
        columns = [[column.dtype, list(column.shape)] for column in writer.columns]
        facts: dict[str, Any] = {'columns': columns, 'count': writer.count, 'ragged': writer.ragged}
        artifact.write(self.folder / name, {}, {'activations': facts}, extra=writer.folder)

    def make_room(self, needed: int) -> None:
        """Drop the oldest, until so many bytes more are within the limit.

        Raises:
            StorageError: so much is not free on the disk, or what is used takes the limit.
        """
        sizes = {path: sum(file.stat().st_size for file in path.iterdir()) for path in self._kept()}
        oldest = sorted((path for path in sizes if path.name not in self.used), key=lambda path: path.stat().st_mtime)
        while oldest and sum(sizes.values()) + needed > LIMIT:
            path = oldest.pop(0)
            del sizes[path]
            shutil.rmtree(path, ignore_errors=True)
        if sum(sizes.values()) + needed > LIMIT:
            raise StorageError(
                f'they need {needed / 1e6:,.1f} MB beside the {sum(sizes.values()) / 1e6:,.1f} MB that this training '
                f'reads already, and {LIMIT / 1e9:,.0f} GB are the most'
            )
        free = shutil.disk_usage(self.folder).free
        if needed > _ROOM * free:
            raise StorageError(f'they need {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free in {self.folder}')

    def _kept(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith('.')]

    def _tidy(self) -> None:
        # What processes left that were killed while they wrote it.
        for path in self.folder.iterdir():
            found = re.match(r'\.(\d+)\.', path.name)
            if found and not artifact.lives(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)
