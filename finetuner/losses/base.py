"""What a loss is: a value without a framework, from anchors, candidates and who belongs to whom to one number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from finetuner.dispatch import FRAMEWORKS, get_namespace, load
from finetuner.errors import ArgumentError, nearest
from finetuner.losses import distances
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation, Scores, classify, label_codes, same_class
from finetuner.typing import Learned, Tensor

Mine = Callable[[Tensor, Relation], Relation]


class Loss(ABC):
    """A loss on embeddings.

    Subclasses are frozen dataclasses, so that a loss can be compared, printed and pickled; what is trained is an
    argument. They define `compute` and, where these defaults are not theirs, the attributes below.

    Attributes:
        expects: the kind of supervision, `Relation` or `Scores`.
        candidates: what anchors are compared with, other 'items' or learned 'classes'.
        columns: how many columns scored data must have, anchors included; None where any number will do.
        more: whether more columns than that will do.
        across: whether in session data the members of other sessions are negatives.
        by_class: the names of what it learns with one entry per class, where candidates are items; the formula gets
            them as (N, 1), of each anchor's first class.
        guided: whether it needs a guide, see `Relation.guide`.
        remembers: whether candidates of earlier batches are of use to it, see `CrossBatchMemory`.
        centers: learned candidates per class, one class after the other.
        miner: what narrows the relation before the formula sees it.
    """

    expects: ClassVar[type] = Relation
    candidates: ClassVar[Literal['items', 'classes']] = 'items'
    columns: ClassVar[int | None] = None
    more: ClassVar[bool] = False
    across: ClassVar[bool] = False
    guided: ClassVar[bool] = False
    remembers: ClassVar[bool] = True
    miner: Mine | None = None

    @property
    def centers(self) -> int:
        """Learned candidates per class."""
        return 1

    @property
    def by_class(self) -> tuple[str, ...]:
        """The names of what it learns with one entry per class, where candidates are items."""
        return ()

    def __call__(self, anchors: Tensor, candidates: Tensor, relation: Any = None, **learned: Tensor) -> Tensor:
        """The loss of (N, D) anchors against (M, D) candidates: a scalar.

        With labels, `loss(embeddings, labels)` compares a batch with itself, or with the `classes=` it learned.

        Args:
            anchors: (N, D) embeddings; computed on in float32 at least, whatever the model's precision.
            candidates: (M, D) embeddings; or, without a relation, the class labels of the anchors.
            relation: a `Relation` or `Scores`, as the loss expects; for `Scores` the bare (N, S) values will do.
            learned: the loss's own parameters, as `parameters` names them.

        Raises:
            ArgumentError: there are no scores for a loss that expects them, or it needs a guide and there is none.
        """
        if relation is None:
            anchors, candidates, relation = self._label(anchors, candidates, learned)
        if self.guided and getattr(relation, 'guide', None) is None:
            raise ArgumentError(
                f'{type(self).__name__} needs a guide: give fit(…, guide=model), or here '
                f'relation._replace(guide=vectors) with its (N, G) and (M, G) vectors.'
            )
        xp = get_namespace(anchors)
        itself = candidates is anchors
        anchors = distances.at_least_float32(anchors)
        candidates = anchors if itself else xp.cast(candidates, anchors.dtype)
        if self.expects is Scores and not isinstance(relation, Scores):
            values = xp.reshape(xp.asarray(relation, like=anchors), (anchors.shape[0], -1))
            relation = Scores(xp.cast(values, anchors.dtype), candidates.shape[0] // anchors.shape[0])
        if self.miner is not None:
            relation = mine(self.miner, self, anchors, candidates, relation, learned)
        return self.compute(anchors, candidates, relation, **learned)

    def _label(self, anchors: Tensor, labels: Any, learned: dict[str, Tensor]) -> tuple[Tensor, Tensor, Any]:
        if self.expects is Scores:
            raise ArgumentError(
                f'{type(self).__name__} expects scores, and got labels alone; call it as loss(anchors, candidates, '
                f'scores) with (N, D), (K * N, D) and (N, S) arrays.'
            )
        if self.candidates == 'items':
            if self.by_class:
                code = label_codes(np.asarray(labels) if isinstance(labels, Sequence) else labels, like=anchors)
                learned |= of_anchors(self.by_class, learned, code['label'])
            return anchors, anchors, same_class(labels, like=anchors)
        if 'classes' not in learned:
            raise ArgumentError(
                f'{type(self).__name__} compares with classes that it learned; call it as loss(embeddings, labels, '
                f'classes=weights) with (C, D) weights, at first loss.parameters(dim, n_classes)["classes"].'
            )
        classes = learned.pop('classes')
        labels = np.asarray(labels) if isinstance(labels, Sequence) else labels  # class numbers, not names
        return anchors, classes, classify(label_codes(labels, like=anchors), int(classes.shape[0]) // self.centers, 1)

    @abstractmethod
    def compute(self, anchors: Tensor, candidates: Tensor, relation: Any, **learned: Tensor) -> Tensor:
        """The formula."""

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) distances as the loss sees them, for miners; or, on the same vectors, the distance called `name`."""
        return distances.between(anchors, candidates, name or 'cosine', unit=True)

    def parameters(self, dim: int, n_classes: int, means: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The initial values (float32) of what the loss learns, by name; most learn nothing.

        Args:
            dim: D, the size of the embeddings.
            n_classes: C, the number of classes in the data.
            means: (C, D) the mean direction of each class in the untuned model, to start from; None starts from noise.
        """
        return {}

    def classes(self) -> dict[str, int]:
        """The names of what it learns of (C * centers, D), each with its number of centers."""
        return {'classes': self.centers} if self.candidates == 'classes' else {}

    def members(self) -> 'Iterator[Loss]':
        """The losses that this one is made of: itself, or those that it wraps."""
        yield self

    def module(
        self,
        framework: str,
        dim: int | None = None,
        n_classes: int | None = None,
        *,
        means: np.ndarray | None = None,
        miner: Any = None,
        most: int | None = None,
    ) -> Any:
        """This loss as a native module, which owns what the loss learns and remembers, for training loops of your own.

        It is called as `module(embeddings, labels)` or `module(anchors, candidates, relation)` and gives a scalar.
        Train its parameters along with the model's, save it as any module. Labels are numbers from 0 to C - 1 where
        the loss learns classes; any numbers, or texts, where it does not.

        Args:
            framework: 'torch' gives a torch.nn.Module, 'keras' a keras.layers.Layer, 'paddle' a paddle.nn.Layer.
            dim: D, the size of the embeddings; needed where what it learns or remembers depends on it.
            n_classes: C, the number of classes; likewise.
            means: (C, D) the mean direction of each class in the untuned model, to start from; None starts from noise.
            miner: narrows the relation before the loss sees it; a miner or its name.
            most: no item has more others of its class in a batch than this. None counts, or takes the size of the
                batch where labels cannot be looked at; compiled TensorFlow knows neither.

        Raises:
            ArgumentError: there is no such framework, or a size is missing.
        """
        if framework not in FRAMEWORKS:
            raise ArgumentError(f'framework={framework!r}. {nearest(str(framework), FRAMEWORKS)}')
        made: type = load(framework, 'module').LossModule
        return made(self, dim, n_classes, means=means, miner=miner, most=most)


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
    def inner(self) -> tuple[Loss, ...]:
        """The losses that it wraps."""
        raise NotImplementedError

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

    def _label(self, anchors: Tensor, labels: Any, learned: dict[str, Tensor]) -> tuple[Tensor, Tensor, Any]:
        raise NotImplementedError

    def __call__(self, anchors: Tensor, candidates: Tensor, relation: Any = None, **learned: Tensor) -> Tensor:
        """The loss of anchors against candidates, or with `loss(embeddings, labels)` of a batch; see `Loss`."""
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


def of_anchors(names: tuple[str, ...], learned: dict[str, Tensor], label: Tensor) -> dict[str, Tensor]:
    """What was learned for each class, as (N, 1) for each anchor by its first label; what has one entry stays.

    Args:
        names: of what has an entry per class.
        learned: all that was learned.
        label: (N, L) codes; -1 takes the first entry, for such an anchor has no pairs that it could matter to.
    """
    xp = get_namespace(label)
    first = xp.maximum(label[:, 0], xp.zeros_like(label[:, 0]))
    return {
        name: learned[name] if learned[name].shape[0] == 1 else xp.reshape(xp.take(learned[name], first), (-1, 1))
        for name in names
        if name in learned
    }


class DistanceLoss(Loss):
    """A loss with the options `distance` and `normalize`, the same for its formula and for miners."""

    distance: str
    normalize: bool

    def measure(self, anchors: Tensor, candidates: Tensor, name: str | None = None) -> Tensor:
        """(N, M) distances as the loss sees them, for miners; or, on the same vectors, the distance called `name`."""
        return distances.between(anchors, candidates, name or self.distance, self.normalize)


def mine(
    miner: Miner | Mine,
    loss: Any,
    anchors: Tensor,
    candidates: Tensor,
    relation: Relation,
    learned: Learned | None = None,
) -> Relation:
    """The relation as `miner` narrows it: judged without gradient, by its own distance or else by the loss's.

    Args:
        miner: a `Miner`, or any `f(distances (N, M), relation) -> relation`.
        loss: a `Loss`, or any callable, which is taken to work on cosine distances.
        anchors: (N, D) embeddings.
        candidates: (M, D) embeddings.
        relation: who belongs to whom.
        learned: what the loss learned, for miners that ask it.
    """
    xp = get_namespace(anchors)
    a = xp.stop_gradient(anchors)
    b = a if candidates is anchors else xp.stop_gradient(candidates)
    if isinstance(miner, Miner):
        miner = miner.prepared(int(a.shape[1]))
        if miner.by_value:
            cost = loss.compute if isinstance(loss, Loss) else loss  # the call would mine again
            own = {name: xp.stop_gradient(value) for name, value in (learned or {}).items()}
            return miner.choose(lambda part: cost(a, b, part, **own), relation)
    name = getattr(miner, 'distance', None)

    def measure(a: Tensor, b: Tensor) -> Tensor:
        if isinstance(loss, Loss) and not getattr(miner, 'unit', False):
            return loss.measure(a, b, name)
        return distances.between(a, b, name or 'cosine', unit=True)

    judged = measure(a, b)
    if getattr(miner, 'third_side', False):
        relation = relation._replace(between=judged if b is a else measure(b, b))
    mined = miner(judged, relation)
    # Left out where they are the loss's own: it has them, and what it knows to be its own it can count faster.
    return mined._replace(distances=None) if name is None and mined.distances is judged else mined
