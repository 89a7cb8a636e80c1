"""Means by class: each class counts alike, however many queries it has."""

from typing import TYPE_CHECKING

import numpy as np

from finetuner.data.labels import dense
from finetuner.data.records import Label
from finetuner.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from finetuner.evaluation.evaluator import Evaluator


def per_class(evaluator: 'Evaluator') -> dict[str, dict[Label, float]]:
    """What `Evaluator.per_class` gives."""
    data = evaluator.query_data
    if data.kind != 'class':
        raise DataError(
            f'Means by class need classes, and query_data has {data.summary()} without labels. Expected a label per '
            f'item, for example (contents, labels). The means over queries are what evaluate() gave.'
        )
    if not evaluator.means:
        raise ArgumentError('This Evaluator has not evaluated anything yet: call evaluator.evaluate() first.')
    codes, classes = dense(data.labels or ())
    found: dict[str, dict[Label, float]] = {}
    for name, values in evaluator.per_query.items():
        rows, places = np.nonzero((codes >= 0) & np.isfinite(values)[:, None])
        of = codes[rows, places]
        counts = np.bincount(of, minlength=len(classes))
        sums = np.bincount(of, values[rows], minlength=len(classes))
        found[name] = {classes[code]: float(sums[code] / counts[code]) for code in np.flatnonzero(counts).tolist()}
    return found


def macro(evaluator: 'Evaluator') -> dict[str, float]:
    """What `Evaluator.macro` gives."""
    return {name: float(np.mean([*means.values()])) for name, means in per_class(evaluator).items()}
