"""Whether two evaluations asked and searched the same texts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from finetuner.data.records import Records
from finetuner.data.uri import Uri
from finetuner.errors import ArgumentError
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.reports.changes import truth_of
from finetuner.evaluation.reports.words import cut


def check_same(before: Evaluator, after: Evaluator) -> None:
    """Refuse evaluations of other texts, or of the same ones in another order: places would mean other things.

    Args:
        before: has evaluated.
        after: has evaluated what `evaluation.compare` takes for the same.

    Raises:
        ArgumentError: names the first item that is another one.
    """
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
        isinstance(content, str) and not isinstance(content, Uri)  # files may lie elsewhere
        for content in (ours.contents[int(first[0])], theirs.contents[int(second[0])])
    )
    if not words:
        return
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if ours.contents[a] != theirs.contents[b]:
            yield f'the text of {ours.names[a]}', ours.contents[a], theirs.contents[b]
