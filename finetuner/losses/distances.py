"""Distances between rows of vectors, each formula once.

All take `a (N, D)` and `b (M, D)` and give `(N, M)`. A zero vector has similarity 0 to everything and gets no slope.
"""

from collections.abc import Callable

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError, nearest
from finetuner.typing import Tensor

SMALL = 1e-24
"""Squared lengths up to this are zero: the slopes of directions and distances must not overflow float32."""

FAR = 1e30
"""Beyond any distance, and finite, so that differences of it stay numbers."""

# Rounding of |a|^2 + |b|^2 - 2ab, in units of |a|^2 + |b|^2: what is below four of it is a distance of zero.
_EPSILON = {'float64': 2.0**-52, 'float32': 2.0**-23}


def epsilon(x: Tensor) -> float:
    """The rounding unit of a tensor's dtype (float32's for all shorter ones)."""
    return _EPSILON['float64' if 'float64' in str(x.dtype) else 'float32']


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if it was float16 or bfloat16."""
    return get_namespace(x).cast(x, get_namespace(x).float32) if 'float16' in str(x.dtype) else x


def normalize(x: Tensor) -> Tensor:
    """(N, D) rows of length 1; a zero vector stays zero."""
    xp = get_namespace(x)
    square = xp.sum(x * x, axis=-1, keepdims=True)
    some = square > SMALL
    return xp.where(some, x / xp.sqrt(xp.where(some, square, 1.0)), 0.0)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """`a · b`, a similarity."""
    xp = get_namespace(a)
    return xp.matmul(a, xp.transpose(b))


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """`cos(a, b)`, a similarity in [-1, 1]."""
    return dot(normalize(a), normalize(b))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """`1 - cos(a, b)`, in [0, 2]."""
    return get_namespace(a).relu(1 - cosine_similarity(a, b))


def sine(c: Tensor) -> Tensor:
    """The sine of angles from 0 to 180 degrees with the cosines `c`, with a finite slope at its ends."""
    xp = get_namespace(c)
    square = 1 - c * c
    some = square > 4 * epsilon(c)
    # The argument of the root is made safe, not its result: an infinite slope times zero would be NaN.
    return xp.where(some, xp.sqrt(xp.where(some, square, 1.0)), 0.0)


def _square(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    # The squared distance, and where it is more than rounding.
    xp = get_namespace(a)
    first = xp.sum(a * a, axis=-1, keepdims=True)
    second = xp.transpose(xp.sum(b * b, axis=-1, keepdims=True))
    square = first + second - 2 * dot(a, b)
    return square, square > (4 * epsilon(a) * first + SMALL) + 4 * epsilon(a) * second


def sqeuclidean(a: Tensor, b: Tensor) -> Tensor:
    """`|a - b|^2`."""
    xp = get_namespace(a)
    square, apart = _square(a, b)
    return xp.where(apart, square, 0.0)


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """`|a - b|`; where a and b are equal to rounding, zero with slope zero."""
    xp = get_namespace(a)
    square, apart = _square(a, b)
    # The argument of the root is made safe, not its result: an infinite slope times zero would be NaN.
    return xp.where(apart, xp.sqrt(xp.where(apart, square, 1.0)), 0.0)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cosine': cosine,
    'euclidean': euclidean,
    'sqeuclidean': sqeuclidean,
}


def get(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance called `name`.

    Raises:
        ArgumentError: there is none of that name.
    """
    if not isinstance(name, str) or name not in DISTANCES:
        raise ArgumentError(f'There is no distance {name!r}. {nearest(str(name), DISTANCES)}')
    return DISTANCES[name]


def between(a: Tensor, b: Tensor, name: str, unit: bool) -> Tensor:
    """(N, M) distances called `name`, of the vectors themselves or, with `unit`, of their directions."""
    if unit and name != 'cosine':  # which normalizes by itself
        a, b = normalize(a), normalize(b)
    return get(name)(a, b)
