"""Losses of a student on a teacher's scores: margins, or the distribution over several candidates."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.relation import Scores
from finetuner.losses.scores import own_similarity, targets
from finetuner.typing import Tensor


@dataclass(frozen=True)
class MarginMSELoss(Loss):
    """`mean of ((a . p - a . n) - margin)^2`, with the margin by which a teacher prefers the positive.

    The student learns differences, not scores, so the teacher's scores may have any zero. A false negative does no
    harm: the teacher gives it a small or negative margin.

    When to use: triplets scored by a cross-encoder: `(query, positive, negative, margin)`, or with both scores. With
    several negatives a row has a margin for each, or a score for each document.

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
    more: ClassVar[bool] = True
    cosine: bool = False

    def __post_init__(self) -> None:
        options.settle(self, cosine=options.flag)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        s = own_similarity(anchors, candidates, relation.width, self.cosine)
        y = targets(self, relation, relation.width - 1, relation.width)
        margin = y if y.shape[1] == relation.width - 1 else y[:, :1] - y[:, 1:]
        error = s[:, :1] - s[:, 1:] - margin
        return get_namespace(error).mean(error * error)


@dataclass(frozen=True)
class DistillKLDivLoss(Loss):
    """`T^2 * mean over rows of KL(softmax(teacher / T) || softmax(student / T))`, over the candidates of a query.

    The student's similarities of a query to its candidates, as a distribution, shall be the teacher's. Unlike margins,
    which all count alike, this looks at the candidates that the teacher holds for likely.

    When to use: a query with two or more candidates, all scored by a cross-encoder or a larger model:
    `(query, document, document, …, score, score, …)`.

    Args:
        temperature: T; larger softens both distributions.
        student_temperature: another T for the student; the factor before the mean is its square.
        teacher_temperature: another T for the teacher. Its scores should spread over some units of it: cross-encoders
            give logits, which do; cosines need 0.05 or so.
        cosine: compare directions, where similarities are never far apart, so take a `student_temperature` near 0.05;
            False compares by dot product.

    Source: Hinton et al., 2015; Lin et al., 2020; defaults of sentence-transformers.

    >>> import numpy as np
    >>> query, documents = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(DistillKLDivLoss()(query, documents, np.array([[3.0, 1.0]])).round(4))
    0.0671
    """

    expects: ClassVar[type] = Scores
    columns: ClassVar[int | None] = 3
    more: ClassVar[bool] = True
    temperature: float = 1.0
    student_temperature: float | None = None
    teacher_temperature: float | None = None
    cosine: bool = False

    def __post_init__(self) -> None:
        options.settle(
            self,
            temperature=options.number(above=0),
            student_temperature=options.optional(options.number(above=0)),
            teacher_temperature=options.optional(options.number(above=0)),
            cosine=options.flag,
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        own = self.temperature if self.student_temperature is None else self.student_temperature
        theirs = self.temperature if self.teacher_temperature is None else self.teacher_temperature
        s = own_similarity(anchors, candidates, relation.width, self.cosine) / own
        y = targets(self, relation, relation.width) / theirs
        gap = xp.sum(xp.exp(log_softmax(y)) * (log_softmax(y) - log_softmax(s)), axis=-1)
        gap = gap - xp.minimum(xp.stop_gradient(gap), 0.0)  # rounding makes no distance negative
        return own**2 * xp.mean(gap)


def log_softmax(x: Tensor) -> Tensor:
    """(N, K) logarithms of the softmax of each row, exact to rounding wherever its numbers lie."""
    xp = get_namespace(x)
    x = x - xp.stop_gradient(xp.max(x, axis=-1, keepdims=True))
    return x - xp.logsumexp(x, axis=-1, keepdims=True)
