"""Batches of every kind of supervision with the tuples that stand in them, found by loops over their meaning."""

from typing import Any, NamedTuple

import numpy as np

from finetuner.losses.objective import Objective
from finetuner.typing import Layout
from tests.losses.oracles import Tuples


class Batch(NamedTuple):
    """A batch as training sees it, and what is in it."""

    embeddings: np.ndarray
    codes: dict[str, np.ndarray]
    layout: Layout
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def tuples(self) -> Tuples:
        return Tuples.of(self.positives, self.negatives)

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Anchors and candidates, in float64."""
        x = self.embeddings.astype(float)
        return (x, x) if self.layout.width == 1 else (x[: self.layout.rows], x[self.layout.rows :])


def vectors(n: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def class_weights(n: int, dim: int = 5) -> np.ndarray:
    """What a test takes for learned classes."""
    return vectors(n, dim, seed=3)


def learned(objective: Objective, dim: int, n_classes: int) -> dict[str, np.ndarray]:
    """What a test takes for learned: of classes `class_weights`, of all else the initial value, a little moved."""
    moved = {}
    for place, (name, value) in enumerate(objective.parameters(dim, n_classes).items()):
        noise = np.random.default_rng(place).standard_normal(value.shape)
        moved[name] = class_weights(*value.shape) if name == 'classes' else (value + 0.1 * noise).astype(np.float32)
    return moved


def most(positives: np.ndarray) -> int:
    return max(int(positives.sum(axis=1).max()), 1)


def _batch(n: int, codes: dict[str, Any], width: int, positive: Any, negative: Any, **layout: int) -> Batch:
    rows = n // width
    first, second = (range(n), range(n)) if width == 1 else (range(rows), range(rows, n))
    near = np.array([[bool(positive(i, j)) for j in second] for i in first])
    far = np.array([[bool(negative(i, j)) for j in second] for i in first])
    arrays = {name: np.asarray(code, np.float32 if name == 'score' else np.int32) for name, code in codes.items()}
    return Batch(vectors(n), arrays, Layout(rows, width, most(near), **layout), near, far)


def classes(labels: tuple[int, ...] = (0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 1)) -> Batch:
    """One label per item; the last two items are one and the same, -1 is no class."""
    n = len(labels)
    item = [*range(n - 1), n - 2] if n > 2 else [*range(n)]
    codes = {'item': item, 'label': [[label] for label in labels]}
    return _batch(
        n,
        codes,
        1,
        lambda i, j: item[i] != item[j] and labels[i] == labels[j] >= 0,
        lambda i, j: item[i] != item[j] and not labels[i] == labels[j] >= 0,
        n_classes=max(*labels, 0) + 1,
    )


def several_labels() -> Batch:
    """Up to two labels per item; sharing one is enough. The last place only fills the batch."""
    labels = [(0, 1), (1, -1), (0, -1), (2, 3), (3, 1), (2, -1), (-1, -1), (0, 1)]
    item = [0, 1, 2, 3, 4, 5, 6, -1]

    def related(i: int, j: int) -> bool:
        return bool(set(labels[i]) & set(labels[j]) - {-1})

    def real(i: int, j: int) -> bool:
        return i != j and item[i] >= 0 and item[j] >= 0

    return _batch(
        len(item),
        {'item': item, 'label': labels},
        1,
        lambda i, j: real(i, j) and related(i, j),
        lambda i, j: real(i, j) and not related(i, j),
        n_classes=4,
    )


def sessions(across: bool = False) -> Batch:
    """The sessions of the original's tests; with `across` other sessions are negatives. The last two places fill."""
    session = [1, 2, 2, 2, 1, 1, 2, 2, 0, 0]
    kind = [1, 1, 0, -1, 0, -1, -1, 1, 0, 0]
    item = [0, 1, 2, 3, 4, 5, 6, 7, -1, -1]

    def real(i: int, j: int) -> bool:
        return i != j and item[i] >= 0 and item[j] >= 0

    def positive(i: int, j: int) -> bool:
        return real(i, j) and session[i] == session[j] and kind[i] >= 0 and kind[j] >= 0

    def negative(i: int, j: int) -> bool:
        if session[i] != session[j]:
            return real(i, j) and across
        return real(i, j) and (kind[i] >= 0) != (kind[j] >= 0)

    return _batch(len(item), {'item': item, 'session': session, 'kind': kind}, 1, positive, negative)


def pairs() -> Batch:
    """Rows (anchor, positive, hard negative); two rows have the same anchor, two the same positive, one no negative."""
    anchor, positive, hard = [0, 1, 0, 2, 3], [4, 5, 6, 5, 7], [8, 9, 10, 11, -1]
    item = anchor + positive + hard
    pairs_ = list(zip(anchor, positive, strict=True))
    label = [(2 * a, 2 * p + 1) for a, p in pairs_] * 2 + [(-1, 2 * h + 1 if h >= 0 else -1) for h in hard]

    def related(i: int, j: int) -> bool:  # a row of their own, or a common anchor, or a common positive
        return j < 10 and any(x == y for x, y in zip(pairs_[i], pairs_[j - 5], strict=True))

    return _batch(
        15,
        {'item': item, 'label': label},
        3,
        related,
        lambda i, j: item[j] >= 0 and not related(i, j),
    )


def views() -> Batch:
    """Two views of every item."""
    return classes((0, 1, 2, 3, 0, 1, 2, 3))._replace(
        codes={'item': np.arange(8, dtype=np.int32), 'label': np.array([[0], [1], [2], [3]] * 2, np.int32)},
        positives=np.equal.outer(np.arange(8) % 4, np.arange(8) % 4) & ~np.eye(8, dtype=bool),
        negatives=np.not_equal.outer(np.arange(8) % 4, np.arange(8) % 4),
    )


def many() -> Batch:
    """More positives per anchor than are visited one by one."""
    return classes(tuple(int(i % 6 == 0) for i in range(41)))


def scored() -> Batch:
    """Pairs with a score, some of them equal."""
    codes = {'item': range(12), 'score': [[0.1], [0.9], [0.5], [0.5], [0.2], [1.0]]}
    return _batch(12, codes, 2, lambda i, j: False, lambda i, j: False)


def margins(scores: int = 1) -> Batch:
    """Triplets with the margin of a teacher, or with its two scores."""
    two = np.array([[2.0, 0.5], [0.5, 1.0], [1.5, 1.5], [3.0, -1.0]])
    values = two if scores == 2 else two[:, :1] - two[:, 1:]
    return _batch(12, {'item': range(12), 'score': values}, 3, lambda i, j: False, lambda i, j: False)
