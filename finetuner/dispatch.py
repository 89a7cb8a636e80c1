"""Which library does this belong to? Asked of the type's own history, never by importing anything.

`get_namespace(tensor)` gives the module of array operations, `get_framework(model)` the framework that trains the
model, and `load(framework, part)` imports that framework's part of Finetuner: the only dynamic import.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, cast

from finetuner.errors import MissingExtraError, ModelError
from finetuner.typing import Namespace

FRAMEWORKS = ('torch', 'keras', 'paddle')
_LIBRARIES = {'torch': 'PyTorch', 'keras': 'Keras', 'paddle': 'PaddlePaddle'}
_MODEL_HAS = {'torch': 'named_parameters', 'keras': 'trainable_weights', 'paddle': 'named_parameters'}
_TENSORS = {
    'numpy': 'numpy',
    'torch': 'torch',
    'paddle': 'paddle',
    'keras': 'keras',
    'tensorflow': 'keras',
    'jax': 'keras',
    'jaxlib': 'keras',
}


class _Namespaces(dict[type, Namespace | None]):
    # A dict with __missing__, because Dynamo breaks on an lru_cache and Paddle's AST mode on `if type not in cache`.
    def __missing__(self, kind: type) -> Namespace:
        for base in kind.__mro__:
            library = _TENSORS.get(base.__module__.partition('.')[0])
            if library:
                self[kind] = namespace = cast(Namespace, load(library, 'ops'))
                return namespace
        raise TypeError(
            f'Finetuner has no array operations for {kind.__module__}.{kind.__qualname__}; '
            f'expected a tensor of numpy, torch, keras (tensorflow, jax, torch) or paddle.'
        )


_namespaces = _Namespaces()


def get_namespace(tensor: Any) -> Namespace:
    """The array operations for `tensor`, as a module with the names of `typing.Namespace`.

    Raises:
        TypeError: `tensor` is no tensor of a known library.
    """
    return cast(Namespace, _namespaces[type(tensor)])


def get_framework(model: Any) -> str:
    """The framework that `model` belongs to: 'torch', 'keras' or 'paddle'.

    A Keras model on the torch engine is a `torch.nn.Module` too: the first base class that any framework owns decides.

    Raises:
        ModelError: `model` belongs to none of them.
    """
    for base in type(model).__mro__:
        library = base.__module__.partition('.')[0]
        if library == 'tf_keras' or (library == 'keras' and _keras_is_old()):
            raise ModelError(
                'This is a Keras 2 model; Finetuner tunes Keras 3. Install keras>=3, load the model with '
                '`keras.models.load_model(path)` and pass that.'
            )
        if library in _MODEL_HAS:
            if hasattr(model, _MODEL_HAS[library]):
                return library
            break
    came = type(model)
    raise ModelError(
        f'Cannot tune {came.__module__}.{came.__qualname__}: expected a torch.nn.Module, '
        f'a keras.Model or keras.Layer, or a paddle.nn.Layer.'
    )


def _keras_is_old() -> bool:
    return str(getattr(sys.modules.get('keras'), '__version__', '3')).startswith('2.')


def load(framework: str, part: str) -> ModuleType:
    """Import `finetuner.backends.<framework>.<part>`.

    Raises:
        MissingExtraError: the framework is not installed; names the extra to install.
    """
    try:
        return import_module(f'finetuner.backends.{framework}.{part}')
    except ModuleNotFoundError as error:
        missing = (error.name or '').partition('.')[0]
        if missing == 'finetuner':
            raise
        raise MissingExtraError(
            f'{_LIBRARIES.get(framework, framework)} needs the package {missing!r}, which is not installed. '
            f"Install it with: pip install 'finetuner[{framework}]'"
        ) from error


def is_installed(library: str) -> bool:
    """Whether `library` could be imported, without importing it."""
    return library in sys.modules or find_spec(library) is not None
