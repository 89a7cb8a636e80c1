"""Pairs drawn so that all distances of a batch occur alike."""

from dataclasses import dataclass

from finetuner.dispatch import get_namespace
from finetuner.losses import options
from finetuner.losses.distances import FAR
from finetuner.losses.miners.base import Miner
from finetuner.losses.miners.lots import lots_of, places
from finetuner.losses.relation import Relation
from finetuner.typing import Layout, Tensor


@dataclass(frozen=True)
class UniformHistogramMiner(Miner):
    """Pairs drawn from equal bins between the smallest and the largest distance, positives and negatives apart.

    Every bin that holds pairs is drawn from equally often, with replacement, so that rare distances count as much as
    common ones. A pair that is drawn twice is in once: a bin with few pairs gives them all, and each once.

    When to use: with losses on pairs, to see a sample of all distances rather than the hardest.

    Args:
        num_bins: the number of bins.
        pos_per_bin: positive pairs drawn from each bin.
        neg_per_bin: negative pairs drawn from each bin.
        distance: the name of a distance; None takes the loss's own.

    Raises:
        ArgumentError: a number is not positive; or, when it is called, there are no lots.

    Source: the rule and the defaults of pytorch-metric-learning, which counts a pair as often as it was drawn.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> d = np.array([[0.0, 0.5, 0.1, 0.1], [0.5, 0.0, 0.1, 0.9], [0.1, 0.1, 0.0, 0.3], [0.1, 0.9, 0.3, 0.0]])
    >>> relation = same_class(['a', 'a', 'b', 'c'])._replace(lots=np.zeros((4, 1), 'float32'))
    >>> UniformHistogramMiner(2, 1, 1)(d, relation).pairs().tolist()
    [[0, 1, 1], [0, 2, 0], [1, 3, 0]]
    """

    num_bins: int = 100
    pos_per_bin: int = 10
    neg_per_bin: int = 10
    distance: str | None = None

    def __post_init__(self) -> None:
        options.settle(
            self,
            num_bins=options.whole,
            pos_per_bin=options.whole,
            neg_per_bin=options.whole,
            distance=options.optional(options.distance),
        )

    def lots(self, layout: Layout) -> int:
        """One for each draw of the batch, spread over its anchors."""
        draws = self.num_bins * (self.pos_per_bin + self.neg_per_bin)
        return -(-draws // max(layout.rows, 1))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation with only the drawn pairs in its masks."""
        xp = get_namespace(distances)
        rows = relation.positives.shape[0]  # TensorFlow may not know
        need = 1 if rows is None else self.lots(Layout(rows))
        lots = xp.reshape(lots_of(relation, need, type(self).__name__), (-1,))
        middle, end = self.num_bins * self.pos_per_bin, self.num_bins * (self.pos_per_bin + self.neg_per_bin)
        return relation._replace(
            positives=_drawn(
                distances, relation.positives, xp.reshape(lots[:middle], (self.num_bins, self.pos_per_bin))
            ),
            negatives=_drawn(
                distances, relation.negatives, xp.reshape(lots[middle:end], (self.num_bins, self.neg_per_bin))
            ),
        )


def _drawn(d: Tensor, mask: Tensor, lots: Tensor) -> Tensor:
    # (N, M): the pairs of `mask` that (bins, draws) lots hit. With the edges of the bins sorted in among the distances
    # of every row, each pair knows its bin, and its number there: those in the rows above come first.
    xp = get_namespace(d)
    bins, draws = lots.shape
    low, high = xp.min(xp.where(mask, d, FAR)), xp.max(xp.where(mask, d, -FAR))
    shares = xp.reshape(xp.cast(xp.positions(lots), d.dtype) / bins, (1, -1))
    edges = xp.zeros_like(d[:, :1]) + (low + (high - low) * shares)
    order = xp.argsort(xp.concatenate([edges, xp.where(mask, d, FAR)], axis=1))
    back = xp.argsort(order)
    flags = xp.cast(xp.concatenate([xp.ones_like(edges), xp.zeros_like(d)], axis=1), xp.int32)
    passed = xp.cumsum(xp.take_along_axis(flags, order, axis=1), axis=1)
    passed = xp.take_along_axis(passed, back, axis=1)  # edges up to and including it
    before = back - passed  # pairs of the row that lie before it, of an edge one less
    below, before = before[:, :bins] + 1, before[:, bins:]
    own = passed[:, bins:] - 1  # the bin of a pair
    rows = xp.sum(xp.cast(mask, xp.int32), axis=1, keepdims=True)
    held = xp.concatenate([below[:, 1:], rows], axis=1) - below
    above = xp.cumsum(held, axis=0) - held  # pairs of a bin in the rows above
    nth = before + xp.take_along_axis(above - below, own, axis=1)
    hits = places(lots, xp.reshape(xp.sum(held, axis=0), (-1, 1)))
    hit = xp.zeros_like(mask)
    for draw in range(draws):
        hit = hit | (nth == xp.take(hits[:, draw], own))
    return mask & hit
