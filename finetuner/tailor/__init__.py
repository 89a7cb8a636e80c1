"""Any general model becomes an embedding model: cut, freeze, pool, project; imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetuner.tailor.freezing import freeze, unfreeze
    from finetuner.tailor.layers import Layer
    from finetuner.tailor.recipe import Adapter, Pooling, Recipe
    from finetuner.tailor.tailoring import display, merge, rebuild, recipe_of, summary, to_embedding_model

_MODULES = {
    'Adapter': 'recipe',
    'Layer': 'layers',
    'Pooling': 'recipe',
    'Recipe': 'recipe',
    'display': 'tailoring',
    'freeze': 'freezing',
    'merge': 'tailoring',
    'rebuild': 'tailoring',
    'recipe_of': 'tailoring',
    'summary': 'tailoring',
    'to_embedding_model': 'tailoring',
    'unfreeze': 'freezing',
}
__all__ = [
    'Adapter',
    'Layer',
    'Pooling',
    'Recipe',
    'display',
    'freeze',
    'merge',
    'rebuild',
    'recipe_of',
    'summary',
    'to_embedding_model',
    'unfreeze',
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
