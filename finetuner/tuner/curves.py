"""What a learning rate does after its warm-up: the part of the highest rate, by how much of the way is behind.

The formulas are those of Hugging Face transformers; there is no progress beyond 1, where cosines would rise again.
"""

from math import cos, pi


def linear(progress: float) -> float:
    """Down to zero in a line.

    >>> [linear(progress) for progress in (0, 0.5, 1)]
    [1, 0.5, 0]
    """
    return 1 - progress


def cosine(progress: float, num_cycles: float = 0.5) -> float:
    """Waves; half a one falls slowly, then fast, then slowly.

    >>> [round(cosine(progress), 3) for progress in (0, 0.25, 0.5, 1)]
    [1.0, 0.854, 0.5, 0.0]
    """
    return 0.5 * (1 + cos(pi * 2 * num_cycles * progress))


def cosine_with_restarts(progress: float, num_cycles: int = 1) -> float:
    """Half waves, each of which begins at the top.

    >>> [round(cosine_with_restarts(progress, 2), 3) for progress in (0, 0.25, 0.5, 0.75, 1)]
    [1.0, 0.5, 1.0, 0.5, 0.0]
    """
    return 0.5 * (1 + cos(pi * (num_cycles * progress % 1))) if progress < 1 else 0.0


def polynomial(progress: float, power: float = 1.0, lr_end: float = 0.0) -> float:
    """Down to `lr_end`, here as a part of the highest rate.

    >>> [polynomial(progress, power=2, lr_end=0.2) for progress in (0, 0.5, 1)]
    [1.0, 0.4, 0.2]
    """
    return (1 - lr_end) * float((1 - progress) ** power) + lr_end


def constant(progress: float) -> float:
    """Always the same."""
    return 1.0
