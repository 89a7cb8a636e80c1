"""SoftTriple: classify against several learned centers per class, softly assigned."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.classes import ClassLoss, by_class, cross_entropy
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class SoftTripleLoss(ClassLoss):
    """`cross-entropy of la * (S_c - margin)` for the own class c against `la * S_c` for the others.

    `S_c = sum over centers of softmax(s / gamma) * s`, with the cosines s of the item to the centers of class c: how
    near the class is, mostly by its nearest centers.

    When to use: classes that fall into parts, such as product categories with several looks, with some dozens of items
    each. For simple classes `NormalizedSoftmaxLoss` does the same with a tenth of the parameters.

    Learns `classes (C * centers_per_class, D)`, class by class. Started from class means, the centers lie close around
    the mean. An item of several classes has a term for each of them, against the classes that it is not in. The
    paper's further term, which merges centers that are not needed, is
    `RegularizedLoss('SoftTripleLoss', weight_regularizer='SparseCentersRegularizer')`.

    Args:
        centers_per_class: directions per class; more than there are parts does no harm.
        la: of the similarities to the classes, an inverse temperature.
        gamma: temperature of the choice among the centers; smaller takes the nearest alone.
        margin: by how much the similarity to the own class must be larger.
        reducer: how the terms become one number.

    Source: Qian et al., 2019; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x, centers = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> float(SoftTripleLoss(centers_per_class=2, la=1)(x, np.array([0, 1]), classes=centers).round(4))
    0.316
    """

    centers_per_class: int = 10
    la: float = 20.0
    gamma: float = 0.1
    margin: float = 0.01
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            centers_per_class=options.whole,
            la=options.number(above=0),
            gamma=options.number(above=0),
            margin=options.number(),
            reducer=options.reducer,
        )

    @property
    def centers(self) -> int:
        """Learned candidates per class."""
        return self.centers_per_class

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = by_class(cosine_similarity(anchors, candidates), self.centers_per_class)
        z = s / self.gamma
        share = xp.exp(z - xp.logsumexp(z, axis=-1, keepdims=True))
        near = xp.sum(share * s, axis=-1)
        return cross_entropy(self.la * (near - self.margin), self.la * near, relation, self.reducer)
