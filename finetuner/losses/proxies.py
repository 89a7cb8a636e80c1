"""Losses of items against one learned proxy for each class."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.classes import ClassLoss, cross_entropy
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class ProxyNCALoss(ClassLoss):
    """`cross-entropy of -softmax_scale * |x - p_c|^2` for the own proxy against the others, of directions.

    When to use: many classes with few items each, where batches hardly ever hold two items of a class: every item is
    compared with the proxies, so no sampling and no mining is needed. The default scale is gentle: it is
    `NormalizedSoftmaxLoss` with temperature `1 / (2 * softmax_scale)`, and 5 to 15 separate similar classes better.

    Learns `classes (C, D)`, a proxy for each class, with a learning rate that is usually 10 to 100 times the model's.
    As in pytorch-metric-learning the own proxy stands in the denominator too, which the paper leaves out. An item of
    several classes has a term for each of them, against the classes that it is not in.

    Args:
        softmax_scale: of the squared distances, an inverse temperature.
        reducer: how the terms become one number.

    Source: Movshovitz-Attias et al., 2017; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ProxyNCALoss()(x, np.array([0, 1]), classes=x).round(4))
    0.1269
    """

    softmax_scale: float = 1.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, softmax_scale=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        # |a - b|^2 = 2 - 2 cos: the softmax knows no constants, and cosines lose no digits where a and b are close.
        logits = 2 * self.softmax_scale * cosine_similarity(anchors, candidates)
        return cross_entropy(logits, logits, relation, self.reducer)


@dataclass(frozen=True)
class ProxyAnchorLoss(ClassLoss):
    """Each proxy pulls all items of its class, the farthest hardest, and pushes all others, the nearest hardest.

    `mean over classes in the batch of log(1 + sum over their items of e^(-alpha (s - margin)))` and
    `mean over all classes of log(1 + sum over other items of e^(alpha (s + margin)))`, added, with the cosine s of
    item and proxy.

    When to use: many classes with few to some dozens of items each; it converges fast and needs no mining. Batches of
    100 or more give each proxy something to choose from.

    Learns `classes (C, D)`, a proxy for each class, with a learning rate that is usually 10 to 100 times the model's.
    A class without an item in the batch has no first term, and its second term counts. An item of several classes is
    pulled by all of them.

    Args:
        margin: own items shall have a cosine above it, others one below its negative.
        alpha: how much harder the hardest items count, an inverse temperature.
        reducer: how the terms of the classes become one number, for each of the two parts; 'mean' as published.

    Source: Kim et al., 2020; defaults of pytorch-metric-learning.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> float(ProxyAnchorLoss(alpha=1.0)(x, np.array([0, 1]), classes=x).round(4))
    1.0856
    """

    margin: float = 0.1
    alpha: float = 32.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, margin=options.number(), alpha=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(candidates, anchors)  # (C, N): the proxies look at the items
        own, others = xp.transpose(relation.positives), xp.transpose(relation.negatives)
        pull = xp.softplus(masked_logsumexp(self.alpha * (self.margin - s), own, keepdims=False))
        push = xp.softplus(masked_logsumexp(self.alpha * (self.margin + s), others, keepdims=False))
        every = xp.ones_like(push) > 0
        return reduce(pull, xp.any(own, axis=1), self.reducer) + reduce(push, every, self.reducer)
