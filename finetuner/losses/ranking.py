"""Multiple negatives ranking: the document of a query among all documents, and other directions of the same."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError, enumerated
from finetuner.losses import options
from finetuner.losses.base import Loss
from finetuner.losses.distances import cosine_similarity, dot, normalize
from finetuner.losses.reduce import masked_logsumexp, reduce
from finetuner.losses.relation import Relation
from finetuner.losses.rows import in_row, of_documents, own_documents
from finetuner.losses.triplets import Pairs, pairs
from finetuner.typing import Tensor

Direction = Literal['query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc']
DIRECTIONS = ('query_to_doc', 'query_to_query', 'doc_to_query', 'doc_to_doc')
PARTITIONS = ('joint', 'per_direction')
HARDNESS = (None, 'in_batch_negatives', 'hard_negatives', 'all_negatives')


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(Loss):
    """`mean over pairs (q, d) of -log(e^(scale cos(q, d)) / Z)`, Z the sum of `e^(scale cos)` over d and all negatives.

    Every query has to find its document among the documents of the batch: those of other rows and the hard negatives
    of all rows. What the data say belongs together is never a negative: equal texts, and documents of equal queries.
    So duplicates in a batch do no harm, and labels work too: a batch of labelled items is compared with itself, each
    item of a class being a document of the others.

    When to use: search with pairs of a query and a document that answers it, with or without hard negatives; the
    usual loss for text. Large batches help, for they bring more negatives.

    Args:
        scale: of the similarities, an inverse temperature; 20 to 100 is usual with cosines.
        cosine: compare directions; False compares by dot product, then take `scale=1`.
        directions: who is compared; 'query_to_doc' must be among them. 'doc_to_query' lets a document find its query
            among all queries; 'query_to_query' makes other queries negatives of a query, and 'doc_to_doc' documents of
            other rows negatives of its document. In a batch of labels, which is compared with itself, they are one.
        partition_mode: 'joint' takes one Z over all directions; 'per_direction' one for each, and the mean, which only
            'query_to_doc' and 'doc_to_query' can do. In a joint Z the pair itself stands once for each of these two.
        hardness_mode: which negatives weigh more the more similar they are, `hardness_strength * cos` being added to
            their logits as a constant: None, 'in_batch_negatives' (those of other rows), 'hard_negatives' (those of
            the own row), or 'all_negatives'.
        hardness_strength: how much; published are 9 for 'in_batch_negatives' and 5 for 'hard_negatives'.
        reducer: how the terms become one number.

    Source: Henderson et al., 2017; all four directions from Li et al., 2023; hardness from Lan et al., 2025. Defaults
    of sentence-transformers, which takes duplicates for negatives.

    >>> import numpy as np
    >>> from finetuner.losses.relation import relate
    >>> query, document = np.eye(2), np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> codes = [{'item': np.array(item), 'label': np.array([[0], [1]])} for item in ([0, 1], [2, 3])]
    >>> float(MultipleNegativesRankingLoss(scale=1.0)(query, document, relate(*codes, most=1)).round(4))
    0.4791
    """

    across: ClassVar[bool] = True
    scale: float = 20.0
    cosine: bool = True
    directions: tuple[Direction, ...] = ('query_to_doc',)
    partition_mode: Literal['joint', 'per_direction'] = 'joint'
    hardness_mode: Literal['in_batch_negatives', 'hard_negatives', 'all_negatives'] | None = None
    hardness_strength: float = 0.0
    reducer: str = 'mean'

    def __post_init__(self) -> None:
        options.settle(
            self,
            scale=options.number(above=0),
            cosine=options.flag,
            hardness_strength=options.number(least=0),
            reducer=options.reducer,
        )
        several = isinstance(self.directions, list | tuple)
        given = tuple(self.directions) if several else (self.directions,)
        object.__setattr__(self, 'directions', given)
        _check_among('directions', DIRECTIONS, *given)
        _check_among('partition_mode', PARTITIONS, self.partition_mode)
        _check_among('hardness_mode', HARDNESS, self.hardness_mode)
        if 'query_to_doc' not in given:
            raise ArgumentError(f"directions={given!r} lack the pairs themselves: add 'query_to_doc'.")
        alike = [name for name in given if name in ('query_to_query', 'doc_to_doc')]
        if self.partition_mode == 'per_direction' and alike:
            raise ArgumentError(
                f"partition_mode='per_direction' compares every direction with the pair, which is not in "
                f"{enumerated(alike)}: take partition_mode='joint'."
            )
        if (self.hardness_mode is None) != (self.hardness_strength == 0) or self.hardness_strength < 0:
            raise ArgumentError(
                f'hardness_mode={self.hardness_mode!r} with hardness_strength={self.hardness_strength!r}: expected a '
                f"mode and a positive strength, such as 'hard_negatives' and 5, or None and 0."
            )

    def compute(self, anchors: Tensor, candidates: Tensor, relation: Relation, **learned: Tensor) -> Tensor:
        """The formula."""
        found = pairs(relation, lambda: 1 - cosine_similarity(anchors, candidates))
        one = candidates is anchors
        if self.cosine:
            anchors = normalize(anchors)
            candidates = anchors if one else normalize(candidates)
        s = dot(anchors, candidates) * self.scale
        directions = ('query_to_doc',) if relation.within(anchors, candidates) else self.directions
        rest = [self._rest(name, s, anchors, candidates, relation, found) for name in directions]
        xp = get_namespace(s)
        if self.partition_mode == 'per_direction':
            terms = xp.softplus(rest[0] - s)
            for other in rest[1:]:
                terms = terms + xp.softplus(other - s)
            return reduce(terms / len(rest), found.positives, self.reducer, found.towards)
        # log(n + sum of e^(rest - s)), one part of Z after the other; n is how often the pair itself stands in it.
        terms = xp.zeros_like(s) + math.log(1 + ('doc_to_query' in directions))
        for part in rest:
            terms = terms + xp.softplus(part - s - terms)
        return reduce(terms, found.positives, self.reducer, found.towards)

    def _rest(
        self, direction: str, s: Tensor, anchors: Tensor, candidates: Tensor, relation: Relation, found: Pairs
    ) -> Tensor:
        # The logarithm of the negatives' part of Z: (N, 1), or (1, M) where it is the document that looks.
        xp = get_namespace(s)
        if direction == 'query_to_doc':
            return masked_logsumexp(self._hardened(s, relation), found.negatives, found.away)
        if direction == 'doc_to_query':
            back = found.transpose()
            return xp.transpose(masked_logsumexp(xp.transpose(s), back.negatives, back.away))
        if direction == 'query_to_query':
            away = None if found.away is None else of_documents(found.away)
            return masked_logsumexp(dot(anchors, anchors) * self.scale, of_documents(found.negatives), away)
        others = found.negatives & ~in_row(relation)
        s = dot(own_documents(anchors, candidates), candidates) * self.scale
        return masked_logsumexp(s, others, found.away)

    def _hardened(self, s: Tensor, relation: Relation) -> Tensor:
        if self.hardness_mode is None:
            return s
        xp = get_namespace(s)
        more = xp.stop_gradient(s) * (self.hardness_strength / self.scale)
        if self.hardness_mode != 'all_negatives':
            own = in_row(relation)
            more = xp.where(own if self.hardness_mode == 'hard_negatives' else ~own, more, 0.0)
        return s + more


@dataclass(frozen=True)
class MultipleNegativesSymmetricRankingLoss(MultipleNegativesRankingLoss):
    """`MultipleNegativesRankingLoss` both ways: queries find documents, and documents queries; the mean of the two.

    When to use: code that has the older name. The same is
    `MultipleNegativesRankingLoss(directions=('query_to_doc', 'doc_to_query'), partition_mode='per_direction')`.

    Args:
        scale: of the similarities, an inverse temperature; 20 to 100 is usual with cosines.
        cosine: compare directions; False compares by dot product, then take `scale=1`.
        directions: who is compared.
        partition_mode: 'per_direction' takes a sum for each direction, 'joint' one for all.
        hardness_mode: which negatives weigh more the more similar they are; None, 'in_batch_negatives',
            'hard_negatives' or 'all_negatives'.
        hardness_strength: how much.
        reducer: how the terms become one number.

    Source: name and defaults of sentence-transformers.

    >>> import numpy as np
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(MultipleNegativesSymmetricRankingLoss(scale=1.0)(x, ['a', 'a', 'b']).round(4))
    1.0032
    """

    directions: tuple[Direction, ...] = ('query_to_doc', 'doc_to_query')
    partition_mode: Literal['joint', 'per_direction'] = 'per_direction'


def _check_among(option: str, known: tuple[str | None, ...], *given: str | None) -> None:
    for value in given:
        if value not in known:
            raise ArgumentError(f'{option}={value!r}: expected {enumerated(known, "or")}.')
    if not given:
        raise ArgumentError(f'{option} are empty: expected some of {enumerated(known)}.')
