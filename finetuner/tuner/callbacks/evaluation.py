"""Measure retrieval before training, after every epoch, and every so many updates."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from finetuner.console import live_console, logger
from finetuner.errors import ArgumentError, FinetunerError, whole_number
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.examples import Found, examples, shown
from finetuner.evaluation.measures import main_metric, resolve
from finetuner.evaluation.reports.page import check_file, report as write_report
from finetuner.evaluation.table import comparison
from finetuner.inference import BATCH_SIZE
from finetuner.tuner.callbacks.base import Callback
from finetuner.world import current

_CHANCE = 3  # tells this chance from that of batches and of class means


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
        batch_size: items encoded at a time; 64, or the `mini_batch_size` of the training if that is less.
        show: whether to print a table of before and after when training ends.
        name: stands before the names of the metrics, `name/precision_at_k`; tells several of these callbacks apart.
        caption: the same, as the original called it.
        steps_per_interval: measures after every so many updates too; see `History.steps`.
        query_sample_size: so many queries, drawn by the seed of the training, are asked in place of all; the whole
            index is searched.
        gather_examples: whether to keep, in `History.examples`, and show what queries find before and after: those
            whose results became better most, and worse most.
        num_example_queries: how many queries these are.
        report: where to write the page of `evaluation.report` when training ends; till then the vectors of before are
            kept.
        model: for models by name of two towers, like the three that follow: None here.
        index_model: None here.
        multi_modal: False here.
        output_model_names: False here.

    Raises:
        ArgumentError: a number is impossible, or an argument is for models by name.
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
        caption: str | None = None,
        steps_per_interval: int | None = None,
        query_sample_size: int | None = None,
        gather_examples: bool = False,
        num_example_queries: int = 5,
        report: str | os.PathLike[str] | None = None,
        model: Any = None,
        index_model: Any = None,
        multi_modal: bool = False,
        output_model_names: bool = False,
    ) -> None:
        towers = {'model': model, 'index_model': index_model}
        towers |= {'multi_modal': multi_modal, 'output_model_names': output_model_names}
        for option, value in towers.items():
            if value:
                raise ArgumentError(
                    f'EvaluationCallback({option}={value!r}): that is for models by name that have two towers, such as '
                    f'CLIP. A model object has one: leave {option} out.'
                )
        if name and caption and name != caption:
            raise ArgumentError(f'name={name!r} and caption={caption!r} are the same thing: give one.')
        self.evaluator = Evaluator(query_data, index_data, metrics=metrics)
        if self.evaluator.query_data.kind == 'score' and (gather_examples or report or query_sample_size is not None):
            raise ArgumentError(
                'Scored pairs have no queries: leave gather_examples, report and query_sample_size out.'
            )
        self.options: dict[str, Any] = {'exclude_self': exclude_self, 'limit': limit, 'distance': distance}
        self.num_workers = num_workers
        self.batch_size = batch_size
        self.show = show
        self.prefix = f'{name or caption}/' if name or caption else ''
        self.interval = _number('steps_per_interval', steps_per_interval)
        self.sample = _number('query_sample_size', query_sample_size)
        self.examples = whole_number('num_example_queries', num_example_queries, 1) if gather_examples else 0
        self.report = None if report is None else Path(report)
        self._first: Found | None = None
        self._before: Evaluator | None = None

    def metrics(self) -> set[str]:
        """The names that a monitor can watch."""
        return {self.prefix + name for name in self.evaluator.names(self.options['limit'])}

    def check(self, tuner: Any) -> None:
        """Refuse two callbacks whose metrics have the same names."""
        self._first, self._before, self.evaluator.nearest = None, None, self.evaluator.nearest[:0]
        if self.report is not None:
            check_file(self.report)
        others = [callback for callback in tuner.callbacks if callback is not self]
        if any(self.metrics() & callback.metrics() for callback in others):
            raise ArgumentError(
                'Two EvaluationCallbacks measure metrics of the same names: give one of them a name, '
                "EvaluationCallback(…, name='unseen')."
            )
        paths = [each.report.resolve() for each in others if isinstance(each, EvaluationCallback) and each.report]
        if self.report is not None and self.report.resolve() in paths:
            raise ArgumentError(
                f'Two EvaluationCallbacks write their report to one file, {str(self.report)!r}: give each its own.'
            )

    def metric(self, name: str) -> str | None:
        """With `limit=20`, 'precision_at_20' is 'precision_at_k'."""
        try:
            bare = {known.removeprefix(self.prefix) for known in self.metrics()}
            return self.prefix + resolve(name.removeprefix(self.prefix), bare, self.options['limit'])
        except ArgumentError:
            return None

    def arrays(self, tuner: Any) -> Mapping[str, np.ndarray]:
        """What the queries found before the training, where examples are wanted."""
        return {} if self._first is None else self._first._asdict()

    def restore(self, tuner: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Take it back."""
        self._first = Found(**arrays) if arrays else None

    def on_fit_begin(self, tuner: Any) -> None:
        """Measure the untrained model."""
        if not self.metrics() <= set(tuner.state.before):
            self.measure(tuner)
            if self.examples:
                self._first = self._found()
            if self.report is not None:
                self._before = copy(self.evaluator)  # which keeps what it has; the next evaluation makes new arrays
        elif self.examples and self._first is None:
            logger.warning('The checkpoint has no examples from before the training: none will be shown.')
        if self.report is not None and self._before is None:
            logger.warning('The checkpoint has no vectors from before the training: no report will be written.')
        self._within(tuner)  # Ctrl-C may have come between an update and the hook

    def on_train_batch_end(self, tuner: Any) -> None:
        """Measure, if it is time; the last update of an epoch is measured at its end."""
        self._within(tuner)

    def on_epoch_end(self, tuner: Any) -> None:
        """Measure."""
        self.measure(tuner)

    def on_fit_end(self, tuner: Any) -> None:
        """Show before and after."""
        state = tuner.state
        if not state.history:
            return
        if self._first is not None:
            if not len(self.evaluator.nearest):  # a training that was over when it was resumed
                self.values(tuner)
            metric, first, last = self._judge(), self._first, self._found()
            gathered = examples(self.evaluator, self.options['exclude_self'], metric, first, last, self.examples)
            state.examples += [example | {'metric': self.prefix + metric} for example in gathered]
            if self.show:
                live_console.print(shown(gathered))
        if self.show:
            before, after = (
                {name: value for name, value in found.items() if name in self.metrics()}
                for found in (state.before, state.eval_metrics)
            )
            live_console.print(comparison(before, after))
        if self.report is not None and self._before is not None and not current().rank:
            self._write(self._before, self.report)
        self._before = self.evaluator.embeddings = None

    def values(self, tuner: Any) -> dict[str, float]:
        """The metrics of the model as it is now, by their names in the history."""
        self.evaluator.model = tuner.encoder
        metrics = self.evaluator.evaluate(
            batch_size=self.batch_size or (tuner.mini_batch_size and min(tuner.mini_batch_size, BATCH_SIZE)),
            num_workers=self.num_workers,
            preprocess_fn=tuner.preprocess_fn,
            collate_fn=tuner.collate_fn,
            rows=self._asked(tuner.seed),
            **self.options,
        )
        if self.report is None or current().rank:
            self.evaluator.embeddings = None  # large, and of no use here
        return {self.prefix + name: value for name, value in metrics.items()}

    def _write(self, before: Evaluator, path: Path) -> None:
        try:
            title = f'Before and after tuning: {self.prefix[:-1]}' if self.prefix else 'Before and after tuning'
            logger.info('Before and after: %s', write_report(before, self.evaluator, path, title=title))
        except Exception as error:  # a training is not lost for it, whatever it is
            known = isinstance(error, FinetunerError | OSError)
            logger.error('No report was written: %s', error if known else f'{type(error).__name__}: {error}')

    def _within(self, tuner: Any) -> None:
        state = tuner.state
        due = self.interval and state.step % self.interval == 0 and state.step % state.num_batches_train
        done = state.steps and state.steps[-1]['step'] == state.step and self.metrics() <= set(state.steps[-1])
        if due and not done:
            state.measured_within(self.values(tuner))

    def _asked(self, seed: int) -> np.ndarray | None:
        # The same queries each time, of those that have something to find.
        if self.sample is None:
            return None
        able = np.flatnonzero(self.evaluator.truth(self.options['exclude_self']).n_relevant)
        drawn = np.random.default_rng((seed, _CHANCE)).permutation(able)[: self.sample]
        return np.sort(drawn)

    def _judge(self) -> str:
        # The metric that examples are chosen by.
        return main_metric(None, self.evaluator.per_query)

    def _found(self) -> Found:
        return Found(self.evaluator.per_query[self._judge()], self.evaluator.nearest)


def _number(name: str, value: Any) -> int | None:
    return None if value is None else whole_number(name, value, 1)
