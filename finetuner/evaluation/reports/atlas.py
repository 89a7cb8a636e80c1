"""The map of the embeddings before and after."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from finetuner.data.records import Label
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.reports.changes import positions, sample, truth_of
from finetuner.evaluation.reports.charts import LOOKS, OTHER, mark, scatter
from finetuner.evaluation.reports.markup import Markup, breakable, element, joined
from finetuner.evaluation.reports.projection import Map, mapped, turned
from finetuner.evaluation.reports.words import cut, labelled

POINTS = 2000
"""Items on the map at most."""
NONE = 'no label'
# Where some groups are ticked in the legend, all others fade.
STYLE = '#map:has(input:checked) .scatter path{opacity:.06}' + ''.join(
    f'#map:has(#k{group}:checked) .g{group}.g{group}{{opacity:1}}' for group in range(LOOKS)
)


class Chosen(NamedTuple):
    """The items on the map.

    Attributes:
        queries: (n,) numbers of queries.
        places: (m,) places of the index.
        groups: (n + m,) the group of each, `charts.OTHER` where the group has no look of its own.
        names: of the groups; where there are too many, of those with most items.
        counts: how many items of each are on the map.
        total: how many items there are to draw from.
        classes: whether groups are classes; else they are queries and what is searched.
    """

    queries: np.ndarray
    places: np.ndarray
    groups: np.ndarray
    names: list[str]
    counts: list[int]
    total: int
    classes: bool


def chosen(side: Evaluator, seed: int = 0, most: int = POINTS) -> Chosen:
    """What is drawn of an evaluation: the index, and the queries unless they are the same items."""
    truth, data = truth_of(side), side.query_data
    other = data if side.index_data is None else side.index_data
    apart = side.index_data is not None or data.kind != 'class'
    n, m = len(side.asked) if apart else 0, len(truth.index)
    drawn = sample(np.arange(n + m), most, seed)
    queries, places = side.asked[drawn[drawn < n]], drawn[drawn >= n] - n
    if data.labels is None:
        keys: list[Label] = [*['query'] * len(queries), *['searched'] * len(places)]
    else:
        theirs = other.labels or []
        given = [data.labels[int(item)] for item in truth.queries[queries]]
        given += [theirs[int(item)] for item in truth.index[places]]
        keys = [_first(label) for label in given]
    found = Counter(keys)
    named = _names([key for key, _ in found.most_common(LOOKS)])
    numbers = {key: number for number, key in enumerate(named)}
    groups = np.array([numbers.get(key, OTHER) for key in keys])
    counts = [found[key] for key in named]
    return Chosen(queries, places, groups, list(named.values()), counts, n + m, data.labels is not None)


def maps(before: Evaluator, after: Evaluator, shown: Chosen, projection: str, seed: int = 0) -> tuple[Map, Map]:
    """Both maps; the second is turned so that it lies like the first."""
    found = []
    for side in (before, after):
        assert side.embeddings is not None
        queries, index = side.embeddings
        vectors = np.concatenate([queries[positions(side)[shown.queries]], index[shown.places]])
        found.append(mapped(vectors, projection, side.distance, seed))
    return found[0], Map(turned(found[1].points, found[0].points), found[1].kept)


def drawn(before: Evaluator, after: Evaluator, projection: str, seed: int = 0) -> Markup:
    """The maps with their legend, in which groups can be singled out."""
    shown = chosen(before, seed)
    sides = []
    for title, side in zip(('Before', 'After'), maps(before, after, shown, projection, seed), strict=True):
        kept = '' if side.kept is None else f' ({side.kept:.0%} of the variance)'
        picture = scatter(side.points, shown.groups, shown.names, f'Map of the embeddings {title.lower()}')
        sides.append(element('figure', element('figcaption', element('b', title), kept), picture))
    what = 'classes' if shown.classes else 'kinds'
    return joined(
        element('p', _told(shown, projection), class_='note'),
        element('div', *sides, class_='two'),
        element('fieldset', element('legend', f'Tick {what} to single them out'), _legend(shown), class_='legend'),
    )


def _first(label: Label) -> Label:
    # Of several labels the first one colours.
    if isinstance(label, tuple):
        return label[0] if label else None
    return label


def _names(keys: list[Label]) -> dict[Label, str]:
    # In the order of a legend; the label '1' beside the label 1 is in quotes.
    named = {key: labelled(key) or NONE for key in keys}
    alike = Counter(named.values())
    for key, name in named.items():
        if alike[name] > 1 and isinstance(key, str):
            named[key] = cut(repr(key))
    return dict(sorted(named.items(), key=lambda entry: _order(entry[1])))


def _order(name: str) -> tuple[bool, int, str]:
    # 2 before 10, and numbers before words.
    number = name.isascii() and name.isdigit()
    return not number, int(name) if number else 0, name.lower()


def _legend(shown: Chosen) -> Markup:
    entries = [
        element(
            'li',
            element(
                'label',
                element('input', type='checkbox', id=f'k{g}'),
                mark(g),
                element('span', breakable(name), dir='auto'),
                _small(count),
            ),
        )
        for g, (name, count) in enumerate(zip(shown.names, shown.counts, strict=True))
    ]
    rest = int((shown.groups == OTHER).sum())
    if rest:
        entries.append(element('li', element('span', mark(OTHER), ' all other classes ', _small(rest), class_='rest')))
    return element('ul', *entries)


def _small(count: int) -> Markup:
    return element('small', f'({count:,})')


def _told(shown: Chosen, projection: str) -> str:
    count = len(shown.groups)
    items = f'{count:,} of {shown.total:,} items, drawn by chance' if count < shown.total else f'All {count:,} items'
    if projection == 'umap':
        how = 'by UMAP, which keeps neighbours together; distances between groups mean little'
    else:
        how = (
            'in the two directions in which they differ most (PCA); what lies together may still be apart in others, '
            'which a plane cannot show'
        )
    return f'{items}, {how}. The second map is turned to lie like the first.'
