"""What two evaluations of the same queries say of each other: who changed, ranks, similarities of pairs."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, enumerated
from finetuner.evaluation.bootstrap import TIE
from finetuner.evaluation.correlation import ranks, similarity
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.ground_truth import GroundTruth
from finetuner.evaluation.measures import main_metric
from finetuner.evaluation.search import ExactIndex

QUERIES = 2000
"""Whose ranks are looked up at most."""
PAIRS = 5000
"""Relevant and irrelevant pairs that are compared at most, of each."""
_RESULTS = 1 << 20  # judged at a time
_LOOKED = 5 * 10**7  # places that are looked through for relevant ones, at most


def check(before: Evaluator, after: Evaluator) -> None:
    """Refuse what cannot be told of in a report.

    Raises:
        ArgumentError: says what is wrong.
    """
    for name, side in (('before', before), ('after', after)):
        if not isinstance(side, Evaluator):
            raise ArgumentError(
                f'{name} is {type(side).__name__}: expected an Evaluator that has evaluated, such as '
                f'{name} = Evaluator(data, model=model) and {name}.evaluate().'
            )
        if side.query_data.kind == 'score':
            raise ArgumentError(
                f'{name} evaluates scored pairs, which have no queries and no results that a report could show. '
                f'evaluation.display_metrics(before, after) compares their correlations.'
            )
        if side.embeddings is None:
            raise ArgumentError(
                f'{name} has no embeddings: it has not evaluated, or they were let go of. Call {name}.evaluate() first.'
            )
    if before is after:
        raise ArgumentError(
            'before and after are one Evaluator, which keeps its last evaluation alone: make two of them, one for '
            'each model, or for the same model before and after a training.'
        )
    ways = [side.distance for side in (before, after)]
    if ways[0] != ways[1]:
        raise ArgumentError(
            f'before was evaluated with distance={ways[0]!r}, after with {ways[1]!r}: take one of them.'
        )


def judge(metric: str | None, names: Iterable[str], before: Evaluator, after: Evaluator) -> str:
    """By which metric the verdict is spoken and examples are chosen.

    Args:
        metric: what someone calls it; None takes the usual one of those that are known.
        names: of the metrics that both have.
        before: has evaluated.
        after: has evaluated.

    Raises:
        ArgumentError: there is no such metric, or it is known for no query.
    """
    there = [name for name in names if name in before.per_query]
    known = [name for name in there if np.isfinite(after.per_query[name] - before.per_query[name]).any()]
    chosen = main_metric(metric, there if metric is not None else known or there, before.settings['limit'])
    if chosen not in known:
        hint = f'Take one of {enumerated(known)}.' if known else 'Add one that is, such as average_precision.'
        raise ArgumentError(f'{chosen} is NaN for every query, so it tells nothing of before and after. {hint}')
    return chosen


def truth_of(side: Evaluator) -> GroundTruth:
    """What should have been found in the last evaluation."""
    return side.truth(side.settings['exclude_self'])


def sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most so many of some numbers, drawn by chance, ascending."""
    if len(rows) <= most:
        return rows
    drawn: np.ndarray = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return drawn


def answered(side: Evaluator) -> np.ndarray:
    """The rows of the queries that were asked and have something to find."""
    asked = np.sort(side.asked)
    found: np.ndarray = asked[truth_of(side).n_relevant[asked] > 0]
    return found


def most_changed(change: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the queries that rose most and of those that fell most, the largest change first.

    Args:
        change: (Q,) of each query; NaN where it is not known.
        most: of each.

    >>> most_changed(np.array([0.1, -0.5, 0.0, np.nan, 0.3, -0.7]), 2)
    (array([4, 0]), array([5, 1]))
    """
    order = np.argsort(-change, kind='stable')  # NaN last
    rising, falling = order[change[order] > TIE], order[change[order] < -TIE][::-1]
    return rising[:most], falling[:most]


def first_ranks(side: Evaluator, rows: np.ndarray) -> np.ndarray:
    """The rank of the first relevant result of each query in the whole index, from 1.

    Args:
        side: has evaluated.
        rows: (n,) numbers of queries that were asked and have something to find.
    """
    assert side.embeddings is not None
    truth, (queries, vectors) = truth_of(side), side.embeddings
    index, at = ExactIndex(vectors, side.distance), positions(side)
    found = np.zeros(len(rows), np.int64)
    left, depth, size = np.arange(len(rows)), 64, len(vectors)
    while len(left):  # most have it near the top
        depth = min(depth, size)
        for part in np.array_split(left, math.ceil(len(left) * depth / _RESULTS)):
            places, _ = index.search(queries[at[rows[part]]], depth, truth.own[rows[part]])
            right = truth.relevance(rows[part], places) > 0
            found[part] = np.where(right.any(axis=1), right.argmax(axis=1) + 1, 0)
        left = left[found[left] == 0] if depth < size else left[:0]
        depth *= 16
    return found


class Pairs(NamedTuple):
    """Pairs of a query and a place of the index.

    Attributes:
        rows: (n,) numbers of queries.
        places: (n,) places.
        relevant: (n,) whether the place is relevant to the query.
    """

    rows: np.ndarray
    places: np.ndarray
    relevant: np.ndarray


def pairs(side: Evaluator, seed: int = 0, most: int = PAIRS) -> Pairs:
    """Pairs drawn by chance, at most so many relevant and so many irrelevant ones, a few of each query."""
    truth, chance = truth_of(side), np.random.default_rng(seed)
    size = len(truth.index)
    rows = sample(answered(side), min(QUERIES, max(_LOOKED // size, 1)), seed)
    each = math.ceil(most / len(rows))
    every = np.arange(size)
    drawn: list[tuple[int, np.ndarray, bool]] = []
    for row in chance.permutation(rows).tolist():
        right = truth.relevance(np.array([row]), every[None])[0] > 0
        relevant = np.flatnonzero(right)
        drawn.append((row, chance.choice(relevant, min(each, len(relevant)), replace=False), True))
        others = np.unique(chance.integers(0, size, each))
        drawn.append((row, others[~right[others] & (others != truth.own[row])], False))
    parts = [Pairs(np.full(len(places), row), places, np.full(len(places), kind)) for row, places, kind in drawn]
    whole = Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    kept = np.concatenate([np.flatnonzero(whole.relevant == kind)[:most] for kind in (True, False)])
    return Pairs(*(column[kept] for column in whole))


def similarities(side: Evaluator, chosen: Pairs) -> np.ndarray:
    """(n,) how similar the vectors of pairs are; of a distance its negative."""
    assert side.embeddings is not None
    queries, index = side.embeddings
    ours, theirs = (
        np.asarray(vectors[rows], np.float64)
        for vectors, rows in ((queries, positions(side)[chosen.rows]), (index, chosen.places))
    )
    return similarity(ours, theirs, side.distance)


def above(relevant: np.ndarray, irrelevant: np.ndarray) -> float:
    """How often one of (n,) numbers is larger than one of (m,) others; equal ones count half.

    >>> above(np.array([0.9, 0.4]), np.array([0.1, 0.5]))
    0.75
    """
    place = ranks(np.concatenate([relevant, irrelevant]))[: len(relevant)]
    n, m = len(relevant), len(irrelevant)
    return float((place.sum() - n * (n + 1) / 2) / (n * m))


def positions(side: Evaluator) -> np.ndarray:
    """Where the vector of each query stands among those that were asked; -1 for those that were not."""
    found = np.full(len(truth_of(side).queries), -1)
    found[side.asked] = np.arange(len(side.asked))
    return found
