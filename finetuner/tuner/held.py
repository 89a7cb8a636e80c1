"""What a training is judged by: data that are given for it, or a part of the training data that is held out."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from finetuner.console import logger
from finetuner.data.problems import problems
from finetuner.data.records import Records
from finetuner.data.split import JUDGED, MOST, SHARE, hold_out, part
from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation.ground_truth import ground_truth
from finetuner.evaluation.verdict import ENOUGH
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.evaluation import EvaluationCallback
from finetuner.tuner.callbacks.guard import Guard, by


class Held(NamedTuple):
    """Records parted in two.

    Attributes:
        train: what is trained on.
        judged: what is held out; None for nothing.
        kept: (n,) the numbers that the items of `train` had.
        out: (m,) those of the items of `judged`.
    """

    train: Records
    judged: Records | None
    kept: np.ndarray
    out: np.ndarray


def held(
    records: Records, val_split: float | None, guard: bool, eval_data: Any, watching: Sequence[Callback], seed: int
) -> Held:
    """Hold out a part of the training data, where nothing else says what the training is judged by.

    Args:
        records: all data.
        val_split: the part of them; None decides: a tenth, at most 2,000 items or rows, if there is a guard and that
            is enough for a verdict.
        guard: whether the training has a guard.
        eval_data: what was given for it.
        watching: the callbacks.
        seed: what chance starts from.

    Raises:
        ArgumentError: `val_split` is no part, or `eval_data` is given too.
        DataError: nothing can be held out though it was asked for.
    """
    check(val_split, guard, eval_data)
    nothing = Held(records, None, np.arange(len(records)), np.empty(0, np.int64))
    judged = eval_data is not None or any(isinstance(callback, EvaluationCallback) for callback in watching)
    if val_split == 0 or (val_split is None and (judged or not guard)):
        return nothing
    if records.kind not in JUDGED:
        if val_split is not None:
            raise DataError(
                f'val_split={val_split}: items without labels say nothing of what should be found. Give eval_data '
                f'with labels, matches or pairs, or leave val_split out.'
            )
        return nothing
    kept, out = hold_out(records, SHARE if val_split is None else val_split, MOST if val_split is None else None, seed)
    judging, other = part(records, out)
    queries = _queries(judging) if len(out) else 0
    if val_split is None and (queries < ENOUGH or problems(judging)):
        logger.info(
            'A tenth of the data is too little to judge the training by (%d queries, %d are needed): all are trained '
            'on, and nothing is measured. Give eval_data to see what becomes better.', queries, ENOUGH,
        )  # fmt: skip
        return nothing
    if not queries or not len(kept):
        raise DataError(
            f'val_split={val_split} of {records.summary()} holds out nothing to be judged by, or leaves nothing to '
            f'train on. Give another part, or eval_data.'
        )
    train, own = part(records, kept)
    logger.info('Held out to judge the training by: %s. val_split=0 trains on them too.', judging.summary())
    return Held(train, judging, own, other)


def check(val_split: Any, guard: Any, eval_data: Any) -> None:
    """Refuse what is no part.

    Raises:
        ArgumentError: says what was expected.
    """
    if not isinstance(guard, bool):
        raise ArgumentError(f'guard={guard!r}: expected True or False.')
    if val_split is None:
        return
    if isinstance(val_split, bool) or not isinstance(val_split, Real) or not 0 <= float(val_split) < 1:
        raise ArgumentError(f'val_split={val_split!r}: expected a part from 0 to below 1, such as 0.1.')
    if eval_data is not None and val_split:
        raise ArgumentError(
            'val_split holds out a part of train_data to judge the training by, and eval_data is given for that: '
            'leave one of them out.'
        )


def guarded(watching: Sequence[Callback]) -> list[Callback]:
    """The callbacks with a guard behind the first that measures, if there is none yet."""
    judge = next((callback for callback in watching if isinstance(callback, EvaluationCallback)), None)
    if judge is None or any(isinstance(callback, Guard) for callback in watching):
        return [*watching]
    if by(judge) is None:
        logger.info(
            'There is no guard: it needs a metric of ours that has a value for each query, of which more is better. '
            'Measure map_at_r too.'
        )
        return [*watching]
    place = watching.index(judge) + 1
    return [*watching[:place], Guard(judge), *watching[place:]]


def asked(watching: Sequence[Callback]) -> list[Records]:
    """The data that the callbacks measure by."""
    judges = [callback.evaluator for callback in watching if isinstance(callback, EvaluationCallback)]
    return [data for judge in judges for data in (judge.query_data, judge.index_data) if data is not None]


def _queries(records: Records) -> int:
    if records.kind == 'score':
        return 0 if records.rows is None else len(records.rows)
    try:
        return int((ground_truth(records).n_relevant > 0).sum())
    except DataError:
        return 0
