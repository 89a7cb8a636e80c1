"""What happened in a training: numbers by epoch, and their curves as a picture."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetuner.console import live_console
from finetuner.errors import ArgumentError, MissingExtraError, nearest, whole_number
from finetuner.evaluation.examples import shown
from finetuner.evaluation.table import comparison
from finetuner.tuner.state import TunerState

LOSSES = ('train_loss', 'val_loss')


@dataclass(frozen=True)
class History:
    """What happened in a training.

    Attributes:
        before: the retrieval metrics of the untrained model, by name; empty if none were measured.
        epochs: one dict an epoch: `epoch`, `train_loss`, `val_loss` (with `eval_data`), every metric,
            `learning_rates` and `seconds`.
        final: the metrics of the model that came of it, where its weights are not those of the last epoch.
        verdict: what the guard found: `metric`, `queries`, `before`, `after`, the standard `error` of their difference,
            the `word` 'better', 'same', 'worse' or 'none', and the `epoch` whose weights the model has, 0 for those
            that it began with; empty without held-out data.
        steps: one dict for every moment within an epoch at which an EvaluationCallback measured: `step` (updates done),
            `epoch` (how many were trained by then, such as 1.5) and its metrics.
        examples: what an EvaluationCallback with `gather_examples` kept, one dict a query: `query`, `metric`, `before`
            and `after` (its value), `found_before` and `found_after` (what was found, nearest first) and
            `right_before` and `right_after` (whether it is relevant).
        found: what was found by trying before the training, where it was asked for or needed: `batch_size`,
            `mini_batch_size`, `learning_rate`; and with the latter, of the range test, the `usual` rate, and for every
            update its rate (`rates`), its loss (`losses`) and the smoothed loss (`smooth`).
    """

    before: dict[str, float]
    epochs: list[dict[str, Any]]
    final: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, state: TunerState) -> 'History':
        """The history in a state."""
        before, after, verdict = dict(state.before), dict(state.after), dict(state.verdict)
        epochs, steps, examples = list(state.history), list(state.steps), list(state.examples)
        return cls(before, epochs, after, verdict, steps, examples, dict(state.found))

    @property
    def after(self) -> dict[str, float]:
        """The same metrics as `before`, of the trained model."""
        last = {**self.epochs[-1], **self.final} if self.epochs else {}
        return {name: last[name] for name in self.before if name in last}

    def display_metrics(self) -> None:
        """Print the metrics before and after as a table.

        Raises:
            ArgumentError: none were measured.
        """
        if not self.before:
            raise ArgumentError(
                'No metrics were measured in this training: give fit eval_data, or an EvaluationCallback.'
            )
        live_console.print(comparison(self.before, self.after))

    def display_examples(self, k: int = 5) -> None:
        """Print what the queries in `examples` found before and after.

        Args:
            k: how many results of each; five are kept.

        Raises:
            ArgumentError: none were kept, or k is no number of results.
        """
        count = whole_number('k', k, 1)
        if not self.examples:
            raise ArgumentError(
                'No examples were kept in this training: callbacks=[EvaluationCallback(data, gather_examples=True)] '
                'keeps some.'
            )
        cut = [
            {name: value[:count] if isinstance(value, list) else value for name, value in example.items()}
            for example in self.examples
        ]
        live_console.print(shown(cut))

    def plot(self, path: str | Path = 'history.png', metrics: Sequence[str] | None = None) -> Path:
        """Draw the losses and the metrics over the epochs; metrics begin before the first, and `final` are stars.

        Args:
            path: of the picture; its ending says whether it is PNG, SVG or PDF.
            metrics: the names of those to draw; all by default.

        Returns:
            `path`.

        Raises:
            ArgumentError: there is nothing to draw, or no metric of that name.
            MissingExtraError: matplotlib is not installed.
        """
        figure_of = _figure()
        if not self.epochs:
            raise ArgumentError('No epoch was trained to its end: there is nothing to draw.')
        losses = [name for name in LOSSES if name in self.epochs[0]]
        for name in metrics or ():
            if name not in self.before:
                raise ArgumentError(f'metrics: {name!r} was not measured. {nearest(name, self.before)}')
        chosen = [name for name in self.before if metrics is None or name in metrics]
        figure = figure_of(figsize=(10 if chosen else 5, 4), layout='constrained')
        panels = figure.subplots(1, 2 if chosen else 1, squeeze=False)[0]
        numbers = [record['epoch'] + 1 for record in self.epochs]
        for name in losses:
            panels[0].plot(numbers, [record[name] for record in self.epochs], marker='.', label=name)
        for name in chosen:
            values = [record.get(name, float('nan')) for record in self.epochs]
            within = [(record['epoch'], record[name]) for record in self.steps if name in record]
            points = sorted([(numbers[0] - 1, self.before[name]), *zip(numbers, values, strict=True), *within])
            (line,) = panels[1].plot(*zip(*points, strict=True), marker='.', label=name)
            if name in self.final:
                panels[1].plot(numbers[-1], self.final[name], marker='*', color=line.get_color(), markersize=12)
        for panel, title in zip(panels, ('loss', 'retrieval'), strict=False):
            panel.set(title=title, xlabel='epoch')
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.legend(fontsize='small')
        return _saved(figure, path)

    def plot_range_test(self, path: str | Path = 'range_test.png') -> Path:
        """Draw the loss over the learning rates of the range test, with the one that was taken and the usual one.

        Args:
            path: as in `plot`.

        Returns:
            `path`.

        Raises:
            ArgumentError: there was no range test.
            MissingExtraError: matplotlib is not installed.
        """
        figure_of = _figure()
        if 'rates' not in self.found:
            raise ArgumentError("There was no range test: nothing to draw. fit(…, learning_rate='find') makes one.")
        figure = figure_of(figsize=(5, 4), layout='constrained')
        panel, seen = figure.subplots(), self.found
        (line,) = panel.plot(seen['rates'], seen['losses'], '.', markersize=3)
        panel.plot(seen['rates'], seen['smooth'], color=line.get_color(), label='loss')
        panel.axvline(seen['learning_rate'], color='C1', label=f'taken: {seen["learning_rate"]:g}')
        panel.axvline(seen['usual'], color='grey', linestyle=':', label=f'usual: {seen["usual"]:g}')
        panel.set(title='range test', xlabel='learning rate', xscale='log')
        panel.legend(fontsize='small')
        return _saved(figure, path)

    def rows(self) -> list[dict[str, Any]]:
        """A flat dict an epoch, one before them with the metrics of the untrained model, and one after for `final`.

        `epoch` is how many epochs were trained by then; learning rates are called `learning_rate/model`. What was
        measured within epochs stands between them: `epoch` is no whole number there, and `step` counts updates.
        """
        found: list[dict[str, Any]] = [{'epoch': 0, **self.before}] if self.before else []
        for record in self.epochs:
            rates = {f'learning_rate/{name}': rate for name, rate in record['learning_rates'].items()}
            numbers = {name: value for name, value in record.items() if name != 'learning_rates'}
            found.append(numbers | {'epoch': record['epoch'] + 1} | rates)
        found = sorted([*found, *self.steps], key=operator.itemgetter('epoch'))
        return [*found, {'epoch': len(self.epochs), **self.final}] if self.final else found


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingExtraError("Pictures are drawn by matplotlib: pip install 'finetuner[plot]'") from error
    return Figure


def _saved(figure: Any, path: str | Path) -> Path:
    try:
        figure.savefig(path, dpi=120)
    except ValueError as error:  # a format that matplotlib does not know
        raise ArgumentError(f'{path}: expected a name that ends in .png, .svg or .pdf.') from error
    return Path(path)
