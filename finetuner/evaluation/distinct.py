"""Which vectors are equal to each other, found without comparing all pairs."""

import numpy as np


def distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Which rows are equal to each other.

    Args:
        vectors: (M, D) numbers.

    Returns:
        (U,) the first row of each group of equal rows, ascending; and (M,) the group of each row, or None where all
        rows differ.
    """
    count = len(vectors)
    shared = np.empty(count, np.uint64)
    step = max((1 << 20) // vectors.shape[1], 1)
    for a in range(0, count, step):
        shared[a : a + step] = _fingerprints(vectors[a : a + step])
    _, inverse, counts = np.unique(shared, return_inverse=True, return_counts=True)
    if len(counts) == count:
        return np.arange(count), None
    # Rows of one fingerprint are compared in full.
    suspects = np.flatnonzero(counts[inverse] > 1)
    rows = np.ascontiguousarray(vectors[suspects]) + 0  # -0 becomes 0
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, same = np.unique(whole, return_index=True, return_inverse=True)
    leader = np.arange(count)
    leader[suspects] = suspects[first][same]
    firsts = np.unique(leader)
    if len(firsts) == count:
        return firsts, None
    return firsts, np.searchsorted(firsts, leader)


def _fingerprints(rows: np.ndarray) -> np.ndarray:
    # (B,) a 64-bit sum in integers, which is equal for equal rows whatever the order of summation.
    bits = (rows.astype(float) + 0).view(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, bits.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (bits ^ (bits >> np.uint64(29))) * factors
    total: np.ndarray = (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)
    return total
