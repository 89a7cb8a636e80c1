"""The robustness matrix: every loss on batches that break formulas, two steps each.

In every cell value and slope are numbers. `ZERO` says where a slope of zero is right; everywhere else there is one.
"""

from typing import NamedTuple

import numpy as np

from finetuner.losses import get
from finetuner.losses.names import LOSSES, find
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Scores
from tests.losses import samples
from tests.losses.cases import learned, vectors

N, DIM = 8, 4
USUAL = [0, 0, 1, 1, 2, 2, 3, 3]
DISTINCT = list(range(N))


# The positive is farther than the negative, so that no margin is kept.
NEARER = np.array([[1, 0, 0, 0.1], [0.2, 1, 0, 0], [1, 0.5, 0.1, 0]], np.float32)


class Cell(NamedTuple):
    """A batch by its vectors, labels and items, and the precision that the model gives."""

    x: np.ndarray
    labels: list[int]
    items: list[int] | None = None
    dtype: str = 'float32'


def _with_zero(x: np.ndarray) -> np.ndarray:
    return np.concatenate([0 * x[:1], x[1:]])


CELLS = {
    'no positives': Cell(vectors(N, DIM), USUAL, [0, 0, 1, 1, 2, 2, 3, 3]),
    'every label distinct': Cell(vectors(N, DIM), DISTINCT),
    'one class': Cell(vectors(N, DIM), [0] * N),
    'batch of one': Cell(vectors(1, DIM), [0]),
    'one pair, one negative': Cell(NEARER, [0, 0, 1]),
    'duplicates': Cell(np.repeat(vectors(N // 2, DIM), 2, axis=0), [0, 1, 1, 0, 2, 2, 0, 1]),
    'collapsed': Cell(np.repeat(vectors(1, DIM), N, axis=0), USUAL),
    'a zero vector': Cell(_with_zero(vectors(N, DIM)), USUAL),
    'float16': Cell(vectors(N, DIM), USUAL, None, 'float16'),
    'bfloat16': Cell(vectors(N, DIM), USUAL, None, 'bfloat16'),
    'float64': Cell(vectors(N, DIM), USUAL, None, 'float64'),
}

# A slope up to this is zero: in collapsed batches directions leave a rest of rounding.
NONE = 1e-5

# Where zero is right. Without a positive, or without a negative, there is nothing to compare; and where all embeddings
# are equal no direction is better than another.
_ALONE = {'batch of one', 'collapsed'}
_NOTHING_TO_COMPARE = {*_ALONE, 'no positives', 'every label distinct', 'one class'}
_ONE_SCORE = {'batch of one', 'one pair, one negative', 'one class'}
ZERO: dict[str, set[str]] = {
    **dict.fromkeys(
        (
            'ContrastiveLoss',
            'GeneralizedLiftedStructureLoss',
            'IntraPairVarianceLoss',
            'MultiSimilarityLoss',
            'OnlineContrastiveLoss',
            'RankedListLoss',
            'SiameseLoss',
            'SigLIPLoss',
            'SignalToNoiseRatioContrastiveLoss',
            'ThresholdConsistentMarginLoss',
        ),
        _ALONE,
    ),
    # Positives among themselves are something to compare, and so are two views.
    **dict.fromkeys(('SupConLoss', 'VICRegLoss'), _NOTHING_TO_COMPARE - {'one class'}),
    'BarlowTwinsLoss': {*_NOTHING_TO_COMPARE, 'one pair, one negative'},  # of one pair there is no correlation
    **dict.fromkeys(
        (
            'AngularLoss',
            'BatchAllTripletLoss',
            'BatchHardSoftMarginTripletLoss',
            'BatchHardTripletLoss',
            'BatchSemiHardTripletLoss',
            'CLIPLoss',
            'CircleLoss',
            'CentroidTripletLoss',
            'FastAPLoss',
            'GISTEmbedLoss',
            'InfoNCELoss',
            'LiftedStructureLoss',
            'MarginLoss',
            'MultipleNegativesRankingLoss',
            'MultipleNegativesSymmetricRankingLoss',
            'NCALoss',
            'NTXentLoss',
            'PNPLoss',
            'SmoothAPLoss',
            'TripletLoss',
            'TripletMarginLoss',
            'TupletMarginLoss',
        ),
        _NOTHING_TO_COMPARE,
    ),
    'NPairsLoss': {*_NOTHING_TO_COMPARE, 'one pair, one negative'},  # it needs pairs of two classes
    'AnglELoss': _ONE_SCORE,
    'CoSENTLoss': {*_ONE_SCORE, 'collapsed'},
    'CosineSimilarityLoss': {'batch of one', 'collapsed'},  # the one row is of two equal vectors
}


class Steps(NamedTuple):
    """The values of two steps, the slope of the first with respect to the embeddings, and the vectors of each step."""

    values: list[float]
    slopes: list[np.ndarray]
    expected: list[float]


def rounded(x: np.ndarray, dtype: str) -> np.ndarray:
    """`x` in float64, as a model of that precision gives it."""
    if dtype == 'bfloat16':
        bits = x.astype(np.float32).view(np.uint32)
        half = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        return half.view(np.float32).astype(float)
    return x.astype(dtype).astype(float)


def steps(library, name: str, cell: Cell) -> Steps:
    """Two steps of gradient descent on a cell, and what numpy says in float64."""
    objective = Objective(get(name))
    x = samples.fitting(name, cell.x)
    codes, layout = samples.batch(name, x, cell.labels, cell.items)
    weights = learned(objective, DIM, samples.CLASSES)
    result = Steps([], [], [])
    for _ in range(2):
        exact = {key: rounded(value, cell.dtype) for key, value in weights.items()}
        result.expected.append(float(objective(rounded(x, cell.dtype), codes, layout, exact)))
        batch = _Batch(x, codes, layout)
        value, (slope, *others) = library.run(objective, batch, *weights.values(), dtype=cell.dtype)
        result.values.append(value)
        result.slopes.append(slope)
        x = (x - 0.1 * slope).astype(np.float32)
        weights = {
            key: (value - 0.1 * other).astype(np.float32)
            for (key, value), other in zip(weights.items(), others, strict=True)
        }
    return result


class _Batch(NamedTuple):
    embeddings: np.ndarray
    codes: dict
    layout: object


def cells(name: str) -> list[str]:
    """The cells of a loss: those on scores know no classes."""
    if find(name).expects is Scores:
        return [cell for cell in CELLS if cell not in ('no positives', 'one class')] + ['one class']
    return list(CELLS)


NAMES = sorted(LOSSES)
