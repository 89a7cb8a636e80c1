"""Metrics before and after, as a table."""

import math
from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from finetuner.evaluation.spaces import less_is_better


def comparison(
    before: Mapping[str, float], after: Mapping[str, float], title: str = 'Retrieval before and after tuning'
) -> Table:
    """A table of metrics with a row for each name, and by how much it changed: green is better, red worse.

    Args:
        before: values by metric; more is better, except of a loss, alignment and uniformity.
        after: values by metric; what one side lacks is shown as -.
        title: over the table.
    """
    table = Table(title=title)
    table.add_column('metric')
    for column in ('before', 'after', 'change'):
        table.add_column(column, justify='right')
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        table.add_row(escape(name), _number(old), _number(new), _change(name, old, new))
    return table


def _number(value: float | None) -> str:
    return '-' if value is None else f'{value:.4f}'


def _change(name: str, old: float | None, new: float | None) -> str:
    if old is None or new is None or math.isnan(new - old):
        return '-'
    shown = f'{new - old:+.4f}'
    if float(shown) == 0:
        return '0.0000'
    better = (new > old) != less_is_better(name)
    return f'[{"green" if better else "red"}]{shown}[/]'
