"""From the contents of a batch to the model's input: arrays are stacked, and the item that does not fit is named."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from finetuner.data.tokens import reader
from finetuner.errors import DataError, FinetunerError
from finetuner.typing import CollateFn, Inputs

_KINDS = {'b': 'booleans', 'i': 'integers', 'u': 'integers', 'f': 'floats'}

Called = Callable[[int], str]


def collate(contents: Sequence[Any], called: Called, collate_fn: CollateFn | None = None) -> Inputs:
    """One batch of inputs.

    Without `collate_fn` arrays, numbers and lists of numbers become one array, float64 as float32; dicts a dict of
    arrays, other lists and tuples a list of arrays.

    Args:
        contents: B preprocessed contents.
        called: the name of content i, for errors.
        collate_fn: from the list of contents to the inputs; what it gives is left as it is. Also a tokenizer of
            transformers.

    Raises:
        DataError: an item has another shape or type than the others, or is not finite, or `collate_fn` fails.
    """
    if collate_fn is None:
        return _stack(list(contents), called, '')
    try:
        inputs = reader(collate_fn)(list(contents))
    except FinetunerError:
        raise
    except Exception as error:
        last = f' to {called(len(contents) - 1)}' if len(contents) > 1 else ''
        raise DataError(
            f'collate_fn fails on the batch of {called(0)}{last}: {type(error).__name__}: {error}'
        ) from error
    _check_leaves(inputs, len(contents), called)
    return inputs


def _check_leaves(inputs: Any, n: int, called: Called) -> None:
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if isinstance(inputs, list | tuple):
        for value in inputs:
            _check_leaves(value, n, called)
    elif type(inputs) is np.ndarray and inputs.dtype.kind == 'f' and inputs.shape[:1] == (n,):
        _finite(inputs, called, '')


def _stack(contents: list[Any], called: Called, part: str) -> Any:
    first = contents[0]
    if isinstance(first, Mapping):
        _alike([tuple(c) if isinstance(c, Mapping) else type(c).__name__ for c in contents], called, part, 'the keys')
        return {key: _stack([c[key] for c in contents], called, f'{part}[{key!r}]') for key in first}
    if isinstance(first, list | tuple) and not all(isinstance(value, Number) for value in first):
        many = [len(c) if isinstance(c, list | tuple) else type(c).__name__ for c in contents]
        _alike(many, called, part, 'the number of parts')
        return [_stack([c[k] for c in contents], called, f'{part}[{k}]') for k in range(len(first))]
    arrays = [_array(content, called, place, part) for place, content in enumerate(contents)]
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if any(array.shape != shape or array.dtype != dtype for array in arrays):
        _alike([array.shape for array in arrays], called, part, 'the shape')
        if shape:  # single numbers may be mixed
            _alike([_KINDS[array.dtype.kind] for array in arrays], called, part, 'numbers that are')
    batch = np.stack(arrays)
    if batch.dtype == np.float64:
        batch = batch.astype(np.float32)
    if batch.dtype.kind == 'f':
        _finite(batch, called, part)
    return batch


def _array(content: Any, called: Called, place: int, part: str) -> np.ndarray:
    if isinstance(content, str | bytes):
        raise DataError(
            f'The content of {called(place)}{part} is text, {_short(content)}: a model takes numbers. '
            f'Give fit a collate_fn that makes them from a list of texts, such as a tokenizer: collate_fn=tokenizer.'
        )
    if content is None:
        raise DataError(f'There is no content in {called(place)}{part}: it is None. Does preprocess_fn return?')
    try:
        array = np.asarray(content)
    except Exception as error:
        raise DataError(f'The content of {called(place)}{part} is no array: {error}. Give fit a collate_fn.') from error
    if array.dtype.kind not in _KINDS:
        raise DataError(
            f'The content of {called(place)}{part} is a {type(content).__name__} of {array.dtype}: expected numbers. '
            f'Make an array of it in preprocess_fn, or an input in collate_fn.'
        )
    return array


def _alike(facts: list[Any], called: Called, part: str, what: str) -> None:
    usual, _ = Counter(facts).most_common(1)[0]
    for place, fact in enumerate(facts):
        if fact != usual:
            raise DataError(
                f'{called(place)}{part} has {what} {fact}, where others have {usual}: '
                f'items of a batch must be alike. Make them so in preprocess_fn, or pad them in collate_fn.'
            )


def _finite(batch: np.ndarray, called: Called, part: str) -> None:
    if np.isfinite(batch).all():
        return
    bad = ~np.isfinite(batch).reshape(len(batch), -1).all(1)
    place = int(bad.argmax())
    what = 'NaN' if np.isnan(batch[place]).any() else 'an infinite number'
    raise DataError(f'{called(place)}{part} has {what} in it: correct it or leave the item out.')


def _short(content: str | bytes) -> str:
    return repr(content if len(content) <= 30 else content[:30]) + ('…' if len(content) > 30 else '')
