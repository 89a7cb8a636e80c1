"""What the losses that compare items with learned classes share: where they start, and a softmax over the classes."""

from typing import ClassVar, Literal

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses.base import Loss
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor

_SPREAD = 0.1  # of the centers around the mean of their class: enough to differ, some six degrees


class ClassLoss(Loss):
    """A loss of items against learned `classes (C * centers, D)`, one class after the other."""

    candidates: ClassVar[Literal['items', 'classes']] = 'classes'

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns."""
        return ('classes',)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`classes (C * centers, D)`: of length 1, see `start`."""
        return {'classes': start(n_classes, dim, means, self.centers)}


def start(n_classes: int, dim: int, means: np.ndarray | None = None, centers: int = 1) -> np.ndarray:
    """(C * centers, D) directions to start from, the same for the same arguments.

    Args:
        n_classes: C.
        dim: D.
        means: (C, D) a direction for each class, around which its centers lie; a row of zeros knows of none.
        centers: of each class.
    """
    noise = unit(np.random.default_rng(0).standard_normal((n_classes * centers, dim)))
    if means is not None:
        around = np.repeat(unit(np.asarray(means, np.float64)), centers, axis=0)
        near = around + _SPREAD * noise if centers > 1 else around
        noise = np.where(around.any(axis=1, keepdims=True), unit(near), noise)
    return noise.astype(np.float32)


def unit(x: np.ndarray) -> np.ndarray:
    """(N, D) rows of length 1, of arrays; a row of zeros stays one."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def by_class(s: Tensor, centers: int) -> Tensor:
    """(N, C, centers) similarities, from those to all centers (N, C * centers).

    Raises:
        ArgumentError: there is no whole number of classes.
    """
    if s.shape[1] % centers:
        raise ArgumentError(f'classes has {s.shape[1]} rows: expected {centers} for each class, one after the other.')
    return get_namespace(s).reshape(s, (-1, s.shape[1] // centers, centers))


def cross_entropy(own: Tensor, others: Tensor, relation: Relation, reducer: str) -> Tensor:
    """The reduced `-log(e^own / (e^own + sum of e^others over the classes that the item is not in))`.

    An item has a term for each class that it is in; one in no class has none.

    Args:
        own: (N, C) the logits of classes as the item's own.
        others: (N, C) the logits of classes as not its own.
        relation: (N, C) which classes are its own.
        reducer: how the terms become one number.
    """
    rest = masked_logsumexp(others, relation.negatives)
    return reduce(get_namespace(own).softplus(rest - own), relation.positives, reducer)
