"""Of what an encode is: enough of the model, the data and the settings to know them again in another process."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from finetuner.data.chance import seeded
from finetuner.data.dataset import Dataset
from finetuner.data.tokens import is_tokenizer
from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.inference import Encoder
from finetuner.typing import CollateFn

LOOKED_AT = 64
"""Contents of which all that is in them is looked at; texts are looked at one and all."""
SHOWN = ('torch', 'paddle')
"""Frameworks whose models show their settings; what a layer of Keras shows is a name, another for each."""
GENERATED = re.compile(r'\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b')
"""Ids that documents are given where they have none: others each time."""
ADDRESS = re.compile(r'\b0x[0-9a-fA-F]{6,}')
"""In what an object says of itself, where it says nothing."""


def identity(coder: Encoder, dataset: Dataset, collate_fn: CollateFn | None, **settings: Any) -> dict[str, Any]:
    """What must be the same for an encode to go on, for JSON.

    Args:
        coder: the model, placed on its device.
        dataset: the items.
        collate_fn: from contents to inputs.
        **settings: what else the vectors depend on.
    """
    return {
        'model': type(coder.model).__qualname__,
        'weights': _weights(coder),
        'configuration': _configuration(coder),
        'items': len(dataset.records.contents),
        'data': _data(dataset),
        'preprocess_fn': _named(dataset.preprocess_fn),
        'collate_fn': _named(collate_fn),
        'device': coder.device.partition(':')[0],
        **settings,
    }


def _weights(coder: Encoder) -> str:
    found = hashlib.sha256()
    for name, value in coder.arrays():
        found.update(f'{name} {value.dtype} {value.shape}'.encode())
        found.update(np.ascontiguousarray(value).data)
    found.update(' '.join(coder.layers()).encode())
    return found.hexdigest()


def _configuration(coder: Encoder) -> str:
    # What modules and layers say of themselves, and what a model of transformers is made from.
    shown = repr(coder.model) if coder.framework in SHOWN else ''
    config: Any = getattr(coder.model, 'config', None)
    made_from = config.to_dict() if hasattr(config, 'to_dict') else {}
    settings = {name: value for name, value in made_from.items() if name[0] != '_' and name != 'transformers_version'}
    shown += repr(settings)
    return hashlib.sha256(ADDRESS.sub('', shown).encode(errors='surrogatepass')).hexdigest()


def _data(dataset: Dataset) -> str:
    dataset = dataset.alone()  # item by item, of pairs too
    records, found = dataset.records, hashlib.sha256()
    for name in records.names:
        found.update(f'{GENERATED.sub("", str(name))}\0'.encode(errors='surrogatepass'))
    every = max(len(records.contents) // LOOKED_AT, 1)
    for place, content in enumerate(records.contents):
        text = content if isinstance(content, str) else getattr(content, 'text', None)
        if isinstance(text, str):
            found.update(f'{text}\0'.encode(errors='surrogatepass'))
        if place % every == 0:
            with seeded(0, place):  # what is drawn in a preprocess_fn is no difference
                prepared = dataset.content(place)
            try:
                _walk(prepared, found)
            except (TypeError, RecursionError):
                raise ArgumentError(
                    f'output=…: that the data are the same cannot be seen in {dataset.name(place)}, a content of type '
                    f'{type(prepared).__name__}, for not all that is in it is an array, a number or a text. Make '
                    f'arrays, numbers or texts of the items in preprocess_fn, or leave output out.'
                ) from None
    return found.hexdigest()


def _walk(content: Any, found: Any) -> None:
    # Hashes what is in a content.
    if content is None or isinstance(content, str | bytes | bool | int | float | complex):
        found.update(f'{content!r}\0'.encode(errors='surrogatepass'))
    elif isinstance(content, Mapping):
        found.update(f'mapping {len(content)}\0'.encode())
        for key, value in content.items():
            _walk(key, found)
            _walk(value, found)
    elif isinstance(content, list | tuple):
        found.update(f'list {len(content)}\0'.encode())
        for value in content:
            _walk(value, found)
    else:
        array = _array(content)
        if array is not None and array.dtype.kind != 'O':
            found.update(f'{array.dtype} {array.shape}\0'.encode())
            found.update(np.ascontiguousarray(array).tobytes())
        elif array is not None and array.ndim:
            _walk(array.tolist(), found)
        elif isinstance(content, set | frozenset):
            _walk(sorted(map(repr, content)), found)
        elif own := getattr(content, '__dict__', None):  # what an object shows of arrays may be their ends alone
            _walk({**own, '': type(content).__qualname__}, found)
        elif ADDRESS.search(shown := repr(content)):
            raise TypeError(shown)
        else:
            found.update(f'{shown}\0'.encode(errors='surrogatepass'))


def _array(content: Any) -> np.ndarray | None:
    if isinstance(content, np.ndarray | np.generic):
        return np.asarray(content)
    try:
        found: np.ndarray = get_namespace(content).to_numpy(content)
        return found
    except TypeError:
        known = hasattr(content, '__array__') or hasattr(content, '__array_interface__')
        return np.asarray(content) if known else None


def _named(function: Callable[..., Any] | None) -> str | None:
    if function is None:
        return None
    if is_tokenizer(function):
        tokenizer: Any = function
        set_to = tokenizer.model_max_length, len(tokenizer), tokenizer.truncation_side, tokenizer.padding_side
        padded_with = tokenizer.pad_token_id, tokenizer.pad_token_type_id
        return f'{type(tokenizer).__name__} {" ".join(map(str, set_to + padded_with))} {_made_of(tokenizer)}'
    return getattr(function, '__qualname__', type(function).__qualname__)


def _made_of(tokenizer: Any) -> str:
    # All of a fast tokenizer: its words, and how it cuts; not to what length it cut texts last.
    fast: Any = getattr(tokenizer, 'backend_tokenizer', None)
    if not hasattr(fast, 'to_str'):
        return ''
    parts = {name: part for name, part in json.loads(fast.to_str()).items() if name not in ('truncation', 'padding')}
    return hashlib.sha256(json.dumps(parts).encode(errors='surrogatepass')).hexdigest()
