"""Losses on graded supervision: similarities that shall be in order, or differ as a teacher says."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
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


@dataclass(frozen=True)
class CoSENTLoss(Loss):
    """`log(1 + mean over i, j with score_i < score_j of e^(scale (cos_i - cos_j)))`.

    Only the order of the scores matters, so any scale of grades will do.

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

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = xp.reshape(own_similarity(anchors, candidates, relation.width, cosine=True), (-1, 1)) * self.scale
        y = xp.reshape(relation.values, (-1, 1))
        wrong = y < xp.transpose(y)
        terms = xp.where(wrong, s - xp.transpose(s), -1e30)
        total = xp.logsumexp(xp.reshape(terms, (1, -1)), axis=-1)
        if self.normalize:
            total = total - xp.log(xp.maximum(count(wrong, s), 1.0))
        return xp.sum(xp.softplus(total))


@dataclass(frozen=True)
class MarginMSELoss(Loss):
    """`mean of ((a . p - a . n) - margin)^2`, with the margin by which a teacher prefers the positive.

    When to use: triplets scored by a cross-encoder: `(query, positive, negative, margin)`, or with both scores.

    Args:
        cosine: compare directions; False, as published, compares by dot product.

    Source: Hofstaetter et al., 2020.

    >>> import numpy as np
    >>> query, positive, negative = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    >>> margins = np.array([[0.5]])
    >>> float(MarginMSELoss()(query, np.concatenate([positive, negative]), margins))
    0.25
    """

    expects: ClassVar[type] = Scores
    columns: ClassVar[int | None] = 3
    cosine: bool = False

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = own_similarity(anchors, candidates, 2, self.cosine)
        y = relation.values
        margin = y if y.shape[1] == 1 else y[:, :1] - y[:, 1:]
        error = s[:, :1] - s[:, 1:] - margin
        return xp.mean(error * error)
