"""Miners: which pairs and triplets of a batch teach most; imported when first used."""

from typing import Any

from finetuner.losses.names import MINERS, find

__all__ = [*MINERS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in MINERS:
        return find(name, 'miner')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *MINERS})
