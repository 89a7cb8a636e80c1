"""Reads every item once and notes what it finds: what is empty, cannot be read, or is not like the others."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finetuner.data.collate import collate
from finetuner.data.dataset import Dataset
from finetuner.data.records import Records
from finetuner.errors import FinetunerError
from finetuner.typing import CollateFn

_AT_ONCE = 32


@dataclass
class Inspection:
    """What was found in items, by their numbers.

    Attributes:
        prints: of each item a digest of its content before `preprocess_fn`; b'' where there is none to be had.
        empty: items without content.
        unreadable: why an item cannot be read or used.
    """

    prints: list[bytes] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)


def inspect(dataset: Dataset, collate_fn: CollateFn | None = None) -> Inspection:
    """Read and preprocess every item, one at a time; nothing but digests is kept.

    Args:
        dataset: the items.
        collate_fn: tried on all of them, a few at a time; None compares the shapes and types of arrays.
    """
    found = Inspection(prints(dataset.records))
    forms: dict[int, Any] = {}
    waiting: list[tuple[int, Any]] = []
    for place in range(len(dataset)):
        try:
            content = dataset.content(place)
            if is_empty(content):
                found.empty.append(place)
            elif collate_fn is not None:
                waiting.append((place, content))
            elif not isinstance(content, str):  # texts wait for a collate_fn
                forms[place] = _form(collate([content], lambda _: dataset.name(place)))  # noqa: B023
        except FinetunerError as error:
            found.unreadable[place] = str(error)
        if waiting and (len(waiting) == _AT_ONCE or place == len(dataset) - 1):
            _try(waiting, dataset, collate_fn, found)
            waiting = []
    usual = Counter(forms.values()).most_common(1)
    for place, form in forms.items():
        if form != usual[0][0]:
            found.unreadable[place] = f'{dataset.name(place)} is {_told(form)}, where others are {_told(usual[0][0])}'
    return found


def prints(records: Records) -> list[bytes]:
    """Of each item a digest of its content without `preprocess_fn`; b'' where there is none to be had."""
    result = []
    for place in range(len(records)):
        try:
            result.append(fingerprint(records.default_content(records.contents[place])))
        except Exception:  # `inspect` says why, if it matters
            result.append(b'')
    return result


def fingerprint(content: Any) -> bytes:
    """A digest that equal contents share; b'' of what cannot be compared."""
    digest = hashlib.blake2b(digest_size=16)
    return digest.digest() if _feed(digest, content) else b''


def _feed(digest: Any, content: Any) -> bool:
    if isinstance(content, str | bytes | int | float):
        digest.update(f'{type(content).__name__}:'.encode())
        digest.update(content if isinstance(content, bytes) else str(content).encode())
        return True
    if isinstance(content, Mapping):
        return all(_feed(digest, name) and _feed(digest, content[name]) for name in content)
    if isinstance(content, list | tuple):
        return all(_feed(digest, value) for value in content)
    if hasattr(content, '__array__') or hasattr(content, '__array_interface__'):
        try:
            array = np.asarray(content)
        except (TypeError, ValueError, RuntimeError):  # a tensor on a GPU, or of a type that numpy has not
            return False
        digest.update(f'{array.dtype}{array.shape}'.encode())
        digest.update(np.ascontiguousarray(array).tobytes())
        return bool(array.dtype != object)
    return False


def is_empty(content: Any) -> bool:
    """Whether there is nothing in a content: None, a blank text, or no elements."""
    if isinstance(content, str):
        return not content.strip()
    size = getattr(content, 'size', None)
    return content is None or (isinstance(content, list | tuple | dict | bytes) and not content) or size == 0


def _try(waiting: list[tuple[int, Any]], dataset: Dataset, collate_fn: CollateFn | None, found: Inspection) -> None:
    places = [place for place, _ in waiting]
    try:
        collate([content for _, content in waiting], lambda k: dataset.name(places[k]), collate_fn)
    except FinetunerError as error:
        found.unreadable[places[0]] = str(error)


def _form(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return tuple((name, _form(value)) for name, value in inputs.items())
    if isinstance(inputs, list):
        return tuple(map(_form, inputs))
    kind = 'integers' if inputs.dtype.kind in 'iu' else 'booleans' if inputs.dtype.kind == 'b' else 'floats'
    return (inputs.shape[1:], kind if inputs.ndim > 1 else 'numbers')


def _told(form: Any) -> str:
    return f'{form[1]} of shape {form[0]}' if len(form) == 2 and isinstance(form[1], str) else str(form)
