"""Negatives that another model does not take for positives."""

from dataclasses import dataclass
from typing import ClassVar

from finetuner.losses import options
from finetuner.losses.guide import STRATEGIES, guide_limit
from finetuner.losses.miners.base import Miner
from finetuner.losses.relation import Relation
from finetuner.typing import Tensor


@dataclass(frozen=True)
class GuidedMiner(Miner):
    """All pairs but the negatives with `guide_an > guide_ap - margin`, which are probably none.

    A guide, another model, says how similar it finds two items. A negative that it finds more similar to the anchor
    than the anchor's positive is likely a match that nobody labelled; to push it away would teach the wrong thing.
    Several positives are judged by their mean in the guide's eyes; an anchor without positives keeps all negatives.

    When to use: with losses on pairs of texts or images, where the other rows of a batch are taken for negatives and
    some are none. `fit(…, guide=model)` gives the guide.

    Args:
        margin: by how much a negative must be less similar than the positive; larger leaves out more.
        margin_strategy: what a negative may reach at most, with g the similarity of the positive: 'absolute' is
            `g - margin`, 'relative' is `g - |g| * margin`.

    Raises:
        ArgumentError: the strategy is unknown; or, when it is called, there is no guide.

    Source: Solatorio, 2024 (GISTEmbed); names and defaults of sentence-transformers.

    >>> from finetuner.losses.relation import same_class
    >>> import numpy as np
    >>> guide = np.array([[1.0, 0.0], [0.8, 0.6], [1.0, 0.1], [0.0, 1.0]])
    >>> relation = same_class(['a', 'a', 'b', 'c'])._replace(guide=(guide, guide))
    >>> GuidedMiner()(np.zeros((4, 4)), relation).pairs()[:5].tolist()  # 0 and 2 are alike
    [[0, 1, 1], [1, 0, 1], [0, 3, 0], [1, 3, 0], [2, 0, 0]]
    """

    margin: float = 0.0
    margin_strategy: str = 'absolute'
    guided: ClassVar[bool] = True

    def __post_init__(self) -> None:
        options.settle(self, margin=options.number(), margin_strategy=options.one_of(STRATEGIES))

    def __call__(self, distances: Tensor, relation: Relation) -> Relation:
        """The relation without the negatives that the guide doubts."""
        similar = relation.guide_similarity()
        limit = guide_limit(relation, similar, self.margin, self.margin_strategy)
        return relation._replace(negatives=relation.negatives & (similar <= limit))
