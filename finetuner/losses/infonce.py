"""InfoNCE that knows labels: tell a positive from all negatives of its anchor."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import Pairs, pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class InfoNCELoss(Loss):
    """`mean over positive pairs of -log(e^(s_ap/T) / (e^(s_ap/T) + sum over negatives of e^(s_an/T)))`.

    Every positive of an anchor is told from the anchor's negatives alone, so several positives do not compete; with
    one positive per anchor this is NT-Xent, and with pairs it is multiple negatives ranking. Computed as
    `softplus(logsumexp(negatives) - s_ap)`, O(N M) in time and memory.

    When to use: first. For labels with several items of a class in a batch, for pairs, and for two views.

    Args:
        temperature: T; smaller looks harder at the nearest negatives.
        symmetric: for pairs, whether candidates shall find their anchors too (mean of both ways).
        reducer: how the terms become one number.

    Source: van den Oord, Li and Vinyals, 2018; Chen et al., 2020; temperature of pytorch-metric-learning's NTXentLoss.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(InfoNCELoss(temperature=1.0)(x, ['a', 'a', 'b']).round(4))
    1.0032
    """

    across: ClassVar[bool] = True
    temperature: float = 0.07
    symmetric: bool = False
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, temperature=options.number(above=0), symmetric=options.flag, reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        cosine = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - cosine)
        s = cosine / self.temperature
        there = one_way(s, found, self.reducer)
        return (there + one_way(xp.transpose(s), found.transpose(), self.reducer)) / 2 if self.symmetric else there


@dataclass(frozen=True)
class NTXentLoss(InfoNCELoss):
    """`InfoNCELoss` with the original Finetuner's temperature of 0.1; a label may have any number of items.

    When to use: two views of every item without labels; data made for the original Finetuner.

    Args:
        temperature: smaller looks harder at the nearest negatives.
        symmetric: for pairs, whether candidates shall find their anchors too (mean of both ways).
        reducer: how the terms become one number.

    Source: Chen et al., 2020.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> float(NTXentLoss()(x, [0, 1, 0, 1]).round(6))
    9.1e-05
    """

    temperature: float = 0.1


def one_way(s: Tensor, found: Pairs, reducer: str) -> Tensor:
    """The reduced `-log(e^s_ap / (e^s_ap + sum of e^s_an over negatives))` of scaled similarities (N, M)."""
    rest = masked_logsumexp(s, found.negatives, found.away)
    return reduce(get_namespace(s).softplus(rest - s), found.positives, reducer, found.towards)
