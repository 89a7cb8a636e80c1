"""Queries whose results changed most: what they found before and after."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

from finetuner.data.records import Records
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.spaces import less_is_better

LONGEST = 60  # characters of a text


class Found(NamedTuple):
    """What the queries of an evaluation found.

    Attributes:
        values: (Q,) a metric of each query, NaN where it was not asked.
        places: (Q, 5) what each found first, -1 is none.
    """

    values: np.ndarray
    places: np.ndarray


def examples(
    evaluator: Evaluator, exclude_self: bool, metric: str, before: Found, after: Found, count: int
) -> list[dict[str, Any]]:
    """The queries whose metric improved most and worsened most, for `History.examples`.

    Args:
        evaluator: of both evaluations.
        exclude_self: as they had it.
        metric: the name of `values`.
        before: what was found before.
        after: what was found after.
        count: how many queries; the larger half are those that improved most.
    """
    truth = evaluator.truth(exclude_self)
    index = evaluator.query_data if evaluator.index_data is None else evaluator.index_data
    change = (after.values - before.values) * (-1 if less_is_better(metric) else 1)
    asked = np.flatnonzero(~np.isnan(change))
    rising = asked[np.argsort(-change[asked], kind='stable')]
    best = rising[: (count + 1) // 2]
    worst = rising[len(best) :][::-1][: count // 2]
    found = []
    for row in [*best, *worst]:
        example: dict[str, Any] = {'query': said(evaluator.query_data, truth.queries[row]), 'metric': metric}
        for moment, side in (('before', before), ('after', after)):
            places = side.places[row]
            places = places[places >= 0]
            right = truth.relevance(np.array([row]), places[None])[0] > 0
            example[moment] = float(side.values[row])
            example[f'found_{moment}'] = [said(index, item) for item in truth.index[places]]
            example[f'right_{moment}'] = right.tolist()
        found.append(example)
    return found


def said(records: Records, item: int) -> str:
    """An item for people: its text, cut where it is long, or else its name."""
    content = records.contents[int(item)]
    text = content if isinstance(content, str) else getattr(content, 'text', None)
    if not isinstance(text, str) or not text.strip():
        return str(records.names[int(item)])
    flat = ' '.join(text.split())
    return flat if len(flat) <= LONGEST else f'{flat[: LONGEST - 1]}…'


def shown(examples: Sequence[Mapping[str, Any]], title: str = 'What queries find before and after tuning') -> Table:
    """A table of examples; results that are right have a green tick, wrong ones a red cross."""
    table = Table(title=title, show_lines=True)
    for column in ('query', 'before', 'after'):
        table.add_column(column)
    for example in examples:
        sides = []
        for moment in ('before', 'after'):
            results = zip(example[f'found_{moment}'], example[f'right_{moment}'], strict=True)
            lines = [
                f'[{"green" if right else "red"}]{"✓" if right else "✗"}[/] {escape(text)}' for text, right in results
            ]
            sides.append('\n'.join([f'{example["metric"]} {example[moment]:.3f}', *lines]))
        table.add_row(escape(example['query']), *sides)
    return table
