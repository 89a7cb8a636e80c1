"""ArcFace: classify against learned class directions, with a margin on the angle."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity, epsilon
from finetuner.losses.reduce import check_reducer, masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class ArcFaceLoss(Loss):
    """`cross-entropy of scale * cos(theta + margin)` for the own class against `scale * cos(theta)` for the others.

    When to use: many items per class and a fixed set of classes; batches need no second item of a class.

    Learns `classes (C, D)`, one direction per class. An item of several classes has a term for each of them, against
    the classes that it is not in. Beyond 180 degrees less the margin, where `cos(theta + margin)` would rise again, it
    is `cos(theta) - margin * sin(margin)`.

    Args:
        margin: degrees that the own class must be nearer.
        scale: of the cosines, an inverse temperature.
        reducer: how the terms become one number.

    Source: Deng et al., 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ArcFaceLoss(scale=1.0)(x, np.array([0, 1]), classes=x).round(4))
    0.3476
    """

    candidates: ClassVar[Literal['items', 'classes']] = 'classes'
    margin: float = 28.6
    scale: float = 64.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        check_reducer(self.reducer)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`classes (C, D)`: random directions, the same for the same sizes."""
        draw = np.random.default_rng(0).standard_normal((n_classes, dim))
        return {'classes': (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)}

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        c = cosine_similarity(anchors, candidates)
        # cos(theta + m) = cos(theta) cos(m) - sin(theta) sin(m); the sine's argument is made safe, not the sine, so
        # that the slope is finite where an item lies exactly on its class.
        square = 1 - c * c
        some = square > 4 * epsilon(c)
        sine = xp.where(some, xp.sqrt(xp.where(some, square, 1.0)), 0.0)
        m = math.radians(self.margin)
        turned = xp.where(c > math.cos(math.pi - m), c * math.cos(m) - sine * math.sin(m), c - m * math.sin(m))
        rest = masked_logsumexp(self.scale * c, relation.negatives)
        return reduce(xp.softplus(rest - self.scale * turned), relation.positives, self.reducer)
