"""Losses on graded similarity: as a number to be met, or as an order to be kept."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import normalize
from finetuner.losses.reduce import count
from finetuner.losses.relation import Scores
from finetuner.typing import Tensor


def own_similarity(anchors: Tensor, candidates: Tensor, width: int, cosine: bool) -> Tensor:
    """(N, K): the similarity of each anchor to its own K candidates, given as (K * N, D) column after column."""
    xp = get_namespace(anchors)
    if cosine:
        anchors, candidates = normalize(anchors), normalize(candidates)
    own = xp.reshape(candidates, (width, -1, anchors.shape[1]))
    return xp.transpose(xp.sum(own * xp.reshape(anchors, (1, -1, anchors.shape[1])), axis=-1))


def targets(loss: Loss, scores: Scores, *sizes: int) -> Tensor:
    """(N, S) what the similarities shall be, with S one of `sizes`.

    Raises:
        ArgumentError: rows have another number of scores.
    """
    came = scores.values.shape[1]
    if came not in sizes:
        expected = ' or '.join(str(size) for size in sizes)
        plural = 's' if max(sizes) > 1 else ''
        raise ArgumentError(
            f'{type(loss).__name__} expects {expected} score{plural} in each row of {scores.width + 1} columns, '
            f'got {came}.'
        )
    return scores.values


def in_order(s: Tensor, y: Tensor, normalize: bool) -> Tensor:
    """`log(1 + sum over i, j with y_i < y_j of e^(s_i - s_j))` of (N, 1) similarities: a scalar.

    Args:
        s: scaled similarities.
        y: (N, 1) grades, of which only the order counts.
        normalize: take the mean instead of the sum.
    """
    xp = get_namespace(s)
    wrong = y < xp.transpose(y)
    terms = xp.where(wrong, s - xp.transpose(s), -1e30)
    total = xp.logsumexp(xp.reshape(terms, (1, -1)), axis=-1)
    if normalize:
        total = total - xp.log(xp.maximum(count(wrong, s), 1.0))
    return xp.sum(xp.softplus(total))


@dataclass(frozen=True)
class CosineSimilarityLoss(Loss):
    """`mean of (cos(a, b) - score)^2`.

    The cosine itself shall be the score, so scores must mean the same: 1 for the same, 0 for nothing in common.

    When to use: pairs `(a, b, score)` with scores from -1 to 1 that the cosines shall meet as numbers. Where only the
    order matters, as in search, CoSENTLoss leaves the model more freedom and is mostly better.

    Source: Reimers and Gurevych, 2019; sentence-transformers.

    >>> import numpy as np
    >>> a, b = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(CosineSimilarityLoss()(a, b, np.array([[1.0], [0.5]])))
    0.125
    """

    expects: ClassVar[type] = Scores
    columns: ClassVar[int | None] = 2

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        s = own_similarity(anchors, candidates, relation.width, cosine=True)
        error = s - targets(self, relation, 1)
        return get_namespace(error).mean(error * error)


@dataclass(frozen=True)
class CoSENTLoss(Loss):
    """`log(1 + mean over i, j with score_i < score_j of e^(scale (cos_i - cos_j)))`.

    Every pair shall be more similar than all pairs with a lower score. Only the order of the scores matters, so any
    scale of grades will do.

    When to use: pairs `(a, b, score)` with graded similarity.

    Args:
        scale: how sharply pairs in the wrong order count.
        normalize: divide the sum by the number of such pairs, so that the loss does not grow with the batch; False
            gives sentence-transformers' value.

    Source: Jianlin Su, 2022; scale of sentence-transformers.

    >>> import numpy as np
    >>> a, b = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> scores = np.array([[0.0], [1.0]])
    >>> float(CoSENTLoss(scale=1.0, normalize=False)(a, b, scores).round(4))
    1.3133
    """

    expects: ClassVar[type] = Scores
    columns: ClassVar[int | None] = 2
    scale: float = 20.0
    normalize: bool = True

    def __post_init__(self) -> None:
        options.settle(self, scale=options.number(above=0), normalize=options.flag)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        s = own_similarity(anchors, candidates, relation.width, cosine=True)
        return in_order(self.scale * s, targets(self, relation, 1), self.normalize)
