"""Labels as people write them, and the dense codes they become."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from finetuner.data.records import Label


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, '', NaN, NaT or NA."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return type(value).__name__ in ('NAType', 'NaTType')


def normal(label: Any) -> Label:
    """A label that can be compared: Python values for numpy's, a tuple for several, None where it is missing.

    Raises:
        TypeError: it can be no label: it cannot be hashed, or is a number between two integers.

    >>> normal([np.int64(3), 'a'])
    (3, 'a')
    """
    if type(label) is int or (type(label) is str and label.strip()):
        return label  # nearly all, and there may be many
    if isinstance(label, Hashable) and is_missing(label):
        return None
    if isinstance(label, np.ndarray | np.generic):
        label = label.tolist()
    elif hasattr(label, '__array__') and hasattr(label, 'shape'):
        label = np.asarray(label).tolist()  # a tensor
    if isinstance(label, list | tuple | set | frozenset):
        several = tuple(normal(one) for one in (sorted(label, key=str) if isinstance(label, set) else label))
        return tuple(dict.fromkeys(one for one in several if one is not None)) or None
    if isinstance(label, float):
        if not label.is_integer():
            raise TypeError(f'{label} is no class label: expected an integer, a string or anything hashable')
        return int(label)
    if not isinstance(label, Hashable):
        raise TypeError(f'a {type(label).__name__} is no class label: expected an integer, a string or a list of them')
    return label


def each(label: Label) -> tuple[Label, ...]:
    """The single labels in a normal one."""
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)


def dense(labels: Iterable[Label], classes: list[Label] | None = None) -> tuple[np.ndarray, list[Label]]:
    """Codes (N, L) int32 of normal labels, padded with -1, and the label of each code.

    Args:
        labels: of each item.
        classes: the labels that have codes, in their order; None takes all, in order of first appearance.
    """
    codes: dict[Label, int] = {label: code for code, label in enumerate(classes or [])}
    labels = list(labels)
    if classes is None and not any(issubclass(kind, tuple) for kind in set(map(type, labels))):
        single = (-1 if label is None else codes.setdefault(label, len(codes)) for label in labels)
        return np.fromiter(single, np.int32, len(labels)).reshape(-1, 1), list(codes)
    if classes is None:
        rows = [tuple(codes.setdefault(one, len(codes)) for one in each(label)) for label in labels]
    else:
        rows = [tuple(codes[one] for one in each(label) if one in codes) for label in labels]
    width = max(map(len, rows), default=1) or 1
    if width == 1:
        flat = np.fromiter((row[0] if row else -1 for row in rows), np.int32, len(rows))
        return flat.reshape(-1, 1), list(codes)
    padded = np.full((len(rows), width), -1, np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded, list(codes)


def codes_of(labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """The (N, L) codes of labels in any form and order; an (N, L) array of integers is taken for codes."""
    if isinstance(labels, np.ndarray) and labels.ndim == 2:
        return labels.astype(np.int32)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iu':
        return np.unique(labels, return_inverse=True)[1].reshape(-1, 1).astype(np.int32)
    return dense(normal(label) for label in labels)[0]
