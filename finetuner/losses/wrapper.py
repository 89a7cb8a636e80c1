"""Losses made of other losses, on the same batch or on a changed one."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from finetuner.dispatch import get_namespace
from finetuner.losses import distances
from finetuner.losses.base import Loss
from finetuner.typing import Tensor

Change = Callable[[Tensor], Tensor]
Value = Callable[[Loss, Change, dict[str, Tensor]], Tensor]
"""`f(loss, change, learned)`: the value of an inner loss on the batch with its vectors changed."""


class Wrapper(Loss):
    """A loss made of other losses, on the same batch or on a changed one. Subclasses define `combine`.

    Its name for what an inner loss learns is the inner name, followed by `_<place>` where it wraps several.

    Attributes:
        outermost: whether no other wrapper may hold it.
    """

    outermost: ClassVar[bool] = False

    @property
    @abstractmethod
    def inner(self) -> tuple[Loss, ...]:
        """The losses that it wraps."""

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what the wrapped losses learn."""
        return tuple([self._name(name, place) for place, loss in enumerate(self.inner) for name in loss.learns])

    @abstractmethod
    def combine(self, value: Value, embeddings: Tensor, learned: dict[str, Tensor], real: Tensor = None) -> Tensor:
        """One number from the values of the wrapped losses.

        Args:
            value: see `Value`; called with what `own` gives of `learned`.
            embeddings: (rows * width, D) of the batch.
            learned: what all of them learned.
            real: (rows * width,) booleans, False where a row only fills the batch; None where none does.
        """

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Any, **learned: Tensor) -> Tensor:
        """The combination, of given anchors and candidates."""

        def value(loss: Loss, change: Change, own: dict[str, Tensor]) -> Tensor:
            first = change(anchors)
            return loss(first, first if candidates is anchors else change(candidates), relation, **own)

        items = all(loss.candidates == 'items' for loss in self.members())
        both = items and candidates is not anchors
        xp = get_namespace(anchors)
        batch = xp.concatenate([anchors, xp.cast(candidates, anchors.dtype)]) if both else anchors
        return combined(self, value, batch, learned)

    def __call__(self, anchors: Tensor, candidates: Tensor, relation: Any = None, **learned: Tensor) -> Tensor:
        """The loss of anchors against candidates, or with `loss(embeddings, labels)` of a batch; see `Loss`."""
        self.check_learned(learned)
        itself = candidates is anchors
        anchors = distances.at_least_float32(anchors)
        if relation is None:
            return combined(self, lambda loss, change, own: loss(change(anchors), candidates, **own), anchors, learned)
        return self.compute(anchors, anchors if itself else candidates, relation, **learned)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Those of the wrapped losses."""
        return {
            self._name(name, place): value
            for place, loss in enumerate(self.inner)
            for name, value in loss.parameters(dim, n_classes, means).items()
        }

    def classes(self) -> dict[str, int]:
        """Those of the wrapped losses."""
        found = [(place, loss.classes()) for place, loss in enumerate(self.inner)]
        return {self._name(name, place): centers for place, own in found for name, centers in own.items()}

    def own(self, place: int, learned: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the wrapped loss at a place learned, by its own names."""
        end = self._name('', place)
        return {name.removesuffix(end): value for name, value in learned.items() if name.endswith(end)}

    def _name(self, name: str, place: int) -> str:
        return name if len(self.inner) == 1 else f'{name}_{place}'

    def members(self) -> Iterator[Loss]:
        """Those that it wraps."""
        for loss in self.inner:
            yield from loss.members()


def combined(
    loss: Any,
    value: Value,
    batch: Tensor,
    learned: dict[str, Tensor],
    real: Tensor = None,
    change: Change | None = None,
) -> Tensor:
    """The value of a loss, of a wrapper from what `value` gives for each loss that is none.

    Args:
        loss: perhaps wrappers in wrappers.
        value: evaluates what is no wrapper, with all that was changed on the way to it.
        batch: (rows * width, D) embeddings.
        learned: what it learned.
        real: see `Wrapper.combine`.
        change: what the vectors went through already.
    """
    changed: Change = change or (lambda vectors: vectors)
    if not isinstance(loss, Wrapper):
        return value(loss, changed, learned)
    return loss.combine(
        lambda inner, more, own: combined(inner, value, batch, own, real, lambda vectors: more(changed(vectors))),
        changed(batch),
        learned,
        real,
    )
