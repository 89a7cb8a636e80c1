"""Losses of two towers, such as texts and images, that learn their own temperature."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.infonce import one_way
from finetuner.losses.reduce import reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class CLIPLoss(Loss):
    """`-log(e^(t s_ij) / (e^(t s_ij) + sum over negatives of e^(t s)))`, the mean of both ways and over all pairs.

    A text has to find its image among the images, and the image its text among the texts; s is the cosine. The scale t
    is learned with the model, so no temperature has to be found by hand: it starts soft and sharpens as the two towers
    agree.

    When to use: pairs of a text and an image, or any two towers, in large batches. What belongs together is never a
    negative, so one text may have several images. For small batches see SigLIPLoss.

    Learns `logit_scale (1,)`, the logarithm of t.

    Args:
        temperature: where t starts from, `1 / temperature`.
        max_scale: t gets no larger.
        reducer: how the terms become one number.

    Source: Radford et al., 2021, and defaults from there.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(CLIPLoss(temperature=1.0)(x, ['a', 'a', 'b']).round(4))
    1.0032
    """

    across: ClassVar[bool] = True
    temperature: float = 0.07
    max_scale: float = 100.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self, temperature=options.number(above=0), max_scale=options.number(above=0), reducer=options.reducer
        )
        if self.max_scale * self.temperature < 1:
            raise ArgumentError(
                f'temperature={self.temperature!r} with max_scale={self.max_scale!r}: expected a scale of at least '
                f'{1 / self.temperature!r}, where it starts.'
            )

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns."""
        return ('logit_scale',)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`logit_scale (1,)`."""
        return {'logit_scale': np.array([-math.log(self.temperature)], np.float32)}

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        (scale,) = self.numbers(anchors, learned)
        cosine = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - cosine)
        # At its upper end the value stays and the slope goes on, or it could never come down again.
        s = cosine * xp.exp(scale - xp.stop_gradient(xp.relu(scale - math.log(self.max_scale))))
        there = one_way(s, found, self.reducer)
        return (there + one_way(xp.transpose(s), found.transpose(), self.reducer)) / 2


@dataclass(frozen=True)
class SigLIPLoss(Loss):
    """`mean over anchors of sum over candidates of log(1 + e^(-y (t s + b)))`, y 1 for positives and -1 for negatives.

    Each pair is judged by itself, a match or not, without a softmax over the batch; s is the cosine. The scale t and
    the bias b are learned; b starts low because most pairs of a batch are none.

    When to use: pairs of a text and an image, or any two towers, also in small batches, and where an item may belong
    to any number of others. Labels and sessions work too.

    Learns `logit_scale (1,)`, the logarithm of t, and `logit_bias (1,)`, b.

    Args:
        scale: where t starts from.
        bias: where b starts from.
        reducer: how the sums of the anchors become one number.

    Source: Zhai et al., 2023, and defaults from there.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(SigLIPLoss(scale=1.0, bias=0.0)(x, ['a', 'a', 'b']).round(4))
    1.7997
    """

    across: ClassVar[bool] = True
    scale: float = 10.0
    bias: float = -10.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, scale=options.number(above=0), bias=options.number(), reducer=options.reducer)

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns."""
        return ('logit_scale', 'logit_bias')

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """`logit_scale (1,)` and `logit_bias (1,)`."""
        return {
            'logit_scale': np.array([math.log(self.scale)], np.float32),
            'logit_bias': np.array([self.bias], np.float32),
        }

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        scale, bias = self.numbers(anchors, learned)
        cosine = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - cosine)
        z = cosine * xp.exp(scale) + bias
        terms = xp.where(found.positives, xp.softplus(-z), 0.0) * (1.0 if found.towards is None else found.towards)
        away = xp.where(found.negatives, xp.softplus(z), 0.0) * (1.0 if found.away is None else found.away)
        some = xp.any(found.positives | found.negatives, axis=1)
        return reduce(xp.sum(terms + away, axis=1), some, self.reducer)
