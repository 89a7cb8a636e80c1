"""What the linear layers of a head start from: the same numbers in every framework."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SEED = 42


def kernels(head: Sequence[tuple[Any, ...]], seed: int = SEED) -> list[np.ndarray | None]:
    """For each step of a head the (inputs, outputs) kernel that it starts from, None where it has none.

    Uniform within 1 / sqrt(inputs) on both sides, or the identity; there is no bias at the start.

    Args:
        head: as in `Recipe.head`.
        seed: of the numbers.

    >>> [None if k is None else k.shape for k in kernels([('linear', 3, 2), ('relu',)])]
    [(3, 2), None]
    """
    return [_kernel(place, step, seed) if step[0] == 'linear' else None for place, step in enumerate(head)]


def _kernel(place: int, step: tuple[Any, ...], seed: int) -> np.ndarray:
    _, inputs, outputs, *how = step
    if 'identity' in how:
        return np.eye(inputs, outputs, dtype=np.float32)
    bound = inputs**-0.5
    return np.random.default_rng((seed, place)).uniform(-bound, bound, (inputs, outputs)).astype(np.float32)
