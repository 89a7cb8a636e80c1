"""Metrics before and after, as a table."""

import math
from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from finetuner.evaluation.intervals import Comparison
from finetuner.evaluation.spaces import less_is_better

SURE = 0.05
"""A p-value below this is no chance."""


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


def tested(compared: Mapping[str, Comparison], title: str = 'Retrieval before and after tuning') -> Table:
    """A table of metrics as `evaluation.compare` gives them: green is better, red worse, what may be chance is neither.

    Args:
        compared: by metric.
        title: over the table.
    """
    table = Table(title=title)
    table.add_column('metric')
    for column in ('before', 'after', 'change', '95 % interval', 'p-value'):
        table.add_column(column, justify='right')
    for name, row in compared.items():
        known = not math.isnan(row.p_value)
        shown = f'{row.difference:+.4f}'
        if row.p_value < SURE:
            shown = f'[{"green" if (row.difference > 0) != less_is_better(name) else "red"}]{shown}[/]'
        ends = f'{row.low:+.4f} to {row.high:+.4f}' if known else '-'
        table.add_row(
            escape(name), _number(row.before), _number(row.after), shown, ends, p_value(row.p_value) if known else '-'
        )
    return table


def p_value(value: float) -> str:
    """A p-value in three digits, '< 0.001' where it has none of them.

    >>> p_value(0.0321), p_value(0.0001)
    ('0.032', '< 0.001')
    """
    return '< 0.001' if value < 0.001 else f'{value:.3f}'


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
