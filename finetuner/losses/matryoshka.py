"""Matryoshka: embeddings whose first numbers are embeddings themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from finetuner.errors import ArgumentError
from finetuner.losses.base import Loss
from finetuner.losses.multiple import factors
from finetuner.losses.names import as_loss
from finetuner.losses.wrapper import Value, Wrapper
from finetuner.typing import Tensor

SMALLEST = 32
"""Without `dims`, embeddings are halved down to this."""


@dataclass(frozen=True)
class MatryoshkaLoss(Wrapper):
    """`sum over d of weight_d * loss(first d numbers of every vector)`.

    Learned classes are cut alike. The loss sees the short vectors as vectors of their own: what it normalizes it
    normalizes anew, and a miner chooses anew. It costs one evaluation of the loss for each size; the model runs once.

    When to use: when an index shall be small, or searched in two steps: vectors cut to `x[:, :d]` then find nearly as
    well as the whole ones. Normalize after cutting if you search by dot product.

    Args:
        loss: a loss or its name, or `(name, options)`.
        dims: the sizes d, none of them above the size of the embeddings; None halves that down to 32, and once at
            least.
        weights: one factor for each of `dims`; None takes 1 for all.

    Source: Kusupati et al., 2022; sum and weights of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(MatryoshkaLoss('TripletLoss', dims=[2, 1])(x, ['a', 'a', 'b']).round(4))  # 1.5 + 1.5
    3.0
    """

    loss: Any
    dims: Sequence[int] | None = None
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'loss', as_loss(self.loss))
        if self.dims is None:
            if self.weights is not None:
                raise ArgumentError(f'weights={self.weights!r} belong to sizes: give dims too, such as dims=[64, 32].')
        else:
            object.__setattr__(self, 'dims', _sizes(self.dims))
            object.__setattr__(self, 'weights', factors(self.weights, len(self.dims), 'dims'))
        few, many = ({name: v.shape for name, v in self.loss.parameters(n, 1).items()} for n in (2, 3))
        for name in few.keys() - self.loss.classes().keys():
            if few[name] != many[name]:
                raise ArgumentError(
                    f'MatryoshkaLoss cannot cut {name!r}, which {type(self.loss).__name__} learns, to fewer numbers. '
                    f'Take another loss, such as InfoNCELoss or ArcFaceLoss.'
                )

    @property
    def inner(self) -> tuple[Loss, ...]:
        """The wrapped loss."""
        return (self.loss,)

    def sizes(self, dim: int) -> tuple[int, ...]:
        """The sizes for embeddings of size `dim`.

        Raises:
            ArgumentError: one of them is above it.

        >>> MatryoshkaLoss('InfoNCELoss').sizes(384)
        (384, 192, 96, 48)
        """
        if self.dims is None:
            sizes = [dim]
            while sizes[-1] // 2 >= SMALLEST or (len(sizes) == 1 and dim > 1):
                sizes.append(sizes[-1] // 2)
            return tuple(sizes)
        if max(self.dims) > dim:
            raise ArgumentError(f'dims={tuple(self.dims)!r} of MatryoshkaLoss: the embeddings have {dim} numbers only.')
        return tuple(self.dims)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Those of the wrapped loss."""
        self.sizes(dim)
        return super().parameters(dim, n_classes, means)

    def combine(self, value: Value, embeddings: Tensor, learned: dict[str, Tensor], real: Tensor = None) -> Tensor:
        """The weighted sum over the sizes."""
        classes = self.loss.classes()
        total: Tensor = 0.0
        for place, size in enumerate(self.sizes(embeddings.shape[1])):
            own = self.own(0, learned)
            cut = {name: v[:, :size] if name in classes else v for name, v in own.items()}
            weight = 1.0 if self.weights is None else self.weights[place]
            total = total + weight * value(self.loss, lambda vectors, size=size: vectors[:, :size], cut)  # type: ignore[misc]
        return total


def _sizes(dims: Any) -> tuple[int, ...]:
    some = isinstance(dims, Sequence | np.ndarray) and not isinstance(dims, str) and len(dims)
    if not some or any(isinstance(d, bool) or not isinstance(d, Integral) or d < 1 for d in dims):
        raise ArgumentError(f'dims={dims!r}: expected sizes of embeddings, such as dims=[384, 192, 96].')
    return tuple(int(d) for d in dims)
