"""What a loss is: a value without a framework, from anchors, candidates and who belongs to whom to one number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np

from finetuner.dispatch import FRAMEWORKS, get_namespace, load
from finetuner.errors import ArgumentError, nearest
from finetuner.losses import distances
from finetuner.losses.labels import label_codes, most_alike
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation, Scores, classify, relate
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

    @property
    def learns(self) -> tuple[str, ...]:
        """The names of what it learns, as `parameters` gives them."""
        return tuple(self.parameters(2, 2))

    def __call__(self, anchors: Tensor, candidates: Tensor, relation: Any = None, **learned: Tensor) -> Tensor:
        """The loss of (N, D) anchors against (M, D) candidates: a scalar.

        With labels, `loss(embeddings, labels)` compares a batch with itself, or with the `classes=` it learned.

        Args:
            anchors: (N, D) embeddings; computed on in float32 at least, whatever the model's precision.
            candidates: (M, D) embeddings; or, without a relation, the class labels of the anchors: (N,), or (N, L)
                several of each, anything hashable in a list or numbers or texts in an array; numbers from 0 to C - 1
                where the loss learned classes. -1 is no class.
            relation: a `Relation` or `Scores`, as the loss expects; for `Scores` the bare (N, S) values will do.
            learned: the loss's own parameters, as `parameters` names them.

        Raises:
            ArgumentError: there are no scores for a loss that expects them, it needs a guide and there is none, labels
                are not as they must be, or it learns nothing of such a name.
        """
        self.check_learned(learned)
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
        name = type(self).__name__
        if self.candidates == 'items':
            sizes = [int(learned[own].shape[0]) for own in self.by_class if own in learned]
            n_classes = max(sizes, default=1)
            codes, known = label_codes(labels, anchors, name if n_classes > 1 else '', n_classes)
            learned |= of_anchors(self.by_class, learned, codes['label'])
            return anchors, anchors, relate(codes, codes, most_alike(codes['label'], known))
        if 'classes' not in learned:
            raise ArgumentError(
                f'{name} compares with classes that it learned; call it as loss(embeddings, labels, classes=weights) '
                f'with (C, D) weights, at first loss.parameters(dim, n_classes)["classes"].'
            )
        classes = learned.pop('classes')
        rows = int(classes.shape[0])
        if rows % self.centers:
            raise ArgumentError(
                f'classes has {rows} rows: expected {self.centers} for each class, one after the other.'
            )
        codes, _ = label_codes(labels, anchors, name, rows // self.centers)
        return anchors, classes, classify(codes, rows // self.centers, codes['label'].shape[1])

    def check_learned(self, learned: Iterable[str]) -> None:
        """Whether it learns what it is called with.

        Raises:
            ArgumentError: it learns nothing of such a name; says where options belong.
        """
        for name in learned:
            if name not in self.learns:
                raise ArgumentError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        own, options = type(self).__name__, list(getattr(self, '__dataclass_fields__', ()))
        takes = f'{own} learns nothing by the name {name!r}.'
        if name in options:
            return f'{takes} It is an option, and options belong into {own}({name}=…).'
        near = nearest(name, [*self.learns, *options])
        return f'{takes} {near} Options belong into {own}({options[0] if options else ""}=…).'

    def numbers(self, like: Tensor, learned: dict[str, Tensor]) -> list[Tensor]:
        """What it learns, in the precision of `like`; the initial values where it is called without them.

        For losses that learn numbers, whatever the sizes.
        """
        xp = get_namespace(like)
        some = all(name in learned for name in self.learns)
        start = learned if some else {n: xp.asarray(v, like=like) for n, v in self.parameters(1, 1).items()} | learned
        return [xp.cast(start[name], like.dtype) for name in self.learns]

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
        the loss learns classes, and stay the same where it remembers; any numbers, or texts, where it does neither.

        Args:
            framework: 'torch' gives a torch.nn.Module, 'keras' a keras.layers.Layer, 'paddle' a paddle.nn.Layer.
            dim: D, the size of the embeddings; needed where what it learns or remembers depends on it.
            n_classes: C, the number of classes; likewise.
            means: (C, D) the mean direction of each class in the untuned model, to start from; None starts from noise.
            miner: narrows the relation before the loss sees it; a miner, its name or its class.
            most: no item has more others of its class in a batch than this. None counts, or takes the size of the
                batch where labels cannot be looked at; compiled TensorFlow knows neither.

        Raises:
            ArgumentError: there is no such framework, or a size is missing or impossible.
        """
        if framework not in FRAMEWORKS:
            raise ArgumentError(f'framework={framework!r}. {nearest(str(framework), FRAMEWORKS)}')
        made: type = load(framework, 'module').LossModule
        return made(self, dim, n_classes, means=means, miner=miner, most=most)


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
