"""A query with what it found before and after."""

import numpy as np

from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.reports.changes import truth_of
from finetuner.evaluation.reports.markup import Markup, element, joined
from finetuner.evaluation.reports.pictures import Gallery, Item


def example(row: int, metric: str, before: Evaluator, after: Evaluator, gallery: Gallery) -> Markup:
    """A query with its first results before and after.

    Args:
        row: the number of the query.
        metric: whose values are told.
        before: has evaluated the first model.
        after: has evaluated the second one.
        gallery: shows items.
    """
    query = gallery(before.query_data, int(truth_of(before).queries[row]))
    was, now = (float(side.per_query[metric][row]) for side in (before, after))
    found = [_results(row, moment, side, gallery) for moment, side in (('Before', before), ('After', after))]
    return element(
        'article',
        element('h3', query.name, *([' · ', query.label] if query.label else [])),
        element('p', f'{metric} {was:.4f} → {now:.4f}', class_='values'),
        element('div', _body(query, 'query'), class_='query'),
        element('div', *found, class_='sides'),
    )


def _results(row: int, moment: str, side: Evaluator, gallery: Gallery) -> Markup:
    truth, places = truth_of(side), side.nearest[row]
    places = places[places >= 0]
    right = truth.relevance(np.array([row]), places[None])[0] > 0
    index = side.query_data if side.index_data is None else side.index_data
    items = [gallery(index, int(item)) for item in truth.index[places]]
    pictured = any(item.picture for item in items)
    entries = [_result(item, bool(good)) for item, good in zip(items, right, strict=True)]
    return element(
        'div',
        element('h4', f'{moment}: {int(right.sum())} of {len(places)} right'),
        element('ol', *entries, class_='pictures' if pictured else 'texts'),
    )


def _result(item: Item, right: bool) -> Markup:
    word = 'right' if right else 'wrong'
    sign = element('span', '✓' if right else '✗', role='img', aria_label=word, class_='sign')
    label = element('small', item.label, dir='auto', class_='label') if item.label else Markup('')
    return element('li', sign, _body(item, word), label, class_=word)


def _body(item: Item, role: str) -> Markup:
    if item.picture is None:
        return element('span', item.text or item.name, dir='auto', class_='text')
    label = f', {item.label}' if item.label else ''
    return joined(
        element('img', src=item.picture, alt=f'{item.name}{label}: {role}', class_='few' if item.few else None)
    )
