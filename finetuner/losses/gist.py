"""GIST: in-batch negatives that a guide holds for false ones are left out."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import at_least_float32, cosine_similarity
from finetuner.losses.guide import guide_limit
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.rows import of_documents, own_documents
from finetuner.losses.triplets import pairs
from finetuner.typing import Tensor


@dataclass(frozen=True)
class GISTEmbedLoss(Loss):
    """`-log(e^(cos(q, d) / T) / Z)`, Z over the document and those negatives that the guide finds less similar than it.

    A guide, a good model that is not trained, looks at the batch too. A negative that it holds for more similar to the
    query than the query's own document is probably no negative, and is left out. Other queries are negatives of the
    query, and other documents of its document, by the same rule.

    When to use: pairs where many documents answer many queries, so that a batch has false negatives, and a model at
    hand that knows the field: `fit(…, loss='GISTEmbedLoss', guide=model)`. Without one take
    MultipleNegativesRankingLoss.

    Args:
        temperature: T; smaller looks harder at the nearest negatives.
        margin_strategy: what a negative may reach at most in the guide's eyes, with g the similarity of the query to
            its document: 'absolute' is `g - margin`, 'relative' is `g - |g| * margin`.
        margin: by how much a negative must be less similar.
        contrast_anchors: whether other queries are negatives of a query.
        contrast_positives: whether other documents are negatives of a document; False may be better for search.
        reducer: how the terms become one number.

    A query with several documents is judged by their mean in the guide's eyes. In a batch of labels, which is compared
    with itself, queries and documents are the same, and both contrasts are the plain one.

    Source: Solatorio, 2024; defaults of sentence-transformers.

    >>> import numpy as np
    >>> from finetuner.losses.relation import same_class
    >>> x, guide = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]), np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    >>> relation = same_class([0, 0, 1])._replace(guide=(guide, guide))
    >>> float(GISTEmbedLoss(temperature=1.0)(x, x, relation).round(4))
    0.3991
    """

    across: ClassVar[bool] = True
    guided: ClassVar[bool] = True
    temperature: float = 0.01
    margin_strategy: Literal['absolute', 'relative'] = 'absolute'
    margin: float = 0.0
    contrast_anchors: bool = True
    contrast_positives: bool = True
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            temperature=options.number(above=0),
            margin=options.number(),
            contrast_anchors=options.flag,
            contrast_positives=options.flag,
            reducer=options.reducer,
        )
        if self.margin_strategy not in ('absolute', 'relative'):
            raise ArgumentError(f"margin_strategy={self.margin_strategy!r}: expected 'absolute' or 'relative'.")

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        xp = get_namespace(anchors)
        cosine = cosine_similarity(anchors, candidates)
        found = pairs(relation, lambda: 1 - cosine)
        guided = relation.guide_similarity()
        limit = guide_limit(relation, guided, self.margin, self.margin_strategy)
        s, negatives, away = [cosine], [found.negatives & (guided <= limit)], [found.away]
        blocks = self._blocks(anchors, candidates, relation)
        for block, seen in blocks:
            s.append(block)
            negatives.append(of_documents(found.negatives) & (seen <= limit))
            away.append(None if found.away is None else of_documents(found.away))
        weights = None if found.away is None else xp.concatenate(away, axis=1)
        rest = masked_logsumexp(
            xp.concatenate(s, axis=1) / self.temperature, xp.concatenate(negatives, axis=1), weights
        )
        return reduce(xp.softplus(rest - cosine / self.temperature), found.positives, self.reducer, found.towards)

    def _blocks(self, anchors: Tensor, candidates: Tensor, relation: Relation) -> list[tuple[Tensor, Tensor]]:
        # (N, N) cosines within the anchors and within their documents, and what the guide says of them.
        if relation.within(anchors, candidates):
            return []
        assert relation.guide is not None
        xp = get_namespace(anchors)
        guide, others = (at_least_float32(xp.stop_gradient(x)) for x in relation.guide)
        blocks = []
        if self.contrast_anchors:
            blocks.append((cosine_similarity(anchors, anchors), cosine_similarity(guide, guide)))
        if self.contrast_positives:
            own, theirs = own_documents(anchors, candidates), own_documents(guide, others)
            blocks.append((cosine_similarity(own, own), cosine_similarity(theirs, theirs)))
        return blocks
