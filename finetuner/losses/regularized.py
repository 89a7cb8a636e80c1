"""A loss, and what keeps embeddings or learned classes in shape."""

from dataclasses import dataclass
from typing import Any

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.names import as_loss, as_regularizer
from finetuner.losses.regularizers import SparseCentersRegularizer
from finetuner.losses.wrapper import Value, Wrapper
from finetuner.typing import Tensor


@dataclass(frozen=True)
class RegularizedLoss(Wrapper):
    """`loss + weight * regularizer(embeddings) + weight * regularizer(learned classes)`.

    When to use: embeddings that grow without bounds (`LpRegularizer`), classes of very different sizes
    (`CenterInvariantRegularizer`), many similar classes (`RegularFaceRegularizer`), more centers than classes need
    (`SparseCentersRegularizer`). For more than one of a kind, wrap twice.

    Args:
        loss: a loss or its name, or `(name, options)`.
        embedding_regularizer: of the embeddings of the batch, a name, `(name, options)`, or a regularizer:
            LpRegularizer, ZeroMeanRegularizer, CenterInvariantRegularizer or RegularFaceRegularizer.
        embedding_reg_weight: its factor.
        weight_regularizer: of the learned classes, alike, or SparseCentersRegularizer.
        weight_reg_weight: its factor.

    Source: the regularizers of pytorch-metric-learning; Zhao et al., 2019; Wu et al., 2017; Qian et al., 2019.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> loss = RegularizedLoss('TripletLoss', embedding_regularizer='LpRegularizer', embedding_reg_weight=0.1)
    >>> float(loss(x, ['a', 'a', 'b']).round(4))  # 1.5 + 0.1 * 1.0
    1.6
    """

    loss: Any
    embedding_regularizer: Any = None
    embedding_reg_weight: float = 1.0
    weight_regularizer: Any = None
    weight_reg_weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, 'loss', as_loss(self.loss))
        for name in ('embedding_regularizer', 'weight_regularizer'):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_regularizer(getattr(self, name)))
        options.settle(self, embedding_reg_weight=options.number(), weight_reg_weight=options.number())
        if self.embedding_regularizer is None and self.weight_regularizer is None:
            raise ArgumentError("RegularizedLoss has no regularizer: give embedding_regularizer='LpRegularizer', say.")
        if getattr(self.embedding_regularizer, 'of_classes', False):
            name = type(self.embedding_regularizer).__name__
            raise ArgumentError(f"{name} is one of learned classes: give weight_regularizer='{name}'.")
        centers = self.loss.classes().values()
        if self.weight_regularizer is not None and not centers:
            raise ArgumentError(
                f'weight_regularizer={self.weight_regularizer!r}: {type(self.loss).__name__} learns no classes. '
                f'Take a loss that does, such as ArcFaceLoss, or embedding_regularizer.'
            )
        if isinstance(self.weight_regularizer, SparseCentersRegularizer) and max(centers) < 2:
            raise ArgumentError('SparseCentersRegularizer needs a loss with several centers a class: SoftTripleLoss.')

    @property
    def inner(self) -> tuple[Loss, ...]:
        """The wrapped loss."""
        return (self.loss,)

    def combine(self, value: Value, embeddings: Tensor, learned: dict[str, Tensor], real: Tensor = None) -> Tensor:
        """The loss and what is added to it."""
        total = value(self.loss, lambda vectors: vectors, self.own(0, learned))
        if self.embedding_regularizer is not None:
            rows = _all(embeddings) if real is None else real
            total = total + self.embedding_reg_weight * self.embedding_regularizer.penalty(embeddings, rows)
        if self.weight_regularizer is not None:
            for name, centers in self.classes().items():
                if name in learned:
                    penalty = self.weight_regularizer.penalty(learned[name], _all(learned[name]), centers)
                    total = total + self.weight_reg_weight * get_namespace(total).cast(penalty, total.dtype)
        return total


def _all(x: Tensor) -> Tensor:
    return get_namespace(x).positions(x) >= 0
