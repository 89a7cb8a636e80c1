"""Reads a CSV file: by its header as any table, without one by the number of its columns.

Without a header one column is contents, two are pairs (or content and label, if `is_labeled`), and of three or more
the last is a score if it is a number, else all after the second are negatives.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetuner.data.csv import CSVOptions, Row, parse, sampled
from finetuner.data.readers.table import _LABELS, is_known, read_table
from finetuner.data.records import Records
from finetuner.data.uri import Uris, names_image
from finetuner.data.views import Names
from finetuner.errors import DataError, enumerated, nearest

_SUFFIXES = ('.csv', '.tsv', '.txt', '')


def read(
    data: str | os.PathLike[str],
    supervision: str | None = None,
    csv_options: CSVOptions | None = None,
    allow_urls: bool = False,
) -> Records:
    """Records of a CSV file.

    Args:
        data: its path.
        supervision: what to read it as; None sees for itself.
        csv_options: how to read it.
        allow_urls: whether cells that are http or https URLs may be fetched; paths start where the file is.

    Raises:
        DataError: there is no such file, or it is wrong; names the line.
    """
    path = _path(data)
    options = csv_options or CSVOptions()
    rows = parse(path, options)
    header = _header(rows[0], options)
    if header:
        rows = rows[1:]
    rows = sampled(rows, options)
    if not rows:
        raise DataError(f'{path.name} has a header and no rows.')
    header = header or _implied(rows, options)
    schemes = ('http', 'https') if allow_urls else ()
    columns: dict[str, Sequence[Any]] = {}
    for place, name in enumerate(header):
        cells = [row.cells[place] for row in rows]
        pictures = options.convert_to_blob and name.lower() not in _LABELS and all(map(names_image, cells))
        named = name.lower() in ('uri', 'url', 'path', 'image')
        columns[name] = Uris(cells, schemes, path.parent) if pictures or named else cells
    form = path.name.replace('{', '{{').replace('}', '}}') + ' line {}'
    names = Names(len(rows), form, [row.line for row in rows])
    return read_table(columns, names, supervision, schemes)


def _header(row: Row, options: CSVOptions) -> list[str] | None:
    names = [cell.strip() for cell in row.cells]
    if not any(map(is_known, names)) or len(set(names)) < len(names) or '' in names:
        return None
    if options.is_labeled and len(names) == 2 and not any(name.lower() in _LABELS for name in names):
        names = [names[0], 'label'] if is_known(names[0]) else ['label', names[1]]
    return names


def _implied(rows: list[Row], options: CSVOptions) -> list[str]:
    width = len(rows[0].cells)
    if width == 1:
        return ['text']
    if width == 2:
        return ['content', 'label'] if options.is_labeled else ['anchor', 'positive']
    negatives = [f'negative_{k}' for k in range(1, width - 1)]
    if all(_is_number(row.cells[-1]) for row in rows):
        negatives[-1] = 'score'
    return ['anchor', 'positive', *negatives]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _path(data: str | os.PathLike[str]) -> Path:
    path = Path(data)
    if path.is_dir():
        files = sorted(file.name for file in path.iterdir() if file.suffix in _SUFFIXES[:2])
        hint = f' in it, {enumerated(files, "or")}' if files else ''
        raise DataError(f'{path} is a folder; give the path of a file{hint}.')
    if not path.exists():
        folder = path.parent
        files = [file.name for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
        hint = nearest(path.name, files) if files else f'There is no folder {folder} with files in it.'
        raise DataError(f'There is no file {str(data)!r}. {hint}')
    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(
            f'{path.name} is no CSV file (.csv, .tsv, .txt). Load other files yourself, '
            f'pandas.read_json for example, and give the DataFrame.'
        )
    return path
