"""AnglE: graded similarity by the difference of angles in complex space."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import normalize
from finetuner.losses.relation import Scores
from finetuner.losses.scores import in_order, targets
from finetuner.typing import Tensor


@dataclass(frozen=True)
class AnglELoss(Loss):
    """`log(1 + mean over i, j with score_i < score_j of e^(scale (angle_i - angle_j)))`, of similarities by angle.

    As CoSENTLoss, with another similarity: the halves of a vector are taken for the real and the imaginary parts of
    complex numbers, and what is compared is `|cos(a, b) + sin(a, b)|`, where `sin(a, b)` is the sum of
    `a_im b_re - a_re b_im` of the unit vectors. Its slope does not vanish where the cosine's does, near 1 and -1. A
    vector of odd length gets a zero at its end.

    When to use: pairs `(a, b, score)` with graded similarity, where CoSENTLoss gets stuck because many pairs are almost
    equal; as published together with CoSENTLoss and a ranking loss. The similarity is not symmetric in a and b, and the
    model is still searched by cosine: compare it with CoSENTLoss on your data.

    Args:
        scale: how sharply pairs in the wrong order count.
        normalize: divide the sum by the number of such pairs, so that the loss does not grow with the batch; False
            gives sentence-transformers' value.

    Source: Li and Li, 2024; scale of sentence-transformers.

    >>> import numpy as np
    >>> a, b = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> scores = np.array([[0.0], [1.0]])
    >>> float(AnglELoss(scale=1.0, normalize=False)(a, b, scores).round(4))
    1.1711
    """

    expects: ClassVar[type] = Scores
    columns: ClassVar[int | None] = 2
    scale: float = 20.0
    normalize: bool = True

    def __post_init__(self) -> None:
        options.settle(self, scale=options.number(above=0), normalize=options.flag)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Scores, **learned: Tensor) -> Tensor:
        """The formula."""
        s = by_angle(normalize(anchors), normalize(candidates))
        return in_order(self.scale * s, targets(self, relation, 1), self.normalize)


def by_angle(a: Tensor, b: Tensor) -> Tensor:
    """(N, 1) `|cos + sin|` of (N, D) unit vectors, row by row."""
    xp = get_namespace(a)
    half = (a.shape[1] + 1) // 2
    if a.shape[1] % 2:
        nothing = xp.zeros_like(a[:, :1])
        a, b = xp.concatenate([a, nothing], axis=1), xp.concatenate([b, nothing], axis=1)
    turned = xp.concatenate([-b[:, half:], b[:, :half]], axis=1)  # i * b
    return xp.abs(xp.sum(a * (b + turned), axis=1, keepdims=True))
