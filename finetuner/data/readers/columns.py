"""Reads a dict of columns, or of arrays that together are the content, such as token ids and their mask."""

from collections.abc import Mapping
from typing import Any

from finetuner.data.readers.table import is_known, read_table
from finetuner.data.records import Records
from finetuner.data.views import Names, Parts
from finetuner.errors import DataError


def read(data: Mapping[str, Any], supervision: str | None = None) -> Records:
    """Records of a dict of equally long columns; one without any known name is taken for parts of contents.

    Raises:
        DataError: the columns are not equally long, or do not say what they are.
    """
    lengths = {str(name): len(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        told = ', '.join(f'{name}: {length}' for name, length in lengths.items())
        raise DataError(f'The columns are not equally long: {told}.')
    names = Names(min(lengths.values(), default=0))
    if data and not any(is_known(name) for name in lengths):
        return Records('instance', Parts(data), names)
    return read_table({str(name): column for name, column in data.items()}, names, supervision)
