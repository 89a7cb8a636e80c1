"""Whether two evaluations asked the same: the same queries, labels, index and options. The vectors may differ."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from finetuner.data.records import Label, Records
from finetuner.errors import ArgumentError
from finetuner.evaluation.ground_truth import GroundTruth, ListedTruth

if TYPE_CHECKING:
    from finetuner.evaluation.evaluator import Evaluator

Fact = tuple[str, Any, Any]
"""What should be the same, what it is before, and what it is after."""


def check(before: 'Evaluator', after: 'Evaluator') -> None:
    """Refuse evaluations that cannot be compared.

    Raises:
        ArgumentError: both are one Evaluator, or they asked something else; says what.
    """
    if before is after:
        raise ArgumentError(
            'These are one Evaluator, whose second evaluation replaced the first: make one for each model, '
            'before = Evaluator(data, model=first) and after = Evaluator(data, model=second).'
        )
    for what, first, second in _facts(before, after):
        if first != second:
            raise ArgumentError(
                f'Only evaluations of the same queries can be compared, and these differ in {what}: '
                f'{first} before, {second} after. Give both evaluators the same data and options.'
            )


def _facts(before: 'Evaluator', after: 'Evaluator') -> Iterator[Fact]:
    # Each is looked at only if those before it are the same.
    ours, theirs = before.query_data, after.query_data
    yield 'the kind of their data', repr(ours.kind), repr(theirs.kind)
    if ours.kind == 'score':
        scores = [cast(np.ndarray, data.scores) for data in (ours, theirs)]
        yield 'the shape of their scores', scores[0].shape, scores[1].shape
        for row in np.flatnonzero((scores[0] != scores[1]).any(axis=1))[:1].tolist():
            yield f'the scores of row {row}', scores[0][row].tolist(), scores[1][row].tolist()
        return
    yield 'the number of queries', len(before.query_names), len(after.query_names)
    yield from _names('query', before.query_names, after.query_names)
    yield from _labels('query', ours, theirs)
    searched = [one.query_data if one.index_data is None else one.index_data for one in (before, after)]
    yield 'the number of items searched', len(searched[0]), len(searched[1])
    if searched[0] is not searched[1]:
        yield from _names('searched item', searched[0].names, searched[1].names)
        yield from _labels('searched item', *searched)
    for option, chosen in before.settings.items():
        yield option, chosen, after.settings.get(option)
    truths = [one.truth(one.settings['exclude_self']) for one in (before, after)]
    yield from _relevant(truths, before.query_names, searched[0].names)
    for name in [name for name in before.per_query if name in after.per_query]:
        known = [np.isfinite(one.per_query[name]) for one in (before, after)]
        for row in np.flatnonzero(known[0] != known[1])[:1].tolist():
            yield f'whether {before.query_names[row]} has a {name}', bool(known[0][row]), bool(known[1][row])
    asked = [sorted(one.asked.tolist()) for one in (before, after)]
    yield 'how many queries were asked', len(asked[0]), len(asked[1])
    for row in _first(*asked):
        first, second = (before.query_names[side[row]] for side in asked)
        yield 'which queries were asked', first, second


def _relevant(truths: list[GroundTruth], queries: Sequence[str], items: Sequence[str]) -> Iterator[Fact]:
    first, second = truths
    for row in np.flatnonzero(first.n_relevant != second.n_relevant)[:1].tolist():
        yield f'how many items are relevant to {queries[row]}', first.n_relevant[row], second.n_relevant[row]
    if first is second or not (isinstance(first, ListedTruth) and isinstance(second, ListedTruth)):
        return  # of labels it follows from these
    listed = [first.listed(), second.listed()]
    for row in np.flatnonzero((listed[0] != listed[1]).any(axis=1))[:1].tolist():
        found = []
        for truth, (_, place, grade) in zip(truths, (one[row].tolist() for one in listed), strict=True):
            found.append(f'{items[int(truth.index[place])]} with grade {grade}')
        yield f'what is relevant to {queries[listed[0][row, 0]]}', found[0], found[1]


def _names(role: str, ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Fact]:
    for row in _first(ours, theirs):
        yield f'{role} {row}', ours[row], theirs[row]


def _labels(role: str, ours: Records, theirs: Records) -> Iterator[Fact]:
    if ours is theirs or ours.labels is None or theirs.labels is None:
        return
    for row in _first(map(_unordered, ours.labels), map(_unordered, theirs.labels)):
        yield f'the label of {role} {row}', repr(ours.labels[row]), repr(theirs.labels[row])


def _unordered(label: Label) -> Hashable:
    return frozenset(label) if isinstance(label, tuple) and len(label) > 1 else label


def _first(ours: Iterable[Hashable], theirs: Iterable[Hashable]) -> list[int]:
    # The first row in which they differ, if there is one.
    return next(([row] for row, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), [])
