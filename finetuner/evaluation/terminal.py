"""Metrics and examples before and after, in the terminal."""

from collections.abc import Mapping

from finetuner.console import live_console
from finetuner.errors import ArgumentError, whole_number
from finetuner.evaluation.evaluator import KEPT, Evaluator
from finetuner.evaluation.examples import Found, examples, shown
from finetuner.evaluation.intervals import compare
from finetuner.evaluation.measures import main_metric
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
        num_examples: how many queries; the larger half are those that improved.
        metric: by which they are chosen; None takes 'average_precision' if it was measured, else the first.

    Raises:
        ArgumentError: an evaluator has not evaluated, they evaluated other data, or a number is impossible.
    """
    results = whole_number('k', k, 1)
    if results > KEPT:
        raise ArgumentError(f'k={k}: an evaluator keeps the first {KEPT} results of a query.')
    count = whole_number('num_examples', num_examples, 1)
    compare(before, after, resamples=1)  # refuses what cannot be compared
    chosen = main_metric(metric, before.per_query, before.settings['limit'])
    was, now = (Found(side.per_query[chosen], side.nearest[:, :results]) for side in (before, after))
    live_console.print(shown(examples(before, before.settings['exclude_self'], chosen, was, now, count)))


def _means(measured: Measured) -> Mapping[str, float]:
    return measured.means if isinstance(measured, Evaluator) else measured
