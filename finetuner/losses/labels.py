"""Labels as people have them become codes: small numbers that travel with a batch."""

import sys
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.typing import Tensor

UNKNOWN = 2**31 - 1
"""For `most` where the size of the batch is not known: in compiled TensorFlow."""


def encode_labels(labels: Sequence[Hashable]) -> tuple[np.ndarray, list[Hashable]]:
    """Dense int32 codes in the order of first appearance, and the label of each code."""
    codes: dict[Hashable, int] = {}
    dense = np.fromiter((codes.setdefault(label, len(codes)) for label in labels), np.int32, len(labels))
    return dense, list(codes)


def label_codes(
    labels: Any, like: Tensor = None, numbers: str = '', n_classes: int | None = None, look: bool = True
) -> tuple[dict[str, Tensor], np.ndarray | None]:
    """The codes `item (N,)` and `label (N, L)` of items from their class labels; and those labels as an array.

    Labels that can be looked at get new, dense codes, so that they may be large, negative, fractions or names; -1 alone
    keeps its meaning, no class. On a device, or traced by a compiler, they must be whole numbers within int32, and what
    is negative is no class.

    Args:
        labels: (N,) labels: a list of anything hashable, or an array or tensor of numbers or texts; or (N, L), several
            of each item: an array or tensor padded with -1, or a list of lists.
        like: (N, D) embeddings: makes the codes tensors of their library, where they are; None leaves arrays.
        numbers: the name of a loss that goes by the numbers of classes, which are then the codes.
        n_classes: C, if the numbers end with C - 1.
        look: whether arrays and tensors may be looked at.

    Raises:
        ArgumentError: not one label, or row of them, for each embedding; or, where they can be looked at, they are no
            numbers from 0 to C - 1, or -1, as a loss needs them.
    """
    known = _table(labels, look)
    if known is None:
        given = get_namespace(labels if like is None else like).asarray(labels, like=like)
        shape = tuple(labels.shape)
    else:
        shape = known.shape
    if len(shape) not in (1, 2):
        raise ArgumentError(f'labels have the shape {shape}: expected (N,), or (N, L) for several of each item.')
    n = None if like is None else like.shape[0]
    if n is not None and shape[0] is not None and n != shape[0]:
        raise ArgumentError(f'There are {n} embeddings and {shape[0]} labels.')
    if known is not None:
        known = known if known.ndim == 2 else known[:, None]
        known = _numbered(known, numbers, n_classes) if numbers else _dense(known)
        given = get_namespace(known if like is None else like).asarray(known, like=like)
    xp = get_namespace(given)
    label = xp.cast(given, xp.int32)
    label = label if len(label.shape) == 2 else xp.reshape(label, (-1, 1))
    return {'item': xp.positions(label), 'label': label}, known


def _table(labels: Any, look: bool) -> np.ndarray | None:
    # Labels as an array, of objects where they came in a list; None where they cannot be looked at.
    if not isinstance(labels, Sequence):
        known = looked_at(labels) if look else None
        return known if known is None or known.dtype.kind != 'O' or not known.ndim else _table(known.tolist(), True)
    rows = [_row(label) for label in labels]
    table = np.full((len(rows), max([1, *(len(row) for row in rows)])), -1, object)
    for i, row in enumerate(rows):
        for j, label in enumerate(row):
            table[i, j] = label
    return table


def _row(label: Any) -> list[Any]:
    # The labels of one item; a tuple is a name.
    if isinstance(label, list):
        return label
    shape = getattr(label, 'shape', None)
    if shape is None:
        return [label]
    return [label.item()] if len(shape) == 0 else list(label.tolist())


def _dense(table: np.ndarray) -> np.ndarray:
    # New int32 codes, and -1 where there is -1.
    unequal = [label for label in table.ravel().tolist() if label != label] if table.dtype.kind in 'fO' else []
    if unequal:
        raise ArgumentError(f'A label is {unequal[0]}, which is no name of a class: give -1 where an item has none.')
    if table.dtype.kind == 'O':
        flat = table.ravel().tolist()
        try:
            codes, _ = encode_labels(flat)
        except TypeError as error:
            raise ArgumentError(f'labels must be hashable, as numbers, texts and tuples are: {error}.') from error
        none = np.array([isinstance(label, int | float) and label == -1 for label in flat], bool)
    else:
        codes = np.unique(table.ravel(), return_inverse=True)[1]
        none = table.ravel() == -1 if table.dtype.kind in 'if' else np.zeros(table.size, bool)
    return np.where(none, -1, codes).astype(np.int32).reshape(table.shape)


def _numbered(table: np.ndarray, name: str, n_classes: int | None) -> np.ndarray:
    # The numbers of classes themselves, as int32.
    try:
        known = np.array(table.tolist()) if table.dtype.kind == 'O' else table
        whole = known.dtype.kind in 'iub' or (known.dtype.kind == 'f' and bool((known == np.floor(known)).all()))
    except (TypeError, ValueError):  # rows of different lengths
        whole = False
    if not whole and table.size:
        raise ArgumentError(
            f'labels={table.ravel()[:3].tolist()}…: {name} learns or remembers classes, so they must have numbers that '
            f'stay the same: 0, 1, 2, …'
        )
    end = 2**31 - 1 if n_classes is None else n_classes
    if known.size and not -1 <= known.min() <= known.max() < end:
        wrong = int(known.min() if known.min() < -1 else known.max())
        there = 'the numbers of classes' if n_classes is None else f'with {n_classes} classes they'
        raise ArgumentError(f'A label is {wrong}: {there} go from 0 to {end - 1}, or are -1 for none.')
    return known.astype(np.int32)


def looked_at(labels: Any) -> np.ndarray | None:
    """Labels as an array, where they can be seen without asking a device; else None."""
    torch = sys.modules.get('torch')
    if torch is not None and torch.compiler.is_compiling():
        return None
    try:
        return np.asarray(labels)
    except (TypeError, NotImplementedError, RuntimeError):  # on a device, or traced by a compiler
        return None


def most_alike(label: Tensor, known: np.ndarray | None = None) -> int:
    """No item has more others of its classes than this, as near as can be said.

    Args:
        label: (N, L) codes.
        known: the same as an array, where they can be looked at.
    """
    if known is None:
        return UNKNOWN if label.shape[0] is None else max(int(label.shape[0]) - 1, 1)
    there = known >= 0
    others = np.unique(known, return_inverse=True, return_counts=True)
    counts = np.where(there, others[2][others[1].reshape(known.shape)] - 1, 0).sum(axis=1)
    return max(min(int(counts.max(initial=0)), len(known) - 1), 1)
