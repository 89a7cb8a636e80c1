"""Metrics and examples before and after, in the terminal."""

from collections.abc import Mapping

import numpy as np

from finetuner.console import live_console
from finetuner.errors import ArgumentError, whole_number
from finetuner.evaluation.evaluator import KEPT, Evaluator
from finetuner.evaluation.examples import Found, examples, shown
from finetuner.evaluation.intervals import compare
from finetuner.evaluation.reports.changes import judge, most_changed
from finetuner.evaluation.spaces import less_is_better
from finetuner.evaluation.table import comparison, tested

Measured = Evaluator | Mapping[str, float]
"""An evaluator that has evaluated, or what `evaluate` gave."""


def display_metrics(before: Measured, after: Measured) -> None:
    """Print the metrics before and after as a table.

    Args:
        before: an `Evaluator` that has evaluated, or what `finetuner.evaluate` gave.
        after: the same of the other model. Of two evaluators it is told, too, how sure a difference is.

    Raises:
        ArgumentError: an evaluator has not evaluated, or they evaluated other data.
    """
    for name, side in (('before', before), ('after', after)):
        if not isinstance(side, Mapping):
            _check(name, side)
    if isinstance(before, Evaluator) and isinstance(after, Evaluator):
        live_console.print(tested(compare(before, after)))
    else:
        live_console.print(comparison(_means(before), _means(after)))


def display_examples(
    before: Evaluator, after: Evaluator, k: int = 5, *, num_examples: int = 5, metric: str | None = None
) -> None:
    """Print what those queries found before and after whose results improved most, and worsened most.

    Args:
        before: has evaluated the first model.
        after: has evaluated the second one, on the same data.
        k: how many results of each query; five are kept.
        num_examples: how many queries; the larger half are those that improved, if so many did and as many worsened.
        metric: by which they are chosen; None takes 'average_precision' if it was measured, else the first.

    Raises:
        ArgumentError: an evaluator has not evaluated, they evaluated other data, or a number is impossible.
    """
    results = whole_number('k', k, 1)
    if results > KEPT:
        raise ArgumentError(f'k={k}: an evaluator keeps the first {KEPT} results of a query.')
    count = whole_number('num_examples', num_examples, 1)
    for name, side in (('before', before), ('after', after)):
        _check(name, side)
        if side.query_data.kind == 'score':
            raise ArgumentError(
                f'{name} evaluates scored pairs, which have no queries and no results that could be shown. '
                f'evaluation.display_metrics(before, after) compares their correlations.'
            )
    compared = compare(before, after, resamples=1)  # refuses what cannot be compared
    chosen = judge(metric, compared, before, after)
    change = after.per_query[chosen] - before.per_query[chosen]
    better, worse = most_changed(-change if less_is_better(chosen) else change, count)
    most = max((count + 1) // 2, count - len(worse))  # where few worsened, more that improved
    rows = np.concatenate([better[:most], worse[: count - len(better[:most])]])
    if not len(rows):
        live_console.print(f'No query has another {chosen} after than before.', markup=False)
        return
    changed = np.isin(np.arange(len(change)), rows)
    was, now = (
        Found(np.where(changed, side.per_query[chosen], np.nan), side.nearest[:, :results]) for side in (before, after)
    )
    live_console.print(shown(examples(before, before.settings['exclude_self'], chosen, was, now, len(rows))))


def _check(name: str, side: object) -> None:
    if not isinstance(side, Evaluator):
        raise ArgumentError(
            f'{name} is {type(side).__name__}: expected an Evaluator that has evaluated, such as '
            f'{name} = Evaluator(data, model=model) and {name}.evaluate().'
        )
    if not side.means:
        raise ArgumentError(f'{name} has not evaluated anything yet: call {name}.evaluate() first.')


def _means(measured: Measured) -> Mapping[str, float]:
    return measured.means if isinstance(measured, Evaluator) else measured
