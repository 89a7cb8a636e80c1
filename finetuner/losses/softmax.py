"""Softmax over learned classes: plain, of cosines, and of cosines with a margin."""

from dataclasses import dataclass

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.classes import ClassLoss, cross_entropy
from finetuner.losses.distances import cosine_similarity, dot
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class SoftmaxLoss(ClassLoss):
    """`cross-entropy of x . w_c + b_c` for the own class c against the others: a plain classifier on top.

    When to use: as a baseline, or where the classifier itself is wanted. For search by cosine, `NormalizedSoftmaxLoss`
    and `ArcFaceLoss` train what is searched by: here a vector can also lower the loss by growing longer.

    Learns `classes (C, D)`, the weights, and `bias (C,)`, at first 0; called without `bias` it has none. An item of
    several classes has a term for each of them, against the classes that it is not in. The loss of this name in
    sentence-transformers is another: it classifies pairs of sentences (entailment, neutral, contradiction) by the
    joined vectors `(u, v, |u - v|)`, and its classifier is thrown away.

    Args:
        reducer: how the terms become one number.

    Source: logistic regression; Boudiaf et al., 2020, on how it relates to losses of pairs.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(SoftmaxLoss()(x, np.array([0, 1]), classes=x, bias=np.array([1.0, 0.0])).round(4))
    0.41
    """

    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, reducer=options.reducer)

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns."""
        return ('classes', 'bias')

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`classes (C, D)`: of length 1, see `start`; and `bias (C,)`: zeros."""
        return {**super().parameters(dim, n_classes, means), 'bias': np.zeros(n_classes, np.float32)}

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        logits = dot(anchors, candidates)
        if 'bias' in learned:
            xp = get_namespace(anchors)
            logits = logits + xp.cast(xp.reshape(learned['bias'], (1, -1)), logits.dtype)
        return cross_entropy(logits, logits, relation, self.reducer)


@dataclass(frozen=True)
class NormalizedSoftmaxLoss(ClassLoss):
    """`cross-entropy of cos(x, w_c) / temperature` for the own class c against the others.

    When to use: first among the losses with learned classes: many items per class and a fixed set of classes. Trains
    what is searched by, needs no second item of a class in a batch, and has one option. `CosFaceLoss` and
    `ArcFaceLoss` add a margin.

    Learns `classes (C, D)`, one direction per class. An item of several classes has a term for each of them, against
    the classes that it is not in.

    Args:
        temperature: smaller looks harder at the nearest classes; .03 to .1 are usual.
        reducer: how the terms become one number.

    Source: Wang et al., 2017; Zhai and Wu, 2019; temperature of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(NormalizedSoftmaxLoss(temperature=1.0)(x, np.array([0, 1]), classes=x).round(4))
    0.3133
    """

    temperature: float = 0.05
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, temperature=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        logits = cosine_similarity(anchors, candidates) / self.temperature
        return cross_entropy(logits, logits, relation, self.reducer)


@dataclass(frozen=True)
class CosFaceLoss(ClassLoss):
    """`cross-entropy of scale * (cos(x, w_c) - margin)` for the own class c against `scale * cos(x, w_c)` for others.

    When to use: as `ArcFaceLoss`, for many items per class and a fixed set of classes. The margin is on the cosine and
    not on the angle: the same wherever the item lies, and easier to learn from the start.

    Learns `classes (C, D)`, one direction per class. An item of several classes has a term for each of them, against
    the classes that it is not in.

    Args:
        margin: by how much the cosine to the own class must be larger; .1 to .4 are usual.
        scale: of the cosines, an inverse temperature; lower it to about 20 for a few dozen classes.
        reducer: how the terms become one number.

    Source: Wang et al., 2018; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(CosFaceLoss(scale=1.0)(x, np.array([0, 1]), classes=x).round(4))
    0.4201
    """

    margin: float = 0.35
    scale: float = 64.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, margin=options.number(), scale=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        c = cosine_similarity(anchors, candidates)
        return cross_entropy(self.scale * (c - self.margin), self.scale * c, relation, self.reducer)
