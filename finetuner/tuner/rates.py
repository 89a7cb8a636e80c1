"""At which multiple of the model's learning rate each weight is trained, and the groups that this makes."""

import math
from collections.abc import Iterable, Mapping
from numbers import Real

from finetuner.errors import ArgumentError, nearest
from finetuner.tailor.layers import inside

MODEL = 'model'


def scale(path: str, scales: Mapping[str, float]) -> float:
    """The multiple for a weight: that of the longest place in `scales` that its path lies in; 1 if there is none.

    >>> scale('body.3.bias', {'': 0.01, 'body.3': 0.1})
    0.1
    """
    return max(((len(place), by) for place, by in scales.items() if inside(path, place)), default=(0, 1.0))[1]


def group(by: float) -> tuple[str, float]:
    """The name of the group that is trained at a multiple of the model's rate, and the multiple, to six digits.

    >>> group(1), group(0.1**2)
    (('model', 1.0), ('model*0.01', 0.01))
    """
    digits = f'{by:.6g}'
    return (MODEL if digits == '1' else f'{MODEL}*{digits}'), float(digits)


def grouped(paths: Iterable[str], scales: Mapping[str, float]) -> dict[str, tuple[float, list[str]]]:
    """The weights in groups: by the name of each its multiple of the rate and its paths, the fastest first.

    >>> grouped(['a.weight', 'b.weight', 'a.bias'], {'a': 0.1})
    {'model': (1.0, ['b.weight']), 'model*0.1': (0.1, ['a.weight', 'a.bias'])}
    """
    found: dict[str, tuple[float, list[str]]] = {}
    for path in paths:
        name, by = group(scale(path, scales))
        found.setdefault(name, (by, []))[1].append(path)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def check(scales: Mapping[str, float], paths: Iterable[str]) -> None:
    """Refuse what is no multiple, and places in which there is no weight.

    Raises:
        ArgumentError: names the first of them.
    """
    paths = list(paths)
    for place, by in scales.items():
        if isinstance(by, bool) or not isinstance(by, Real) or not 0 < by < math.inf:
            raise ArgumentError(f'scales[{place!r}]={by!r}: expected a positive number, such as 0.1.')
        if not any(inside(path, place) for path in paths):
            raise ArgumentError(f'scales: there is no weight in {place!r}. {nearest(place, paths)}')
