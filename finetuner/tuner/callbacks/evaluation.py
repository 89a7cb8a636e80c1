"""Measure retrieval before training and after every epoch."""

from collections.abc import Sequence
from typing import Any

from finetuner.console import live_console
from finetuner.errors import ArgumentError
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.measures import resolve
from finetuner.evaluation.table import comparison
from finetuner.tuner.callbacks.base import Callback


class EvaluationCallback(Callback):
    """Searches the index with the queries, and notes the metrics in `tuner.state.eval_metrics` and in the history.

    Args:
        query_data: what is searched for; any data that `fit` takes.
        index_data: what is searched; None searches the queries themselves.
        metrics: as `Evaluator` takes them; None takes the usual ones.
        exclude_self: whether a query is no result of its own search.
        limit: how many results count; a list gives the metrics at each.
        distance: 'cosine', 'euclidean', 'sqeuclidean' or 'dot'.
        num_workers: processes that prepare batches.
        batch_size: items encoded at a time.
        show: whether to print a table of before and after when training ends.
        name: stands before the names of the metrics, `name/precision_at_k`; tells several of these callbacks apart.
    """

    def __init__(
        self,
        query_data: Any,
        index_data: Any = None,
        *,
        metrics: Any = None,
        exclude_self: bool = True,
        limit: int | Sequence[int] = 20,
        distance: str = 'cosine',
        num_workers: int = 0,
        batch_size: int | None = None,
        show: bool = True,
        name: str | None = None,
    ) -> None:
        self.evaluator = Evaluator(query_data, index_data, metrics=metrics)
        self.options: dict[str, Any] = {'exclude_self': exclude_self, 'limit': limit, 'distance': distance}
        self.num_workers = num_workers
        self.batch_size = batch_size
        self.show = show
        self.prefix = f'{name}/' if name else ''

    def metrics(self) -> set[str]:
        """The names that a monitor can watch."""
        return {self.prefix + name for name in self.evaluator.names(self.options['limit'])}

    def check(self, tuner: Any) -> None:
        """Refuse two callbacks whose metrics have the same names."""
        others = [callback for callback in tuner.callbacks if callback is not self]
        if any(self.metrics() & callback.metrics() for callback in others):
            raise ArgumentError(
                'Two EvaluationCallbacks measure metrics of the same names: give one of them a name, '
                "EvaluationCallback(…, name='unseen')."
            )

    def metric(self, name: str) -> str | None:
        """With `limit=20`, 'precision_at_20' is 'precision_at_k'."""
        try:
            bare = {known.removeprefix(self.prefix) for known in self.metrics()}
            return self.prefix + resolve(name.removeprefix(self.prefix), bare, self.options['limit'])
        except ArgumentError:
            return None

    def on_fit_begin(self, tuner: Any) -> None:
        """Measure the untrained model."""
        if not self.metrics() <= set(tuner.state.before):
            self.measure(tuner)

    def on_epoch_end(self, tuner: Any) -> None:
        """Measure."""
        self.measure(tuner)

    def on_fit_end(self, tuner: Any) -> None:
        """Show before and after."""
        if self.show and tuner.state.history:
            before, after = (
                {name: value for name, value in found.items() if name in self.metrics()}
                for found in (tuner.state.before, tuner.state.eval_metrics)
            )
            live_console.print(comparison(before, after))

    def measure(self, tuner: Any) -> None:
        """Measure the model as it is now."""
        self.evaluator.model = tuner.encoder
        metrics = self.evaluator.evaluate(
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            preprocess_fn=tuner.preprocess_fn,
            collate_fn=tuner.collate_fn,
            **self.options,
        )
        tuner.state.measured({self.prefix + name: value for name, value in metrics.items()})
