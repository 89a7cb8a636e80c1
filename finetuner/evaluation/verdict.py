"""Whether a model became better or worse, as far as some held-out queries can tell."""

from typing import Any, NamedTuple

import numpy as np

from finetuner.evaluation.bootstrap import drawn, standard_error
from finetuner.evaluation.correlation import correlation

ENOUGH = 30
"""Queries, below which there is no verdict."""
RESAMPLES = 200


class Verdict(NamedTuple):
    """What comparing two models on the same queries says.

    Attributes:
        metric: what is compared.
        queries: how many there are.
        before: the metric of the first model.
        after: that of the second.
        error: the bootstrap standard error of their difference, queries being drawn anew.
        word: 'better' or 'worse' by more than one standard error, 'same', or 'none' under 30 queries.
    """

    metric: str
    queries: int
    before: float
    after: float
    error: float
    word: str

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def verdict(metric: str, before: np.ndarray, after: np.ndarray, scores: np.ndarray | None = None) -> Verdict:
    """Compare two models, query by query.

    Args:
        metric: its name.
        before: (Q,) its values for the first model, or that model's similarities of scored rows.
        after: (Q,) the same of the second model.
        scores: (Q,) what the similarities should follow, where they are such; the metric is a correlation then.

    >>> verdict('map_at_r', np.array([0.5, 0.5] * 20), np.array([0.5, 1.0] * 20)).word
    'better'
    """
    if scores is None:
        known = np.isfinite(before) & np.isfinite(after)
        change = (after - before)[known]
        was, now, count = float(before[known].mean()), float(after[known].mean()), len(change)
        error = standard_error(change)
    else:
        count = len(scores)
        was, now = (correlation(metric, values, scores) for values in (before, after))

        def change_of(d: np.ndarray) -> float:
            return correlation(metric, after[d], scores[d]) - correlation(metric, before[d], scores[d])

        error = float(np.std(drawn(change_of, count, RESAMPLES, 0)))
    word = 'better' if now > was + error else 'worse' if now < was - error else 'same'
    return Verdict(metric, count, was, now, error, word if count >= ENOUGH else 'none')
