"""Batches that break formulas: numbers in, numbers out, in value and slope, on every library."""

import numpy as np
import pytest

from finetuner.losses import get, triplets
from finetuner.losses.miners import SiameseEasyHardMiner, TripletEasyHardMiner, TripletMarginMiner
from finetuner.losses.names import LOSSES, find
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation
from finetuner.typing import Layout
from tests.losses.cases import Batch, learned, vectors

N, DIM = 8, 4


def same(rows):
    return np.repeat(vectors(1, DIM), rows, axis=0)


def zero_in(x):
    x = x.copy()
    x[0] = 0
    return x


# Embeddings (N, DIM) by name.
EMBEDDINGS = {
    'usual': vectors(N, DIM),
    'all equal': same(N),
    'all zero': np.zeros((N, DIM), np.float32),
    'a zero vector': zero_in(vectors(N, DIM)),
    'duplicates': np.concatenate([vectors(N // 2, DIM)] * 2),
    'opposites': np.concatenate([vectors(N // 2, DIM), -vectors(N // 2, DIM)]),
    'nearly equal': same(N) + 1e-4 * vectors(N, DIM),
    'on axes': np.repeat(np.eye(DIM, dtype=np.float32), 2, axis=0),
    'large': 6e4 * np.sign(vectors(N, DIM)),
    'small': 1e-7 * vectors(N, DIM),
    'subnormal': 1e-30 * vectors(N, DIM),
}
# Labels of the N items.
LABELS = {
    'usual': [0, 0, 1, 1, 2, 2, 3, 3],
    'no positives': [0, 1, 2, 3, 4, 5, 6, 7],
    'one class': [0] * 8,
    'one pair and a stranger': [0, 0, 1, -1, -1, -1, -1, -1],
    'no labels': [-1] * 8,
}
RELATED = [name for name in LOSSES if find(name).expects is Relation and not find(name).guided]
OBJECTIVES = [
    *[Objective(get(name)) for name in RELATED],
    *[Objective(get(name, normalize=False, distance='euclidean')) for name in ('ContrastiveLoss', 'TripletMarginLoss')],
    *[Objective(get('TripletMarginLoss', reducer=r)) for r in ('mean', 'anchor', 'sum')],
    *[
        Objective(get(name), miner)
        for name in ('ContrastiveLoss', 'InfoNCELoss', 'MultiSimilarityLoss', 'TripletLoss', 'SiameseLoss')
        for miner in (
            TripletMarginMiner(type_of_triplets='semihard'),
            TripletEasyHardMiner('semihard', 'hard'),
            SiameseEasyHardMiner(),
        )
    ],
]


def batch_of(x, labels, nobody=0):
    item = np.arange(len(x), dtype=np.int32)
    item[len(x) - nobody :] = -1
    label = np.array(labels[: len(x)], np.int32)[:, None]
    none = np.zeros((len(x), len(x)), bool)
    return Batch(x, {'item': item, 'label': label}, Layout(len(x), 1, max(len(x) - 1, 1), 8), none, none)


BATCHES = {
    **{f'{name}': batch_of(x, LABELS['usual']) for name, x in EMBEDDINGS.items()},
    **{name: batch_of(EMBEDDINGS['usual'], labels) for name, labels in LABELS.items() if name != 'usual'},
    **{f'all equal, {name}': batch_of(same(N), labels) for name, labels in LABELS.items() if name != 'usual'},
    'two items': batch_of(vectors(2, DIM), [0, 0]),
    'one item': batch_of(vectors(1, DIM), [0]),
    'two strangers': batch_of(vectors(2, DIM), [0, 1]),
    'some are nobody': batch_of(EMBEDDINGS['usual'], LABELS['usual'], nobody=3),
    'all are nobody': batch_of(EMBEDDINGS['all zero'], LABELS['usual'], nobody=N),
}


def weights(objective):
    return list(learned(objective, DIM, 8).values())


def finite(library, objective, batch, dtype):
    value, slopes = library.run(objective, batch, *weights(objective), dtype=dtype)
    assert np.isfinite(value)
    assert value >= 0
    for slope in slopes:
        assert np.isfinite(slope).all()
    return value, slopes


# JAX takes minutes for them, operation by operation; test_matrix.py has its cells.
@pytest.mark.backends('numpy', 'torch', 'keras-tensorflow', 'keras-torch', 'paddle')
@pytest.mark.parametrize('way', ['visited', 'sorted'])
@pytest.mark.parametrize('name', BATCHES)
def test_numbers_come_out(library, monkeypatch, name, way):
    monkeypatch.setattr(triplets, 'FEW', 32 if way == 'visited' else 0)
    for objective in OBJECTIVES:
        if way == 'visited' or isinstance(objective.miner, TripletMarginMiner) or 'Triplet' in repr(objective.loss):
            finite(library, objective, BATCHES[name], 'float32')


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('name', BATCHES)
def test_numbers_come_out_in_half_precision(library, name, dtype):
    if dtype == 'float16' and name == 'small':
        pytest.skip('the slope of a direction is 1 / length, there beyond the largest number of float16')
    for loss in ('ArcFaceLoss', 'InfoNCELoss', 'TripletMarginLoss'):
        finite(library, Objective(get(loss)), BATCHES[name], dtype)


@pytest.mark.parametrize('name', ['no labels', 'no positives', 'one item', 'two strangers', 'all are nobody'])
def test_nothing_to_learn_is_zero_with_slope_zero(library, name):
    # Not of ArcFace, nor of losses that push negatives away on their own.
    for loss in ('InfoNCELoss', 'NTXentLoss', 'TripletMarginLoss', 'TripletLoss'):
        value, slopes = finite(library, Objective(get(loss)), BATCHES[name], 'float32')
        assert value == 0
        assert all((slope == 0).all() for slope in slopes)


@pytest.mark.parametrize('loss', RELATED)
def test_nobody_changes_nothing(library, loss):
    batch = BATCHES['some are nobody']
    without = batch_of(batch.embeddings[:-3], LABELS['usual'])
    value, slopes = finite(library, Objective(get(loss)), batch, 'float32')
    expected, _ = finite(library, Objective(get(loss)), without, 'float32')
    assert value == pytest.approx(expected, rel=1e-6)
    assert np.abs(slopes[0][-3:]).max() <= (1e-9 if library.name == 'numpy' else 0)  # its slopes are differences


@pytest.mark.parametrize('name', EMBEDDINGS)
@pytest.mark.parametrize('score', [[0.5] * 4, [0.0, 1.0, 0.5, 0.5], [-1e6, 1e6, 0.0, 1.0]])
def test_scores(library, name, score):
    for loss, width in (('CoSENTLoss', 2), ('MarginMSELoss', 3)):
        x = EMBEDDINGS[name][: 4 * width] if width == 2 else np.concatenate([EMBEDDINGS[name], EMBEDDINGS[name][:4]])
        codes = {'item': np.arange(4 * width, dtype=np.int32), 'score': np.array(score, np.float32)[:, None]}
        batch = Batch(x, codes, Layout(4, width), np.zeros((4, 4), bool), np.zeros((4, 4), bool))
        value, slopes = finite(library, Objective(get(loss)), batch, 'float32')
        if loss == 'CoSENTLoss' and len(set(score)) == 1:
            assert value == 0 and (slopes[0] == 0).all()


def test_one_scored_row(library):
    codes = {'item': np.arange(2, dtype=np.int32), 'score': np.ones((1, 1), np.float32)}
    batch = Batch(vectors(2, DIM), codes, Layout(1, 2), np.zeros((1, 1), bool), np.zeros((1, 1), bool))
    assert finite(library, Objective(get('CoSENTLoss')), batch, 'float32')[0] == 0
