"""From the data of people to batches; numpy only. The public names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.data import augmentation, samples
    from finetuner.data.checks import CheckReport, check
    from finetuner.data.csv import CSVOptions
    from finetuner.data.readers.source import read
    from finetuner.data.records import Records

_PUBLIC = {
    'CSVOptions': 'csv',
    'CheckReport': 'checks',
    'Records': 'records',
    'augmentation': '',
    'check': 'checks',
    'read': 'readers',
    'samples': '',
}
__all__ = ['CSVOptions', 'CheckReport', 'Records', 'augmentation', 'check', 'read', 'samples']


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module = import_module(f'{__name__}.{_PUBLIC[name] or name}')
    return getattr(module, name) if _PUBLIC[name] else module
