"""Tune embedding models of PyTorch, Keras and PaddlePaddle for better search, with one call: `finetuner.fit`.

Names are imported when first used; importing the package imports no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finetuner.errors import MissingExtraError

if TYPE_CHECKING:  # what type checkers see; at run time the table below
    from finetuner import callback, data, evaluation, losses, tailor, tuner
    from finetuner.api import embed, encode, evaluate, fit, history, list_callbacks, load, mine_hard_negatives, save
    from finetuner.tailor import display, freeze, to_embedding_model, unfreeze

__version__ = '1.0.0'
__default_tag_key__ = 'finetuner_label'
"""The tag of a document that holds its label, or that of a match 1 or -1."""

_FUNCTIONS = ('embed', 'encode', 'evaluate', 'fit', 'history', 'list_callbacks', 'load', 'mine_hard_negatives', 'save')
_MODULES = ('callback', 'data', 'errors', 'evaluation', 'losses', 'tailor', 'tuner')
_TAILOR = ('display', 'freeze', 'to_embedding_model', 'unfreeze')
_DOCUMENTS = ('Document', 'DocumentArray')

__all__ = [  # without docarray's, so that `import *` does not need it
    '__default_tag_key__',
    '__version__',
    'callback',
    'data',
    'display',
    'embed',
    'encode',
    'errors',
    'evaluate',
    'evaluation',
    'fit',
    'freeze',
    'history',
    'list_callbacks',
    'load',
    'losses',
    'mine_hard_negatives',
    'save',
    'tailor',
    'to_embedding_model',
    'tuner',
    'unfreeze',
]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        value = getattr(import_module('finetuner.api'), name)
    elif name in _TAILOR:
        value = getattr(import_module('finetuner.tailor'), name)
    elif name in _MODULES:
        value = import_module(f'finetuner.{name}')
    elif name in _DOCUMENTS:
        value = _from_docarray(name)
    else:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    globals()[name] = value  # the next time Python finds it by itself
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS, *_TAILOR, *_MODULES, *_DOCUMENTS})


def _from_docarray(name: str) -> Any:
    try:
        return getattr(import_module('docarray'), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise MissingExtraError(
            f'finetuner.{name} is that of docarray before 0.30, which is not installed. '
            f"Install it with: pip install 'finetuner[docarray]'"
        ) from error
