"""Of what an encode is: enough of the model, the data and the settings to know them again in another process."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from finetuner.data.dataset import Dataset
from finetuner.data.tokens import is_tokenizer
from finetuner.inference import Encoder
from finetuner.typing import CollateFn

LOOKED_AT = 64
"""Arrays among the contents of which the numbers are looked at; texts are looked at one and all."""


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


def _data(dataset: Dataset) -> str:
    records, found = dataset.records, hashlib.sha256()
    for name in records.names:
        found.update(f'{name}\0'.encode())
    every = max(len(records.contents) // LOOKED_AT, 1)
    for place, content in enumerate(records.contents):
        text = content if isinstance(content, str) else getattr(content, 'text', None)
        if isinstance(text, str):
            found.update(f'{text}\0'.encode(errors='surrogatepass'))
        elif isinstance(content, np.ndarray | np.generic) and place % every == 0:
            found.update(np.ascontiguousarray(content).tobytes())
    return found.hexdigest()


def _named(function: Callable[..., Any] | None) -> str | None:
    if function is None:
        return None
    if is_tokenizer(function):
        tokenizer: Any = function
        set_to = tokenizer.model_max_length, len(tokenizer), tokenizer.truncation_side, tokenizer.padding_side
        return f'{type(tokenizer).__name__} {" ".join(map(str, set_to))}'
    return getattr(function, '__qualname__', type(function).__qualname__)
