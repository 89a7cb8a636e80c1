"""A batch for any loss, of given vectors: with class labels, or with scores where it needs them, and with a guide."""

import numpy as np

from finetuner.losses.names import find
from finetuner.losses.relation import Scores
from finetuner.typing import Layout
from tests.losses.cases import vectors

CLASSES = 8


def batch(name: str, x: np.ndarray, labels: list[int], items: list[int] | None = None) -> tuple[dict, Layout]:
    """The codes and the layout of a batch for the loss called `name`.

    Args:
        name: of the loss.
        x: (N, D) vectors; losses on scores take them as columns, as many as they need, and leave out what is over.
        labels: (N,) class codes below `CLASSES`; losses on scores make their scores of them.
        items: (N,) item codes; by default every item is another one.
    """
    loss = find(name)
    n = len(x)
    if loss.expects is Scores:
        width = loss.columns or 3
        rows = max(n // width, 1)
        score = (np.array(labels[:rows], np.float32)[:, None] + 1) / CLASSES
        if name == 'DistillKLDivLoss':  # one score for each candidate
            score = np.concatenate([score + k / 2 for k in range(width - 1)], axis=1)
        return {'item': np.arange(rows * width, dtype=np.int32), 'score': score}, Layout(rows, width)
    codes = {
        'item': np.array(range(n) if items is None else items, np.int32),
        'label': np.array(labels, np.int32)[:, None],
    }
    if loss.guided:
        codes['guide'] = 2 * np.eye(CLASSES, dtype=np.float32)[labels] + 0.5 * vectors(n, CLASSES, seed=9)
    return codes, Layout(n, 1, max(n - 1, 1), CLASSES)


def fitting(name: str, x: np.ndarray) -> np.ndarray:
    """`x`, as many rows of it as a batch for the loss called `name` holds, repeated where there are too few."""
    loss = find(name)
    if loss.expects is not Scores:
        return x
    width = loss.columns or 3
    return np.resize(x, (max(len(x) // width, 1) * width, x.shape[1]))
