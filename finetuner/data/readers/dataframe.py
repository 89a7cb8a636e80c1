"""Reads a pandas DataFrame, cell by cell when they are needed."""

from typing import Any

from finetuner.data.readers.table import read_table
from finetuner.data.records import Records
from finetuner.data.views import Names
from finetuner.errors import DataError, enumerated


def read(data: Any, supervision: str | None = None) -> Records:
    """Records of a DataFrame; rows are called by its index.

    Raises:
        DataError: two columns have one name, or they do not say what they are.
    """
    names = [str(name) for name in data.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f'Several columns are called {enumerated(twice)}: rename them.')
    columns = {name: data.iloc[:, place].array for place, name in enumerate(names)}
    return read_table(columns, Names(len(data), 'row {}', data.index), supervision)
