"""The smallest of many numbers, in a stable order, by sorting integers.

A number and its column make one integer of 64 bits: the leading bits of the number, in an order of integers, then the
bits of the column. Integers sort several times faster than numbers with a stable order, and equal numbers come in the
order of their columns. What the dropped bits could have changed is found afterwards, and those rows are sorted in full.
"""

import numpy as np

# Rows from this length on are looked up one after the other: each stays in the cache.
_WIDE = 4096


def smallest(d: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the k smallest values of each row, ascending, equal values in the order of the columns.

    Args:
        d: (B, N) numbers.
        k: how many; all N if there are fewer.

    Returns:
        (B, min(k, N)) columns and their values.

    >>> smallest(np.array([[3.0, 1.0, 2.0, 1.0]]), 3)
    (array([[1, 3, 2]]), array([[1., 1., 2.]]))
    """
    width = d.shape[1]
    k = min(k, width)
    if not d.size or not k:
        return np.empty((len(d), k), np.intp), np.empty((len(d), k))
    mask: int = (1 << max(width - 1, 1).bit_length()) - 1
    keys = _keys(d, mask)
    if k < width:
        keys.partition(k, axis=1)
        keys = keys[:, : k + 1]  # one more, to see whether the last place is contested
    keys.sort(axis=1)
    contested = np.zeros(len(d), bool) if k == width else (keys[:, k] | mask) == (keys[:, k - 1] | mask)
    columns = keys[:, :k] & mask
    values = np.empty(columns.shape)
    if width < _WIDE:
        d.ravel().take(columns + np.arange(len(d))[:, None] * width, out=values, mode='clip')
    else:
        for row, (numbers, found) in enumerate(zip(d, columns, strict=True)):
            numbers.take(found, out=values[row], mode='clip')
    for wrong in np.flatnonzero(contested | (values[:, 1:] < values[:, :-1]).any(axis=1)):
        columns[wrong] = np.argsort(d[wrong], kind='stable')[:k]
        values[wrong] = d[wrong, columns[wrong]]
    return columns, values


def _keys(d: np.ndarray, mask: int) -> np.ndarray:
    # (B, N) integers in the order of the numbers; those of equal leading bits in the order of the columns.
    numbers = np.add(d, 0.0, dtype=float)  # -0 becomes 0
    keys: np.ndarray = numbers.view(np.int64)
    if numbers.min() < 0:  # the bits of negative numbers ascend where the numbers descend
        keys ^= (keys >> 63) & np.int64(2**63 - 1)
    keys &= ~mask
    keys |= np.arange(d.shape[1])
    return keys
