"""Which reader reads this: asked of the type's own history, so that no library is imported to ask."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from finetuner.data.records import KINDS, Records
from finetuner.data.uri import loaded
from finetuner.errors import ArgumentError, DataError, nearest

_READERS = {
    ('docarray', 'DocumentArray'): 'documents',
    ('docarray', 'Document'): 'documents',
    ('docarray', 'DocList'): 'doclist',
    ('docarray', 'DocVec'): 'doclist',
    ('docarray', 'BaseDocWithoutId'): 'doclist',
    ('docarray', 'BaseDoc'): 'doclist',
    ('pandas', 'DataFrame'): 'dataframe',
    ('datasets', 'Dataset'): 'huggingface',
    ('datasets', 'DatasetDict'): 'huggingface',
    ('datasets', 'IterableDataset'): 'huggingface',
}


def read(data: Any, *, supervision: str | None = None, **options: Any) -> Records:
    """Items and their supervision, from any data that Finetuner takes. Contents stay where they are until needed.

    Args:
        data: a DocumentArray, DocList or list of documents; a list of contents or of tuples `(content, label)`,
            `(anchor, positive, *negatives)`, `(a, b, score)`; a tuple `(contents, labels)`; a DataFrame, a Hugging
            Face dataset, a dict of columns, or the path of a CSV file.
        supervision: what the data is read as: 'class', 'session', 'pair', 'score' or 'instance' (items alone); None
            sees for itself.
        **options: for CSV files: `csv_options`, `allow_urls`.

    Raises:
        DataError: the data cannot be read; names what is wrong and where.
        ArgumentError: an option is unknown.
    """
    if isinstance(data, Records):
        return data.alone() if supervision == 'instance' else data
    if supervision is not None and supervision not in KINDS:
        raise ArgumentError(f'There is no supervision {supervision!r}. {nearest(str(supervision), KINDS)}')
    name = _reader(data)
    for option in options:
        if name != 'csvfile' or option not in ('csv_options', 'allow_urls'):
            raise ArgumentError(f'{option}= is no option of {_kind(data)}; CSV files take csv_options and allow_urls.')
    reader: Callable[..., Records] = import_module(f'finetuner.data.readers.{name}').read
    return reader(data, supervision, **options)


def contents(data: Any) -> Records:
    """The items alone, to be encoded: of documents with matches or chunks only the documents themselves.

    Raises:
        DataError: the data cannot be read.
    """
    rows = isinstance(data, tuple) or (isinstance(data, list) and bool(data) and isinstance(data[0], tuple))
    return read(data, supervision=None if rows else 'instance').alone()


def content(item: Any) -> Any:
    """The content of one item: of a document, whichever docarray it is of, and of a `Uri` what stands there.

    Raises:
        DataError: it cannot be read.
    """
    name = _known(item)
    if name in ('documents', 'doclist'):
        return import_module(f'finetuner.data.readers.{name}').content(item)
    return loaded(item)


def _reader(data: Any) -> str:
    known = _known(data)
    if known is not None:
        if any(base.__qualname__ in ('Document', 'BaseDoc') for base in type(data).__mro__):
            raise DataError('This is one document: give a list of documents, [document].')
        return known
    if isinstance(data, str | os.PathLike):
        return 'csvfile'
    if isinstance(data, Mapping):
        return 'columns'
    if not (hasattr(data, '__len__') and hasattr(data, '__getitem__')):
        raise DataError(
            f'Cannot read {_kind(data)} as data: expected a DocumentArray, a DocList, a list, (contents, labels), a '
            f'DataFrame, a Hugging Face dataset or the path of a CSV file. Wrap an iterator: list(data).'
        )
    first = data[0] if isinstance(data, list) and data else None
    return (_known(first) if first is not None else None) or 'sequences'


def _known(thing: Any) -> str | None:
    for base in type(thing).__mro__:
        found = _READERS.get((base.__module__.partition('.')[0], base.__qualname__.partition('[')[0]))
        if found:
            return found
    return None


def _kind(data: Any) -> str:
    return f'{type(data).__module__}.{type(data).__qualname__}'
