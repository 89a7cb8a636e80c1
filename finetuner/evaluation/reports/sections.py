"""The parts of the page, from the verdict to how it was made."""

import platform
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from finetuner import __version__
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.intervals import Comparison
from finetuner.evaluation.reports.atlas import drawn
from finetuner.evaluation.reports.changes import (
    answered,
    most_changed,
    truth_of,
)
from finetuner.evaluation.reports.examples import example
from finetuner.evaluation.reports.markup import Markup, breakable, element, joined, section
from finetuner.evaluation.reports.pictures import Gallery, Show
from finetuner.evaluation.spaces import less_is_better
from finetuner.evaluation.table import SURE, p_value
from finetuner.evaluation.verdict import ENOUGH


def head(title: str, metric: str, main: Comparison) -> Markup:
    """The title, the verdict, and links to the sections."""
    word, text = verdict(metric, main)
    links = [
        ('metrics', 'Metrics'),
        ('ranks', 'Ranks'),
        ('improved', 'Improved'),
        ('worsened', 'Worsened'),
        ('map', 'Map'),
        ('pairs', 'Similarities'),
        ('origin', 'How it was made'),
    ]
    improved, worsened = _counts(metric, main)
    counts = (('improved', improved), ('unchanged', main.tied), ('worsened', worsened))
    tiles = [element('div', element('b', f'{count:,}'), ' ', name, class_=f'tile {name}') for name, count in counts]
    kind = {'Better.': ' better', 'Worse.': ' worse'}.get(word, '')
    return element(
        'header',
        element('h1', title),
        element('p', element('b', word), ' ', text, class_=f'verdict{kind}'),
        element('div', element('span', f'Of {main.queries:,} queries, by {metric}:'), *tiles, class_='tiles'),
        element('nav', *(element('a', said, href=f'#{name}') for name, said in links), aria_label='Sections'),
    )


def verdict(metric: str, main: Comparison) -> tuple[str, str]:
    """What is to be said first: a word or two, and a sentence."""
    how = 'rose' if main.difference > 0 else 'fell' if main.difference < 0 else 'stayed'
    change = (
        f'{metric} {how} from {main.before:.4f} to {main.after:.4f} ({main.difference:+.4f}, 95 % interval '
        f'{main.low:+.4f} to {main.high:+.4f}, p {_chance(main.p_value, "= ")}).'
    )
    if main.queries < ENOUGH:
        return 'Too few queries to tell.', f'Of {main.queries} queries, {change} {ENOUGH} are needed for a verdict.'
    if not np.isfinite((main.difference, main.p_value)).all():
        return 'No difference can be told.', f'{metric} is not known for each query.'
    if main.p_value >= SURE:
        often = f'Chance alone makes as large a difference in {main.p_value:.0%} of cases.'
        return 'No difference can be told.', f'{change} {often}'
    return ('Better.' if (main.difference > 0) != less_is_better(metric) else 'Worse.'), change


def metrics(compared: Mapping[str, Comparison], before: Evaluator, after: Evaluator, seed: int) -> Markup:
    """The table of all metrics."""
    ends = [side.intervals(seed=seed) for side in (before, after)]
    titles = ('Metric', 'Before', 'After', 'Difference', 'p-value')
    rows = []
    for name, row in compared.items():
        sign = '▲ ' if row.difference > 0 else '▼ ' if row.difference < 0 else ''
        sure = row.p_value < SURE
        kind = ('better' if (row.difference > 0) != less_is_better(name) else 'worse') if sure else 'same'
        rows.append(
            element(
                'tr',
                element('th', breakable(name), scope='row'),
                *(
                    element('td', f'{value:.4f}', _range(side.get(name), '.4f'))
                    for value, side in ((row.before, ends[0]), (row.after, ends[1]))
                ),
                element(
                    'td', element('b', f'{sign}{row.difference:+.4f}'), _range((row.low, row.high), '+.4f'), class_=kind
                ),
                element('td', _chance(row.p_value)),
            )
        )
    table = element(
        'table',
        element('caption', 'Means over the queries; below them 95 % intervals'),
        element('thead', element('tr', *(element('th', title, scope='col') for title in titles))),
        element('tbody', *rows),
    )
    note = (
        'An interval is where the mean lies if other such queries are asked (bootstrap). The p-value is how '
        'often chance alone makes so large a difference: low ones speak against chance. Each row is judged by itself.'
    )
    return section(
        'Metrics',
        element('div', table, class_='wide', tabindex=0, role='region', aria_label='Metrics'),
        element('p', note, class_='note'),
        name='metrics',
    )


def examples(
    metric: str, main: Comparison, before: Evaluator, after: Evaluator, count: int, show: Show | None
) -> tuple[Markup, Markup]:
    """The queries that improved most, and those that worsened most."""
    change = after.per_query[metric] - before.per_query[metric]
    rows = most_changed(-change if less_is_better(metric) else change, count)
    found, gallery = [], Gallery(show)
    for name, there, chosen in zip(('improved', 'worsened'), _counts(metric, main), rows, strict=True):
        shown = [example(int(row), metric, before, after, gallery) for row in chosen]
        text = f'{len(shown)} of the {there:,} queries that {name} by {metric}'
        text += '; their first results. ✓ is right, ✗ is wrong.' if shown else '.'
        found.append(section(f'Queries that {name} most', element('p', text, class_='note'), *shown, name=name))
    return found[0], found[1]


def atlas(before: Evaluator, after: Evaluator, projection: str, seed: int) -> Markup:
    """The map of the embeddings."""
    return section('Map of the embeddings', drawn(before, after, projection, seed), name='map')


def origin(before: Evaluator, after: Evaluator, metric: str, seed: int, moment: datetime) -> Markup:
    """What the page was made of."""
    truth, settings = truth_of(before), before.settings
    assert before.embeddings is not None and after.embeddings is not None
    was, now = (vectors[0].shape[1] for vectors in (before.embeddings, after.embeddings))
    asked, every = len(before.asked), len(truth.queries)
    facts: list[tuple[str, Any]] = [
        ('Queries', f'{every:,}' if asked == every else f'{asked:,} of {every:,}'),
        ('Without a relevant item, left out', f'{asked - len(answered(before)):,}'),
        ('Searched items', f'{len(truth.index):,}'),
        ('Numbers of a vector', f'{was:,} before, {now:,} after'),
        ('Distance', before.distance),
        ('Results that count (limit)', 'all' if settings['limit'] is None else settings['limit']),
        ('A query finds itself', 'no' if settings['exclude_self'] else 'yes'),
        ('Definitions of metrics', "the original's" if settings['legacy'] else 'standard'),
        ('Examples chosen by', metric),
        ('Seed of what is drawn', seed),
        ('Finetuner', __version__),
        ('NumPy', np.__version__),
        ('Python', platform.python_version()),
        ('Made', f'{moment:%Y-%m-%d %H:%M} UTC'),
    ]
    rows = [joined(element('dt', name), element('dd', value)) for name, value in facts]
    return section('How this was made', element('dl', *rows), name='origin')


def _counts(metric: str, main: Comparison) -> tuple[int, int]:
    # How many queries improved, and worsened.
    rose, fell = main.rose or 0, main.fell or 0
    return (fell, rose) if less_is_better(metric) else (rose, fell)


def _range(ends: tuple[float, float] | None, form: str) -> Markup:
    if ends is None or not np.isfinite(ends).all():
        return Markup('')
    return element('small', f'{ends[0]:{form}} to\u00a0{ends[1]:{form}}')


def _chance(value: float, sign: str = '') -> str:
    said = p_value(value).replace(' ', '\u00a0') if np.isfinite(value) else '-'
    return said if said.startswith('<') else sign + said
