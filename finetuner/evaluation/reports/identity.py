"""Whether two evaluations asked and searched the same items, as far as the data can tell."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from finetuner.data.records import Records
from finetuner.errors import ArgumentError
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.reports.changes import truth_of
from finetuner.evaluation.reports.words import cut


def check_same(before: Evaluator, after: Evaluator) -> None:
    """Refuse evaluations of other items, or of the same ones in another order: places would mean other things.

    Args:
        before: has evaluated.
        after: has evaluated as many queries, and searched as many items.

    Raises:
        ArgumentError: names the first item that is another one.
    """
    for asked in set(before.asked.tolist()) ^ set(after.asked.tolist()):
        there, not_there = ('before', 'after') if asked in before.asked else ('after', 'before')
        raise ArgumentError(
            f'{there} asked {before.query_names[asked]}, {not_there} did not. Give both the same rows to evaluate.'
        )
    truths = [truth_of(side) for side in (before, after)]
    sides = [('', [side.query_data for side in (before, after)], [truth.queries for truth in truths])]
    itself = all(side.index_data is None and side.query_data.kind == 'class' for side in (before, after))
    if not itself:
        searched = [side.query_data if side.index_data is None else side.index_data for side in (before, after)]
        sides.append((' of the searched items', searched, [truth.index for truth in truths]))
    for where, (ours, theirs), (first, second) in sides:
        if ours is theirs and np.array_equal(first, second):
            continue
        for what, was, now in _differences(ours, theirs, first, second):
            raise ArgumentError(
                f'Only evaluations of the same items can be shown, and these differ in {what}{where}: '
                f'{cut(repr(was))} before, {cut(repr(now))} after. Give both evaluators the same data in one order.'
            )


def _differences(
    ours: Records, theirs: Records, first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[str, Any, Any]]:
    if len(first) != len(second):
        yield 'the number', len(first), len(second)
        return
    words = all(
        isinstance(records.contents[int(items[0])], str) for records, items in ((ours, first), (theirs, second))
    )
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        name = str(ours.names[a])
        if name != str(theirs.names[b]):
            yield f'the name of {name}', name, str(theirs.names[b])
        if ours.labels is not None and theirs.labels is not None and ours.labels[a] != theirs.labels[b]:
            yield f'the label of {name}', ours.labels[a], theirs.labels[b]
        if words and ours.contents[a] != theirs.contents[b]:
            yield f'the text of {name}', ours.contents[a], theirs.contents[b]
