"""How ranks and similarities are spread, before and after."""

import numpy as np

from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.reports.changes import (
    QUERIES,
    above,
    answered,
    first_ranks,
    pairs as drawn_pairs,
    sample,
    similarities,
)
from finetuner.evaluation.reports.charts import outlines
from finetuner.evaluation.reports.markup import Markup, element, section

# Ends of the bars of rank changes: 1, 2 to 3, 4 to 10, …
_STEPS = (1, 3, 10, 100)
_AXES = {
    'cosine': 'cosine similarity',
    'dot': 'product',
    'euclidean': 'minus the Euclidean distance',
    'sqeuclidean': 'minus the squared Euclidean distance',
}


def ranks(before: Evaluator, after: Evaluator, seed: int) -> Markup:
    """The bars of rank changes."""
    every = answered(before)
    rows = sample(every, QUERIES, seed)
    was, now = first_ranks(before, rows), first_ranks(after, rows)
    bars = rank_changes(was - now)
    top = max(count for _, _, count in bars) or 1
    body = [
        element(
            'tr',
            element('th', name, scope='row'),
            element('td', f'{count:,}', class_='number'),
            element(
                'td',
                element('div', class_=f'bar {kind}', style=f'width:{100 * count / top:.1f}%') if count else '',
                aria_hidden='true',
            ),
        )
        for name, kind, count in bars
    ]
    which = (
        f'{len(rows):,} queries'
        if len(rows) == len(every)
        else f'{len(rows):,} of {len(every):,} queries, drawn by chance'
    )
    text = (
        f'A right result stood first for {(was == 1).mean():.1%} of queries before and for {(now == 1).mean():.1%} '
        f'after. The median rank of the first right one was {np.median(was):g} and is {np.median(now):g}.'
    )
    table = element(
        'table',
        element('caption', f'By how many ranks the first right result moved: {which}'),
        element(
            'thead',
            element(
                'tr',
                element('th', 'Ranks', scope='col'),
                element('th', 'Queries', scope='col'),
                element('td', aria_hidden='true'),
            ),
        ),
        element('tbody', *body),
        class_='bars',
    )
    return section('Where the first right result stands', element('p', text), table, name='ranks')


def rank_changes(change: np.ndarray) -> list[tuple[str, str, int]]:
    """The bars: a name, 'better', 'same' or 'worse', and how many queries.

    Args:
        change: (n,) by how many ranks the first right result moved up.

    >>> [bar for bar in rank_changes(np.array([5, 0, 0, -1])) if bar[2]]
    [('4 to 10 up', 'better', 1), ('as before', 'same', 2), ('1 down', 'worse', 1)]
    """
    starts = (1, *(end + 1 for end in _STEPS))
    spans = [(f'{a} to {b}' if a != b else f'{a}', a, b) for a, b in zip(starts, _STEPS, strict=False)] + [
        (f'over {_STEPS[-1]}', starts[-1], np.inf)
    ]
    found = [(f'{name} up', 'better', int(((change >= a) & (change <= b)).sum())) for name, a, b in spans[::-1]]
    found.append(('as before', 'same', int((change == 0).sum())))
    return found + [(f'{name} down', 'worse', int(((-change >= a) & (-change <= b)).sum())) for name, a, b in spans]


def pairs(before: Evaluator, after: Evaluator, seed: int) -> Markup:
    """How similar relevant and irrelevant pairs are."""
    chosen = drawn_pairs(before, seed)
    both = [similarities(side, chosen) for side in (before, after)]
    distance = before.distance
    apart = {True: int(chosen.relevant.sum()), False: int((~chosen.relevant).sum())}
    figures = []
    for title, values in zip(('Before', 'After'), both, strict=True):
        # Cosines before and after are numbers of one scale, what else there is need not be.
        reach = np.concatenate(both) if distance == 'cosine' else values
        low, high = float(reach.min()), float(reach.max())
        least = 1e-5 * max(abs(low), abs(high)) or 1.0  # where all are the same
        edges = np.linspace(min(low, high - least), high, 41)
        sides = [
            (f'{name} ({apart[kind]:,})', class_, values[chosen.relevant == kind])
            for name, class_, kind in (('relevant', 'relevant', True), ('irrelevant', 'irrelevant', False))
        ]
        top = max(np.histogram(part, edges)[0].max(initial=0) / max(len(part), 1) for _, _, part in sides) or 1
        drawing = outlines(sides, edges, f'Similarities {title.lower()}', _AXES[distance], float(top))
        right = above(sides[0][2], sides[1][2]) if all(apart.values()) else None
        text = '' if right is None else f': a relevant pair is the more similar one in {right:.1%} of cases'
        figures.append(element('figure', element('figcaption', element('b', title), text), drawing))
    key = element(
        'p',
        element('span', class_='key relevant', aria_hidden='true'),
        f' filled, solid line: {apart[True]:,} pairs of a query and an item that is relevant to it; ',
        element('span', class_='key irrelevant', aria_hidden='true'),
        f' dashed line: {apart[False]:,} pairs that are not. All are drawn by chance, the same before and after.',
        class_='note',
    )
    return section('Similarities of pairs', key, element('div', *figures, class_='two'), name='pairs')
