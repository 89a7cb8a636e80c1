"""Reads a Hugging Face dataset, row by row from its files."""

from collections.abc import Iterator
from typing import Any

from finetuner.data.readers.table import read_table
from finetuner.data.records import Records
from finetuner.data.views import Names, View
from finetuner.errors import DataError, enumerated

_AT_ONCE = 1000


class _Column(View):
    def __init__(self, data: Any, name: str) -> None:
        self.n, self.name = len(data), name
        self.data = data.select_columns([name])  # so that an image beside it is not decoded

    def get(self, i: int) -> Any:
        return self.data[i][self.name]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.n, _AT_ONCE):
            yield from self.data[start : start + _AT_ONCE][self.name]


class _Classes(_Column):
    # ClassLabel columns write -1 where there is no label.
    def __init__(self, data: Any, name: str) -> None:
        super().__init__(data.with_format(None), name)

    def __iter__(self) -> Iterator[Any]:
        return (None if code == -1 else code for code in super().__iter__())


def read(data: Any, supervision: str | None = None) -> Records:
    """Records of a `datasets.Dataset`.

    Raises:
        DataError: it is a dict of splits or a stream, or its columns do not say what they are.
    """
    kind = type(data).__name__
    if kind == 'DatasetDict':
        splits = list(data)
        hint = f'data[{splits[0]!r}]' if splits else "load_dataset(…, split='train')"
        raise DataError(f'These are the splits {enumerated(splits)}: choose one, {hint}.')
    if kind == 'IterableDataset':
        raise DataError(
            'A streamed dataset cannot be read by number, as sampling needs it. Load it without streaming=True, '
            'or keep a part of it: datasets.Dataset.from_list(list(data.take(10_000))).'
        )
    columns = {
        name: (_Classes if type(feature).__name__ == 'ClassLabel' else _Column)(data, name)
        for name, feature in data.features.items()
    }
    return read_table(columns, Names(len(data)), supervision)
