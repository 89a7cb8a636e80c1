"""How sure a mean is, and whether two models differ by more than chance: queries are what might have been others.

from finetuner.evaluation import Evaluator, compare

before, after = Evaluator(data, model=first), Evaluator(data, model=second)
before.evaluate(), after.evaluate()
compare(before, after)['map_at_r'].p_value
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, DataError, whole_number
from finetuner.evaluation import bootstrap
from finetuner.evaluation.correlation import correlation, targets
from finetuner.evaluation.sameness import check

if TYPE_CHECKING:
    from finetuner.evaluation.evaluator import Evaluator

RESAMPLES = 2_000
"""How many times queries are drawn for an interval."""
FLIPS = 10_000
"""How many times they are drawn to compare."""


class Comparison(NamedTuple):
    """A metric of two models on the same queries.

    Attributes:
        before: the mean of the first.
        after: the mean of the second.
        difference: `after - before`.
        low: the lower end of the interval of the difference, queries being drawn anew in pairs; NaN, like the other
            end and the p-value, of a metric of all vectors together, which has no values of queries.
        high: the upper end.
        p_value: how often a difference as large comes about by chance alone: of queries the share of all signs of
            their differences, of scored pairs twice the share of draws on the other side of 0.
        queries: how many there are; of scored pairs how many scores.
        rose: how many queries have a larger value after; None where there are no values of queries.
        fell: how many have a smaller one.
        tied: how many have the same.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    queries: int
    rose: int | None
    fell: int | None
    tied: int | None

    def facts(self) -> dict[str, Any]:
        """For JSON: None where there is no number."""
        return {name: None if value != value else value for name, value in self._asdict().items()}


def intervals(
    evaluator: 'Evaluator', confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """What `Evaluator.intervals` gives."""
    resamples, found = whole_number('resamples', resamples, 1), dict[str, tuple[float, float]]()
    _evaluated(evaluator)
    if evaluator.query_data.kind == 'score':
        scores = _rows(evaluator, targets(evaluator.query_data))
        if len(scores) < 2 or scores.size < 3:  # two have a correlation of 1, -1 or none
            raise DataError(
                f'An interval comes from how much scored rows differ, and this evaluation has {len(scores)} of them. '
                f'Evaluate more.'
            )
        for name in evaluator.names():
            (values,) = _correlations(name, [_rows(evaluator, evaluator.similarities)], scores, resamples, seed)
            low, high = bootstrap.bounds(values, confidence).tolist()
            found[name] = (low, high)
        return found
    groups = [group for group in _together(evaluator.per_query) if len(group[1]) > 1]
    if evaluator.per_query and not groups:
        raise DataError(
            'An interval comes from how much queries differ, and no metric of this evaluation has values of more than '
            'one query with an answer. Evaluate more queries.'
        )
    for names, values in groups:
        ends = bootstrap.bounds(bootstrap.means(values, resamples, seed), confidence)
        found.update(zip(names, zip(*ends.tolist(), strict=True), strict=True))
    return {name: found[name] for name in evaluator.per_query if name in found}


def compare(
    before: 'Evaluator', after: 'Evaluator', *, confidence: float = 0.95, seed: int = 0, resamples: int = FLIPS
) -> dict[str, Comparison]:
    """Each metric that both have: by how much it changed, how sure that is, and how many queries rose and fell.

    The interval of the difference is that of the paired bootstrap, the p-value that of the paired sign-flip test.

    Args:
        before: has evaluated one model.
        after: has evaluated another one on the same data.
        confidence: the part of draws that lie within the interval.
        seed: what chance starts from.
        resamples: how many times queries, and signs, are drawn.

    Raises:
        ArgumentError: one has not evaluated, or both are one, or they asked other queries, searched another index, knew
            other labels, or counted other results; or a number is impossible.
    """
    resamples = whole_number('resamples', resamples, 1)
    for evaluator in (before, after):
        _evaluated(evaluator)
    check(before, after)
    names = [name for name in before.means if name in after.means]
    if not names:
        raise ArgumentError(
            f'There is no metric that both evaluators have: before has {", ".join(before.means)}; '
            f'after has {", ".join(after.means)}.'
        )
    if before.query_data.kind == 'score':
        return {name: _of_scores(name, before, after, confidence, seed, resamples) for name in names}
    found: dict[str, Comparison] = {}
    changes = {name: after.per_query[name] - before.per_query[name] for name in names if name in before.per_query}
    for several, change in _together(changes):
        low, high = bootstrap.bounds(bootstrap.means(change, resamples, seed), confidence)
        p_values = bootstrap.sign_flips(change, resamples, seed)
        for column, name in enumerate(several):
            rose, fell = (int((sign * change[:, column] > bootstrap.TIE).sum()) for sign in (1, -1))
            ends, counts = (float(low[column]), float(high[column])), (rose, fell, len(change) - rose - fell)
            found[name] = _comparison(name, before, after, *ends, float(p_values[column]), len(change), *counts)
    for name in names:  # of all vectors together, or of no query
        count = 0 if name in changes else _count(before)
        found.setdefault(name, _comparison(name, before, after, np.nan, np.nan, np.nan, count))
    return {name: found[name] for name in names}


def _comparison(
    name: str,
    before: 'Evaluator',
    after: 'Evaluator',
    low: float,
    high: float,
    p_value: float,
    queries: int,
    *counts: int,
) -> Comparison:
    was, now = before.means[name], after.means[name]
    rose, fell, tied = counts or (None, None, None)
    return Comparison(was, now, now - was, low, high, p_value, queries, rose, fell, tied)


def _of_scores(
    name: str, before: 'Evaluator', after: 'Evaluator', confidence: float, seed: int, resamples: int
) -> Comparison:
    scores = _rows(before, targets(before.query_data))
    sides = [_rows(evaluator, evaluator.similarities) for evaluator in (before, after)]
    was, now = _correlations(name, sides, scores, resamples, seed)
    change = now - was
    low, high = bootstrap.bounds(change, confidence).tolist()
    # What was observed is one of the possible draws, so that no p-value is 0.
    sides_of_0 = (np.count_nonzero(change <= 0), np.count_nonzero(change >= 0))
    p_value = min(2 * (1 + min(sides_of_0)) / (1 + resamples), 1.0)
    return _comparison(name, before, after, low, high, p_value, scores.size)


def _correlations(
    name: str, sides: list[np.ndarray], scores: np.ndarray, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    # (R,) for each side, of the same draws; rows (R, S) are drawn, for their scores belong together.
    for side in sides:
        yield bootstrap.drawn(
            lambda rows, side=side: correlation(name, side[rows].ravel(), scores[rows].ravel()),  # type: ignore[misc]
            len(scores),
            resamples,
            seed,
        )


def _rows(evaluator: 'Evaluator', values: np.ndarray) -> np.ndarray:
    assert evaluator.query_data.scores is not None
    return values.reshape(evaluator.query_data.scores.shape)


def _together(per_query: Mapping[str, np.ndarray]) -> Iterator[tuple[list[str], np.ndarray]]:
    # The metrics that have values of the same queries, and these values (Q', M'), none of them NaN.
    groups: dict[bytes, list[str]] = {}
    for name, values in per_query.items():
        groups.setdefault(np.isfinite(values).tobytes(), []).append(name)
    for names in groups.values():
        known = np.isfinite(per_query[names[0]])
        if known.any():
            yield names, np.stack([per_query[name][known] for name in names], axis=1)


def _count(evaluator: 'Evaluator') -> int:
    return max(
        (int(np.isfinite(values).sum()) for values in evaluator.per_query.values()), default=len(evaluator.asked)
    )


def _evaluated(evaluator: 'Evaluator') -> None:
    if not evaluator.means:
        raise ArgumentError('This Evaluator has not evaluated anything yet: call evaluator.evaluate() first.')
