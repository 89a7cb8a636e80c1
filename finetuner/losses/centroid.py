"""Centroid triplets: compare items with the centers of classes instead of with each other alone."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses.reduce import count
from finetuner.losses.relation import Relation
from finetuner.losses.rows import of_documents
from finetuner.losses.triplet import TripletMarginLoss
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class CentroidTripletLoss(TripletMarginLoss):
    """`[d(a, c_p) - d(a, f) + margin]+`, with the centroid `c_p` of the anchor's positives.

    The centroid is the mean of all positives of the anchor, itself left out. Far things `f` are, of every other class,
    one item and the centroid of the rest of that class: that item which has the same place in its class as the anchor
    has in its own, in the order of the batch, counted round where a class has fewer. So every other class counts
    equally, whatever its size. Classes with one item give that item alone.

    Where candidates are others than the anchors, as in pairs or with a memory, far things are all negatives and the
    centroids of all other anchors' positives.

    When to use: search that compares with the mean of a class, as for products or persons; labels with noise, which
    means smooth away. Take four or more items of each class in a batch.

    Args:
        margin: by how much a far thing shall be farther than the own centroid.
        distance: 'euclidean', 'sqeuclidean' or 'cosine'.
        normalize: whether vectors, and centroids of the vectors as they were, are brought to length 1.
        reducer: 'nonzero' (mean over the triplets that still cost something), 'mean' (over all), 'anchor', or 'sum'.
        swap: take the own centroid for the anchor where it is nearer to the far thing.
        smooth_loss: `log(1 + e^x)` for the hinge.

    Source: Wieczorek, Rychalska and Dabrowski, 2021. For classes of one size the triplets are those of
    pytorch-metric-learning, which refuses or mixes up others.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    >>> float(CentroidTripletLoss()(x, ['a', 'a', 'b', 'b']).round(4))
    0.5214
    """

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        found = pairs(relation, lambda: self.measure(anchors, candidates))
        member = xp.cast(found.positives, anchors.dtype)
        sizes = count(found.positives, anchors, axis=1, keepdims=True)
        centroids = xp.matmul(member, candidates) / xp.maximum(sizes, 1.0)
        # Of another anchor all positives are negatives.
        outside = xp.matmul(xp.cast(found.negatives, anchors.dtype), xp.transpose(member))
        others = (outside == xp.transpose(sizes)) & (outside > 0)
        items = found.negatives
        if relation.within(anchors, candidates):
            turn = _same_turn(of_documents(relation.positives), anchors)
            others, items = others & turn, items & _beside(turn, items)
        place = xp.positions(anchors)
        own = (xp.reshape(place, (-1, 1)) == xp.reshape(place, (1, -1))) & (sizes > 0)
        positives = xp.concatenate([own, xp.zeros_like(items)], axis=1)
        negatives = xp.concatenate([others, items], axis=1)
        compared = xp.concatenate([centroids, candidates], axis=0)
        return super().compute(anchors, compared, Relation(positives, negatives, 1))


def _beside(turn: Tensor, items: Tensor) -> Tensor:
    # (N, M) what (N, N) says of a batch; True for what is remembered beyond it.
    xp = get_namespace(turn)
    row = xp.positions(items)
    place = xp.minimum(xp.positions(xp.transpose(items)), xp.sum(xp.ones_like(row)))
    return xp.take(xp.concatenate([turn, xp.reshape(row >= 0, (-1, 1))], axis=1), place, axis=1)


def _same_turn(positives: Tensor, like: Tensor) -> Tensor:
    # (N, N): the column's place in its class is the row's in its own, modulo the size of the column's class.
    xp = get_namespace(like)
    place = xp.positions(like)
    before = positives & (xp.reshape(place, (1, -1)) < xp.reshape(place, (-1, 1)))
    turn = xp.sum(xp.cast(before, xp.int32), axis=1, keepdims=True)
    size = xp.transpose(xp.sum(xp.cast(positives, xp.int32), axis=1, keepdims=True) + 1)
    rounds = xp.cast((xp.cast(turn, like.dtype) + 0.5) / xp.cast(size, like.dtype), xp.int32)
    return turn - rounds * size == xp.transpose(turn)
