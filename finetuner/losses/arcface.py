"""ArcFace: classify against learned class directions, with a margin on the angle."""

import math
from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.classes import ClassLoss, by_class, cross_entropy
from finetuner.losses.distances import cosine_similarity, sine
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class ArcFaceLoss(ClassLoss):
    """`cross-entropy of scale * cos(theta + margin)` for the own class against `scale * cos(theta)` for the others.

    `theta` is the angle between an item and a class.

    When to use: many items per class and a fixed set of classes, as for faces, products or places; batches need no
    second item of a class. A larger margin makes classes tighter and is harder to learn: 10 to 30 degrees are usual.
    With noisy labels take `SubCenterArcFaceLoss`, for a margin that is easier to learn `CosFaceLoss`.

    Learns `classes (C, D)`, one direction per class. An item of several classes has a term for each of them, against
    the classes that it is not in. Beyond 180 degrees less the margin, where `cos(theta + margin)` would rise again, it
    is `cos(theta) - margin * sin(margin)`. The slope is finite where an item lies on its class, unlike
    pytorch-metric-learning's.

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

    margin: float = 28.6
    scale: float = 64.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self, margin=options.number(least=0, below=180), scale=options.number(above=0), reducer=options.reducer
        )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        c = self._cosine(anchors, candidates)
        return cross_entropy(self.scale * self._turned(c), self.scale * c, relation, self.reducer)

    def _cosine(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        return cosine_similarity(anchors, candidates)

    def _turned(self, c: Tensor) -> Tensor:
        # cos(theta + m) = cos(theta) cos(m) - sin(theta) sin(m).
        m = math.radians(self.margin)
        turned = c * math.cos(m) - sine(c) * math.sin(m)
        return get_namespace(c).where(c > math.cos(math.pi - m), turned, c - m * math.sin(m))


@dataclass(frozen=True)
class SubCenterArcFaceLoss(ArcFaceLoss):
    """`ArcFaceLoss` with several directions per class: a class is as near as the nearest of its `sub_centers`.

    An item must be near one center of its class only. So wrongly labelled items gather at a center of their own and
    do not bend the class, and a class may have several looks.

    When to use: labels from the web, of which some are wrong; classes that fall into parts. With clean labels
    `ArcFaceLoss` is the tighter one.

    Learns `classes (C * sub_centers, D)`, class by class. Started from class means, the centers lie close around the
    mean.

    Args:
        margin: degrees that the own class must be nearer.
        scale: of the cosines, an inverse temperature.
        reducer: how the terms become one number.
        sub_centers: directions per class; 3 for noisy labels, 1 is `ArcFaceLoss`.

    Source: Deng et al., 2020; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x, centers = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> float(SubCenterArcFaceLoss(scale=1.0, sub_centers=2)(x, np.array([0, 1]), classes=centers).round(4))
    0.3476
    """

    sub_centers: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        options.settle(self, sub_centers=options.whole)

    @property
    def centers(self) -> int:
        """Learned candidates per class."""
        return self.sub_centers

    def _cosine(self, anchors: Tensor, candidates: Tensor) -> Tensor:
        return get_namespace(anchors).max(by_class(cosine_similarity(anchors, candidates), self.sub_centers), axis=2)
