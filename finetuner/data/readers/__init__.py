"""One small reader for each kind of data, all giving `Records`; imported when first used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.data.readers.source import contents, read

__all__ = ['contents', 'read']


def __getattr__(name: str) -> Any:
    if name in __all__:
        from finetuner.data.readers import source

        return getattr(source, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
