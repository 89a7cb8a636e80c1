"""A second opinion on pairs of a query and a document: any function as a scorer of many."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetuner.errors import ArgumentError

AT_ONCE = 1024

Score = Callable[..., Any]
"""`f(query, document) -> number`, or `f(pairs) -> numbers` of a list of tuples, as a cross-encoder's `predict`."""


def scores_of(score: Score, pairs: Sequence[tuple[Any, Any]]) -> np.ndarray:
    """(P,) float64 what `score` says of pairs.

    Raises:
        ArgumentError: it gives something else than a finite number for each pair.
    """
    if not takes_lists(score):
        return _numbers([score(query, document) for query, document in pairs], len(pairs), score)
    parts = []
    for start in range(0, len(pairs), AT_ONCE):
        part = list(pairs[start : start + AT_ONCE])
        parts.append(_numbers(score(part), len(part), score))
    return np.concatenate(parts) if parts else np.zeros(0)


def takes_lists(score: Score) -> bool:
    """Whether `score` takes a list of pairs, because it has one required argument; with two it takes a pair."""
    try:
        parameters = inspect.signature(score).parameters.values()
    except (TypeError, ValueError):  # a compiled function, which does not say
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return len([p for p in positional if p.default is p.empty]) == 1 and not several


def _numbers(values: Any, count: int, score: Score) -> np.ndarray:
    values = values.detach().cpu() if hasattr(values, 'detach') else values
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.shape == (count, 1):
        array = array[:, 0]
    if array.shape != (count,) or not np.isfinite(array).all():
        came = f'an array of shape {array.shape}' if array.size else f'{type(values).__name__}'
        if array.shape == (count,):
            came = 'numbers that are not finite'
        raise ArgumentError(
            f'score= must give a finite number for each pair, f(query, document) -> number or f(pairs) -> {count} '
            f'numbers; {getattr(score, "__name__", type(score).__name__)} gave {came}.'
        )
    return array
