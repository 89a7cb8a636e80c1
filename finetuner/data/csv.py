"""Reads the cells of a CSV file, with the line of each row, and says where it is wrong."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, DataError

_DELIMITERS = '\t|;,'  # in the order of trust; never a letter: a column of words is one column
_SAMPLE = 100


@dataclass(frozen=True)
class CSVOptions:
    """How a CSV file is read.

    Args:
        size: no more rows than this are kept.
        sampling_rate: the part of the rows that is kept, between 0 and 1, always the same ones.
        dialect: 'auto' finds the delimiter among comma, tab, semicolon and bar; 'excel', 'excel-tab', 'unix', or a
            `csv.Dialect`.
        encoding: of the file.
        is_labeled: whether the second of two columns is a label, where no header says so.
        convert_to_blob: whether names of image files stand for their pixels; else they are texts.

    Raises:
        ArgumentError: a value is impossible.
    """

    size: int | None = None
    sampling_rate: float | None = None
    dialect: str | csv.Dialect | type[csv.Dialect] = 'auto'
    encoding: str = 'utf-8'
    is_labeled: bool = False
    convert_to_blob: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.size is not None and self.size < 1:
            raise ArgumentError(f'size={self.size!r}: expected at least 1.')
        if self.sampling_rate is not None and not 0 < self.sampling_rate <= 1:
            raise ArgumentError(f'sampling_rate={self.sampling_rate!r}: expected more than 0 and at most 1.')
        if isinstance(self.dialect, str) and self.dialect not in ('auto', *csv.list_dialects()):
            known = ', '.join(['auto', *csv.list_dialects()])
            raise ArgumentError(f'There is no CSV dialect {self.dialect!r}; known are {known}.')


class Row(NamedTuple):
    """The cells of a row, and the line it starts on."""

    line: int
    cells: list[str]


def parse(path: Path, options: CSVOptions) -> list[Row]:
    """All rows of a file that are not empty, a header among them.

    Raises:
        DataError: the file cannot be read or decoded, is empty, or its rows have different numbers of cells; names
            file and line.
    """
    encoding = options.encoding.lower().replace('_', '-')
    try:
        text = path.read_bytes().decode('utf-8-sig' if encoding in ('utf-8', 'utf8') else encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b'\n') + 1
        raise DataError(
            f'{path.name} line {line} is not written in {error.encoding}: '
            f"give its encoding, CSVOptions(encoding='latin-1') for example."
        ) from error
    except LookupError as error:
        raise ArgumentError(f'There is no encoding {options.encoding!r}.') from error
    except OSError as error:
        raise DataError(f'Cannot read {path}: {error.strerror or error}.') from error
    rows = _rows(path, text, options)
    if not rows:
        raise DataError(f'{path.name} is empty.')
    for row in rows:
        if len(row.cells) != len(rows[0].cells):
            raise DataError(
                f'{path.name} line {row.line} has {len(row.cells)} cells, line {rows[0].line} has '
                f'{len(rows[0].cells)}: put cells with delimiters in them into double quotes.'
            )
    return rows


def sampled(rows: list[Row], options: CSVOptions) -> list[Row]:
    """The rows that `size` and `sampling_rate` leave, in order."""
    if options.sampling_rate is not None:
        kept = np.random.default_rng(0).random(len(rows)) < options.sampling_rate
        rows = [row for row, keep in zip(rows, kept, strict=True) if keep]
    return rows[: options.size]


def _rows(path: Path, text: str, options: CSVOptions) -> list[Row]:
    if options.dialect != 'auto':
        return list(_parsed(path, text, dialect=options.dialect))
    widths = {delimiter: _width(path, text, delimiter) for delimiter in _DELIMITERS if delimiter in text}
    delimiter = max(widths, key=lambda d: widths[d]) if any(widths.values()) else ','
    return list(_parsed(path, text, delimiter=delimiter))


def _width(path: Path, text: str, delimiter: str) -> int:
    # How many cells all of the first rows have; 0 if they differ.
    try:
        widths = {len(row.cells) for row in _parsed(path, text, _SAMPLE, delimiter=delimiter)}
    except DataError:
        return 0
    return widths.pop() if len(widths) == 1 else 0


def _parsed(path: Path, text: str, most: int | None = None, **form: object) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=''), strict=True, **form)  # type: ignore[arg-type]
    line, count = 1, 0
    while most is None or count < most:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f'{path.name} line {line} is no proper CSV: {error}.') from error
        if any(cell.strip() for cell in cells):
            yield Row(line, cells)
            count += 1
        line = reader.line_num + 1
