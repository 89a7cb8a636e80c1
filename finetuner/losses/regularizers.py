"""Regularizers: what embeddings or learned classes shall look like, whatever the labels say."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import distances, options
from finetuner.losses.reduce import quotient, reduce
from finetuner.typing import Tensor


class Regularizer(ABC):
    """A number from (N, D) vectors alone. Subclasses are frozen dataclasses.

    Attributes:
        of_classes: whether it makes sense for learned classes only.
    """

    of_classes: ClassVar[bool] = False

    @abstractmethod
    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The scalar to lower.

        Args:
            x: (N, D) embeddings, or (C * centers, D) learned classes.
            real: (N,) booleans, False where a row does not count.
            centers: rows that belong to the same class.
        """


@dataclass(frozen=True)
class LpRegularizer(Regularizer):
    """`mean of |x|_p ^ power`: keeps vectors short, so that half precision and dot products keep their digits.

    Args:
        p: of the norm, at least 1.
        power: of the norm, at least 1.
    """

    p: float = 2
    power: float = 1

    def __post_init__(self) -> None:
        options.settle(self, p=options.number(least=1), power=options.number(least=1))

    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The formula."""
        xp = get_namespace(x)
        size = xp.abs(x)
        # Of numbers up to 1, so that no power of them overflows; the norm does not depend on what they are divided by.
        most = xp.stop_gradient(xp.max(size, axis=1, keepdims=True))
        some = most**2 > distances.SMALL
        unit = xp.where(some, size / xp.where(some, most, 1.0), 0.0)
        total = xp.sum(unit**self.p, axis=1)
        safe = xp.where(total > 0, total, 1.0)
        root = xp.sqrt(safe) if self.p == 2 else xp.exp(xp.log(safe) / self.p)  # Paddle would round 1 / p to float32
        norm = xp.where(total > 0, most[:, 0] * root, 0.0)
        return reduce(norm**self.power, real, 'mean')


@dataclass(frozen=True)
class ZeroMeanRegularizer(Regularizer):
    """`mean of |sum of the numbers of x|`: keeps vectors centred around zero."""

    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The formula."""
        xp = get_namespace(x)
        return reduce(xp.abs(xp.sum(x, axis=1)), real, 'mean')


@dataclass(frozen=True)
class CenterInvariantRegularizer(Regularizer):
    """`mean of (|x|^2 - mean of |x|^2)^2 / 4`: keeps classes equally long, so that rare ones are not forgotten."""

    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The formula."""
        xp = get_namespace(x)
        square = xp.sum(x * x, axis=1)
        apart = square - reduce(square, real, 'mean')
        return reduce(apart * apart / 4, real, 'mean')


@dataclass(frozen=True)
class RegularFaceRegularizer(Regularizer):
    """`mean of the cosine to the nearest other class`: spreads classes out. The centers of one class may be near."""

    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The formula."""
        xp = get_namespace(x)
        s = distances.cosine_similarity(x, x)
        other = ~_same(x, centers) & xp.reshape(real, (1, -1)) & xp.reshape(real, (-1, 1))
        masked = xp.where(other, xp.stop_gradient(s), -2.0)
        best = other & (masked == xp.max(masked, axis=1, keepdims=True))
        first = best & (xp.cumsum(xp.cast(best, xp.int32), axis=1) == 1)  # of ties, or they would count twice
        return reduce(xp.sum(xp.where(first, s, 0.0), axis=1), xp.any(other, axis=1), 'mean')


@dataclass(frozen=True)
class SparseCentersRegularizer(Regularizer):
    """`half the mean distance between two centers of a class`: lets a class have no more centers than it needs."""

    of_classes: ClassVar[bool] = True

    def penalty(self, x: Tensor, real: Tensor, centers: int = 1) -> Tensor:
        """The formula."""
        xp = get_namespace(x)
        place = xp.positions(x)
        upper = xp.reshape(place, (-1, 1)) < xp.reshape(place, (1, -1))
        both = _same(x, centers) & upper
        return quotient(xp.sum(xp.where(both, _apart(x), 0.0)), 2 * xp.sum(xp.cast(both, x.dtype)))


def _same(x: Tensor, centers: int) -> Tensor:
    # (N, N) whether two rows belong to one class.
    xp = get_namespace(x)
    place = xp.positions(x)
    same: Tensor = xp.reshape(place // centers, (-1, 1)) == xp.reshape(place // centers, (1, -1))
    return same


def _apart(x: Tensor) -> Tensor:
    # (N, N) distances of directions; 0 with slope 0 where they are equal.
    unit = distances.normalize(x)
    return distances.euclidean(unit, unit)
