"""What a loss is: a value without a framework, from anchors, candidates and who belongs to whom to one number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import distances
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation, Scores, classify, label_codes, same_class
from finetuner.typing import Tensor

Mine = Callable[[Tensor, Relation], Relation]


class Loss(ABC):
    """A loss on embeddings.

    Subclasses are frozen dataclasses, so that a loss can be compared, printed and pickled; what is trained is an
    argument. They define `compute` and, where these defaults are not theirs, the attributes below.

    Attributes:
        expects: the kind of supervision, `Relation` or `Scores`.
        candidates: what anchors are compared with, other 'items' or learned 'classes'.
        columns: how many columns scored data must have, anchors included; None where any number will do.
        across: whether in session data the members of other sessions are negatives.
        miner: what narrows the relation before the formula sees it.
    """

    expects: ClassVar[type] = Relation
    candidates: ClassVar[Literal['items', 'classes']] = 'items'
    columns: ClassVar[int | None] = None
    across: ClassVar[bool] = False
    miner: Mine | None = None

    def __call__(self, anchors: Tensor, candidates: Tensor, relation: Any = None, **learned: Tensor) -> Tensor:
        """The loss of (N, D) anchors against (M, D) candidates: a scalar.

        With labels, `loss(embeddings, labels)` compares a batch with itself, or with the `classes=` it learned.

        Args:
            anchors: (N, D) embeddings; computed on in float32 at least, whatever the model's precision.
            candidates: (M, D) embeddings; or, without a relation, the class labels of the anchors.
            relation: a `Relation` or `Scores`, as the loss expects; for `Scores` the bare (N, S) values will do.
            learned: the loss's own parameters, as `parameters` names them.

        Raises:
            ArgumentError: there are no scores for a loss that expects them.
        """
        if relation is None:
            anchors, candidates, relation = self._label(anchors, candidates, learned)
        xp = get_namespace(anchors)
        itself = candidates is anchors
        anchors = distances.at_least_float32(anchors)
        candidates = anchors if itself else xp.cast(candidates, anchors.dtype)
        if self.expects is Scores and not isinstance(relation, Scores):
            values = xp.reshape(xp.asarray(relation, like=anchors), (anchors.shape[0], -1))
            relation = Scores(xp.cast(values, anchors.dtype), candidates.shape[0] // anchors.shape[0])
        if self.miner is not None:
            relation = mine(self.miner, self, anchors, candidates, relation)
        return self.compute(anchors, candidates, relation, **learned)

    def _label(self, anchors: Tensor, labels: Any, learned: dict[str, Tensor]) -> tuple[Tensor, Tensor, Any]:
        if self.expects is Scores:
            raise ArgumentError(
                f'{type(self).__name__} expects scores, and got labels alone; call it as loss(anchors, candidates, '
                f'scores) with (N, D), (K * N, D) and (N, S) arrays.'
            )
        if self.candidates == 'items':
            return anchors, anchors, same_class(labels, like=anchors)
        if 'classes' not in learned:
            raise ArgumentError(
                f'{type(self).__name__} compares with classes that it learned; call it as loss(embeddings, labels, '
                f'classes=weights) with (C, D) weights, at first loss.parameters(dim, n_classes)["classes"].'
            )
        classes = learned.pop('classes')
        labels = np.asarray(labels) if isinstance(labels, Sequence) else labels  # class numbers, not names
        return anchors, classes, classify(label_codes(labels, like=anchors), int(classes.shape[0]), 1)

    @abstractmethod
    def compute(self, anchors: Tensor, candidates: Tensor, relation: Any, **learned: Tensor) -> Tensor:
        """The formula."""

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) distances as the loss sees them, for miners; or, on the same vectors, the distance called `name`."""
        return distances.between(anchors, candidates, name or 'cosine', unit=True)

    def parameters(self, dim: int, n_classes: int) -> dict[str, np.ndarray]:
        """The initial values of what the loss learns, by name; most learn nothing.

        Args:
            dim: D, the size of the embeddings.
            n_classes: C, the number of classes in the data.
        """
        return {}


class DistanceLoss(Loss):
    """A loss with the options `distance` and `normalize`, the same for its formula and for miners."""

    distance: str
    normalize: bool

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) distances as the loss sees them, for miners; or, on the same vectors, the distance called `name`."""
        return distances.between(anchors, candidates, name or self.distance, self.normalize)


def mine(miner: Miner | Mine, loss: Any, anchors: Tensor, candidates: Tensor, relation: Relation) -> Relation:
    """The relation as `miner` narrows it: judged without gradient, by its own distance or else by the loss's.

    Args:
        miner: a `Miner`, or any `f(distances (N, M), relation) -> relation`.
        loss: a `Loss`, or any callable, which is taken to work on cosine distances.
        anchors: (N, D) embeddings.
        candidates: (M, D) embeddings.
        relation: who belongs to whom.
    """
    xp = get_namespace(anchors)
    name = getattr(miner, 'distance', None)
    a, b = xp.stop_gradient(anchors), xp.stop_gradient(candidates)
    if not isinstance(loss, Loss):
        return miner(distances.between(a, b, name or 'cosine', unit=True), relation)
    judged = loss.measure(a, b, name)
    mined = miner(judged, relation)
    # Left out where they are the loss's own: it has them, and what it knows to be its own it can count faster.
    return mined._replace(distances=None) if name is None and mined.distances is judged else mined
