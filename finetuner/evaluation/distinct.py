"""Which vectors are equal to each other, found without comparing all pairs."""

import numpy as np

_BLOCK = 1 << 17  # numbers looked at together; they stay in the cache


def distinct(vectors: np.ndarray, shared: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Which rows are equal to each other; of a memory map only blocks are read.

    Args:
        vectors: (M, D) numbers.
        shared: (M,) their `fingerprints`, if they are known.

    Returns:
        (U,) the first row of each group of equal rows, ascending; and (M,) the group of each row, or None where all
        rows differ.
    """
    count = len(vectors)
    step = max(_BLOCK // vectors.shape[1], 1)
    if shared is None:
        shared = np.empty(count, np.uint64)
        for a in range(0, count, step):
            shared[a : a + step] = fingerprints(vectors[a : a + step])
    order = np.argsort(shared, kind='stable')
    starts = np.flatnonzero(np.concatenate([[True], shared[order[1:]] != shared[order[:-1]]])) if count else order
    if len(starts) == count:
        return np.arange(count), None
    # Rows of one fingerprint are compared in full with the first of them.
    leader = np.empty(count, np.intp)
    leader[order] = np.repeat(order[starts], np.diff(np.append(starts, count)))
    suspects = np.flatnonzero(leader != np.arange(count))
    differs = np.zeros(len(suspects), bool)
    for a in range(0, len(suspects), step):
        rows = suspects[a : a + step]
        differs[a : a + step] = (vectors[rows] != vectors[leader[rows]]).any(axis=1)
    seen: dict[tuple[float, ...], int] = {}  # a fingerprint that different rows share, which hardly happens
    for row in suspects[differs].tolist():
        leader[row] = seen.setdefault(tuple(vectors[row].tolist()), row)
    firsts = np.unique(leader)
    if len(firsts) == count:
        return firsts, None
    return firsts, np.searchsorted(firsts, leader)


def fingerprints(rows: np.ndarray) -> np.ndarray:
    """(B,) 64-bit sums in integers, which are equal for equal rows whatever the order of summation."""
    plain = np.ascontiguousarray(rows + 0)  # -0 becomes 0
    if plain.strides[0] % 8 or plain.dtype.itemsize > 8:
        plain = plain.astype(float)
    bits = plain.view(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = bits >> np.uint64(29)
    mixed ^= bits
    mixed *= factors
    mixed ^= mixed >> np.uint64(32)
    total: np.ndarray = mixed.sum(axis=1, dtype=np.uint64)
    return total
