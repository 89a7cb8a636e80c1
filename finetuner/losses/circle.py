"""Circle: pull and push every pair by how far it is from where it should be."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class CircleLoss(Loss):
    """`mean over anchors of log(1 + sum_N e^(gamma w_n (s_n - m)) * sum_P e^(-gamma w_p (s_p - 1 + m)))`.

    `s` are cosines. The weights `w_p = [1 + m - s_p]+` and `w_n = [s_n + m]+` say how far a pair is from its optimum,
    1 for positives and 0 for negatives; they have no slope. So a pair that is nearly right is left in peace, where a
    triplet loss pulls and pushes both its pairs alike. An anchor without positives or without negatives does not count.

    When to use: labels with a few items per class in a batch, images above all. Values start at tens, so take a lower
    learning rate than for other losses, or a smaller gamma. Of mined triplets every pair counts once.

    Args:
        m: how far from the optimum a pair may stay, 0 to 1; larger is more lenient. The paper has 0.25 for faces.
        gamma: the scale of the exponents. The paper has 256 for faces, 128 for persons, 80 for fine classes.
        reducer: how the anchors' terms become one number; 'anchor' is 'mean', for a term is an anchor's.

    Source: Sun et al., 2020; defaults of pytorch-metric-learning, whose mean over terms above zero this is: all are.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> float(CircleLoss(gamma=4.0)(x, ['a', 'a', 'b']).round(4))
    1.2402
    """

    m: float = 0.4
    gamma: float = 80.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(self, m=options.number(), gamma=options.number(above=0), reducer=options.reducer)

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        s = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - s)
        fixed = xp.stop_gradient(s)
        pull = -self.gamma * xp.relu(1 + self.m - fixed) * (s - (1 - self.m))
        push = self.gamma * xp.relu(fixed + self.m) * (s - self.m)
        near = masked_logsumexp(pull, found.positives, keepdims=False)
        far = masked_logsumexp(push, found.negatives, keepdims=False)
        both = xp.any(found.positives, axis=1) & xp.any(found.negatives, axis=1)
        return reduce(xp.softplus(near + far), both, self.reducer)
