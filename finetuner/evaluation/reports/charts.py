"""Drawings in SVG. Colours are classes of the style sheet, so that they follow its light and its dark mode."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from finetuner.evaluation.reports.markup import Markup, element, joined

COLOURS = 12
"""How many the style sheet has, `.c0` and so on."""
SIDE = 400  # of a map, in units of its drawing
CROWD = 600
"""More points than this are drawn smaller."""
_MARGIN = 14
_LETTER = 9  # width of one on an axis, with what is left free


def _circle(r: int) -> str:
    return f'm-{r} 0a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0-{2 * r} 0'


# What is drawn around a point; closed outlines about as large as each other.
_OUTLINES = (
    _circle(4),
    'm-4-4h8v8h-8z',
    'm0-5l5 9h-10z',
    'm0-5.5l5 5.5l-5 5.5l-5-5.5z',
    'm0 5l5-9h-10z',
    'm-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z',
    'm-5-3l2-2l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3z',
)
LOOKS = COLOURS * len(_OUTLINES)
"""How many groups look different: numbers of colours and shapes have no divisor in common."""
OTHER = -1
"""The group of all that have no look of their own."""


def look(group: int) -> str:
    """The colour of a group, as a class of the style sheet."""
    return 'other' if group == OTHER else f'c{group % COLOURS}'


def mark(group: int) -> Markup:
    """The sign of a group, for a legend."""
    path = element('path', d=f'M7 7{_outline(group)}', class_=look(group))
    return element('svg', path, viewBox='0 0 14 14', class_='mark', aria_hidden='true')


def scatter(points: np.ndarray, groups: np.ndarray, names: Sequence[str], title: str) -> Markup:
    """Points in the plane, those of a group in one path.

    Args:
        points: (n, 2), which fill the drawing.
        groups: (n,) the group of each, from 0, or `OTHER`.
        names: of the groups.
        title: what the drawing shows, for those who do not see it.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    side = SIDE if len(points) <= CROWD else SIDE * 3 // 2
    scale = (side - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)
    placed = (points - (low + high) / 2) * scale * [1, -1] + side / 2
    drawn = []
    for group in np.unique(groups).tolist():  # the others first, below
        outline = _outline(group)
        path = ''.join(f'M{x:.0f} {y:.0f}{outline}' for x, y in placed[groups == group].tolist())
        name = 'other' if group == OTHER else names[group]
        drawn.append(element('path', element('title', name), d=path, class_=f'{look(group)} g{group}'))
    return element('svg', *drawn, viewBox=f'0 0 {side} {side}', class_='scatter', role='img', aria_label=title)


def outlines(
    sides: Sequence[tuple[str, str, np.ndarray]], edges: np.ndarray, title: str, axis: str, top: float
) -> Markup:
    """Histograms over each other, each as part of its own sum.

    Args:
        sides: of each histogram its name, its class of the style sheet, and (n,) numbers.
        edges: (b + 1,) of the bins.
        title: what the drawing shows, for those who do not see it.
        axis: what the numbers are.
        top: the part of the sum that reaches the top.
    """
    width, height, left, bottom = 400, 230, 16, 40
    across = _line(float(edges[0]), float(edges[-1]), left, width - left)
    up = _line(0.0, top, height - bottom, 10)
    found = ticks(float(edges[0]), float(edges[-1]))
    told = labels(found)
    crowd = math.ceil(sum(map(len, told)) * _LETTER / (width - 2 * left))  # labels must not touch
    labelled = list(zip(found, told, strict=True))[:: max(crowd, 1)]
    drawn = [
        element('line', x1=left, x2=width - left, y1=height - bottom, y2=height - bottom, class_='axis'),
        *(
            joined(
                element('line', x1=across(x), x2=across(x), y1=height - bottom, y2=height - bottom + 5, class_='axis'),
                element('text', label, x=across(x), y=height - bottom + 19, text_anchor='middle'),
            )
            for x, label in labelled
        ),
        element('text', axis, x=width / 2, y=height - 3, text_anchor='middle', class_='title'),
    ]
    for name, class_, values in sides:
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        steps = [f'V{up(part)}H{across(end)}' for part, end in zip(counts.tolist(), edges[1:].tolist(), strict=True)]
        path = f'M{across(float(edges[0]))} {up(0.0)}{"".join(steps)}V{up(0.0)}'
        drawn.append(element('path', element('title', name), d=path, class_=f'outline {class_}'))
    return element('svg', *drawn, viewBox=f'0 0 {width} {height}', class_='outlines', role='img', aria_label=title)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two others, three to seven of them.

    >>> ticks(-0.53, 0.996)
    [-0.5, 0.0, 0.5]
    """
    exponent = math.floor(math.log10(high - low))
    size = 10.0**exponent
    step = next(part * size for part in (0.2, 0.5, 1) if (high - low) / (part * size) < 6 or part == 1)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [round(number * step, 3 - exponent) for number in numbers]


def labels(ticks: Sequence[float]) -> list[str]:
    """Round numbers as words, with as many digits as tell them apart.

    >>> labels([0.0, 0.5]), labels([0.9999998, 1.0])
    (['0', '0.5'], ['0.9999998', '1'])
    """
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    for digits in range(6, 18):
        words = [f'{tick:.{digits}g}' for tick in ticks]
        if all(abs(float(word) - tick) < step / 100 for word, tick in zip(words, ticks, strict=True)):
            break
    return words


def _outline(group: int) -> str:
    return _circle(2) if group == OTHER else _OUTLINES[group % len(_OUTLINES)]


def _line(a: float, b: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: round(start + (value - a) / (b - a or 1) * (end - start), 1)
