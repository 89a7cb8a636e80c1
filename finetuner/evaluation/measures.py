"""Which metrics are computed, under which names, and on how many results."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from finetuner.errors import ArgumentError, nearest
from finetuner.evaluation import legacy as original, metrics as standard, spaces
from finetuner.evaluation.metrics import Metric

Limit = int | Sequence[int] | None
"""How many results count: one number, several, or None for the whole index."""

Choice = str | Iterable[str] | Mapping[str, Any] | None
"""Names of metrics, or `{name: (callable, keyword arguments)}`; None for all."""

_CUT = re.compile(r'(.*_at)_([0-9]+)$')


class Measure(NamedTuple):
    """A metric as it is computed.

    Attributes:
        name: what the result is called.
        function: takes all queries at once, `(relevance (Q, W), n_relevant (Q,), **options)`, if it has a parameter
            `n_relevant`, and `grades` or `votes` if it has such a parameter; else one query, `(relevance, **options)`,
            a list of 0 and 1 or of grades, and `max_rel` if it takes that. With a parameter `space` it takes the
            vectors themselves.
        options: keyword arguments.
        cut: how many results it is given; None for the whole index.
        all_relevant: whether it needs as many results as the query has relevant items, whatever the cut.
    """

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any]
    cut: int | None
    all_relevant: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is of the vectors, and asked by `of`."""
        return 'space' in _parameters(self.function)

    def of(self, space: spaces.Space) -> np.ndarray:
        """One value (), or one for each query that is asked, (n,)."""
        values = self.function(space=space, **self.options)
        try:
            given = np.asarray(values, float)
        except (TypeError, ValueError):
            given = np.empty((0, 0))
        if given.shape not in ((), (len(space.rows),)):
            raise ArgumentError(f'The metric {self.name!r} must give a number, or one per query; it gave {values!r}.')
        return self._finite(given)

    def __call__(
        self, relevance: np.ndarray, n_relevant: np.ndarray, more: Mapping[str, Callable[[], Any]] | None = None
    ) -> np.ndarray:
        """(Q,) values.

        Args:
            relevance: (Q, W) as `metrics` takes it, with at least as many results as this measure needs.
            n_relevant: (Q,) how many relevant items there are.
            more: gives other arguments, by the names of the parameters for them.
        """
        seen = relevance if self.all_relevant else relevance[:, : self.cut]
        parameters = _parameters(self.function)
        if 'n_relevant' in parameters:
            asked = {name: give() for name, give in (more or {}).items() if name in parameters}
            values = self.function(seen, n_relevant, **{**asked, **self.options})
        else:
            takes = 'max_rel' in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            values = [
                self.function(
                    [int(r) for r in row if r >= 0], **self.options, **({'max_rel': int(total)} if takes else {})
                )
                for row, total in zip(seen, n_relevant, strict=True)
            ]
        try:
            given = np.asarray(values, float)
        except (TypeError, ValueError):
            given = np.empty(0)
        if given.shape != (len(seen),):
            raise ArgumentError(f'The metric {self.name!r} must give one number per query; it gave {values!r}.')
        return self._finite(given)

    def _finite(self, values: np.ndarray) -> np.ndarray:
        if np.isinf(values).any():
            raise ArgumentError(
                f'The metric {self.name!r} gave an infinite value, of which there is no mean: let it give a number, '
                f'or NaN for a query that has none.'
            )
        return values


def measures(choice: Choice = None, limit: Limit = 20, legacy: bool = False) -> list[Measure]:
    """The measures of an evaluation.

    Args:
        choice: names of metrics, with a number in place of `k` if it is to differ from the limit; or, as the original
            took it, `{name: (callable, keyword arguments)}`. None takes all but those of `spaces`.
        limit: one number gives `precision_at_k`; a list of numbers gives `precision_at_1`, …, one name for each;
            None counts the whole index.
        legacy: the original's definitions.

    Raises:
        ArgumentError: a name or a limit is impossible.
    """
    limits = _limits(limit)
    known = original.METRICS if legacy else standard.METRICS
    deepest = None if None in limits else max(k for k in limits if k is not None)
    several = isinstance(limit, Iterable)
    found: dict[str, Measure] = {}
    if isinstance(choice, Mapping):
        for name, value in choice.items():
            function, options = _function(name, value)
            takes = _parameters(function)
            if not _needs_all(function) and {'n_relevant', 'k'} <= set(takes):
                options.setdefault('k', deepest)
            cut = _deeper(deepest, options.get('k'))
            found[name] = Measure(name, function, options, cut, _needs_all(function))
        return list(found.values())
    for name in known if choice is None else [choice] if isinstance(choice, str) else choice:
        numbered = _CUT.match(str(name))
        base = f'{numbered[1]}_k' if numbered else str(name)
        # What the original did not have has one definition.
        metric = known.get(base) or standard.METRICS.get(base) or spaces.METRICS.get(base)
        if metric is None:
            raise ArgumentError(
                f'There is no metric {name!r}. {nearest(str(name), [*standard.METRICS, *spaces.METRICS])}'
            )
        if 'space' in _parameters(metric):
            found[name] = Measure(name, metric, {}, deepest)
            continue
        if numbered:
            cuts = _limits(int(numbered[2]))
        elif base.endswith('_at_k'):
            cuts = limits
        else:
            cuts = [deepest]
        for k in cuts:
            title = f'{base[:-1]}{k}' if cuts is limits and several else name
            options = {} if _needs_all(metric) else {'k': k}
            found[title] = Measure(title, metric, options, _deeper(deepest, k), _needs_all(metric))
    return list(found.values())


def means(chosen: Iterable[Measure], values: dict[str, np.ndarray], space: spaces.Space) -> dict[str, float]:
    """The mean of each measure over the queries that have a value; of one of all vectors together its only value.

    Args:
        chosen: the measures.
        values: (Q,) of each, NaN for none. Measures of vectors are computed here, and those without values of queries
            are taken out.
        space: the vectors.
    """
    found: dict[str, float] = {}
    for measure in chosen:
        each = measure.of(space) if measure.whole else values[measure.name]
        if not each.shape:
            del values[measure.name]
        elif measure.whole:
            values[measure.name][space.rows] = each
        found[measure.name] = np.nan if np.isnan(each).all() else float(np.nanmean(each))
    return found


def default_metrics(legacy: bool = False) -> dict[str, tuple[Metric, dict[str, Any]]]:
    """All metrics in the form `{name: (callable, keyword arguments)}`, to choose from or to add to."""
    return {name: (function, {}) for name, function in (original.METRICS if legacy else standard.METRICS).items()}


def plain(limit: Limit) -> int | list[int | None] | None:
    """A limit that can be compared: a number, a list of numbers, or None.

    Raises:
        ArgumentError: it is impossible.

    >>> plain((1, 5)), plain(np.int64(20)), plain(None)
    ([1, 5], 20, None)
    """
    numbers = _limits(limit)
    return numbers if isinstance(limit, Iterable) else numbers[0]


def resolve(monitor: str, names: Iterable[str], limit: Limit = 20) -> str:
    """The name under which a result stands: with `limit=20`, 'precision_at_20' is 'precision_at_k'.

    Args:
        monitor: what someone calls it.
        names: the names there are.
        limit: the limit of the evaluation; with a list, 'precision_at_k' is that of the first.

    Raises:
        ArgumentError: there is no such result.
    """
    known = list(names)
    limits = _limits(limit)
    aliases = {name.removesuffix('k') + str(limits[0]): name for name in known if name.endswith('_at_k')}
    for name in known:
        numbered = _CUT.match(name)
        if numbered and int(numbered[2]) == limits[0]:
            aliases.setdefault(f'{numbered[1]}_k', name)
    found = monitor if monitor in known else aliases.get(monitor)
    if found is None:
        raise ArgumentError(f'There is no result {monitor!r}. {nearest(monitor, known)}')
    return found


def main_metric(wanted: str | None, names: Iterable[str], limit: Limit = 20) -> str:
    """By which queries are chosen and a verdict is spoken.

    Args:
        wanted: what someone calls it; None takes 'average_precision' if it is there, else the first that is of results.
        names: the results that have a value for each query.
        limit: the limit of the evaluation.

    Raises:
        ArgumentError: there is no such result.
    """
    known = list(names)
    if not known:
        raise ArgumentError(
            'None of these metrics has a value for each query, by which queries could be chosen: add '
            "'average_precision'."
        )
    if wanted is not None:
        return resolve(wanted, known, limit)
    of_results = [name for name in known if name not in spaces.METRICS]
    return 'average_precision' if 'average_precision' in known else (of_results or known)[0]


def depth(chosen: Iterable[Measure], n_relevant: np.ndarray, size: int) -> int:
    """How many results the measures need, of an index of `size` items, for queries with `n_relevant` (Q,)."""
    needed = 1
    for measure in chosen:
        if measure.whole:
            continue
        if measure.all_relevant:
            needed = max(needed, int(n_relevant.max(initial=0)))
        else:
            needed = max(needed, size if measure.cut is None else measure.cut)
    return min(needed, size)


def _needs_all(function: Callable[..., Any]) -> bool:
    return function in (standard.r_precision, standard.map_at_r)


def _deeper(deepest: int | None, k: Any) -> int | None:
    return max(deepest, k) if deepest is not None and isinstance(k, int) else deepest


def _limits(limit: Limit) -> list[int | None]:
    if limit is None:
        return [None]
    numbers: list[Any] = list(limit) if isinstance(limit, Iterable) else [limit]
    for number in numbers or [None]:
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ArgumentError(
                f'limit counts results: a number of at least 1, a list of such, or None for all; it is {limit!r}.'
            )
    return [int(number) for number in numbers]


def _function(name: str, value: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    function, options = value if isinstance(value, tuple | list) and len(value) == 2 else (value, {})
    if not callable(function) or not isinstance(options, Mapping):
        raise ArgumentError(
            f'A metric of your own is (callable, keyword arguments); {name!r} is {value!r}. '
            f"For example {{'precision_at_5': (precision_at_k, {{'k': 5}})}}."
        )
    return function, dict(options)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some functions written in C tell none
        return {}
