"""Losses on sets, ranked lists and views where their formulas meet edges."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import CrossBatchMemory, get
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation
from finetuner.typing import Layout
from tests.losses import cases
from tests.losses.values import ranking, views

# Which compiles every operation on its own, for each shape: seconds a test.
not_jax = pytest.mark.backends('numpy', 'torch', 'keras-tensorflow', 'keras-torch', 'paddle')


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('BarlowTwinsLoss', {'eps': 0.0}, 'eps must be a positive number, got 0.0'),
        ('CircleLoss', {'gamma': -1.0}, 'gamma must be a positive number'),
        ('FastAPLoss', {'num_bins': 0}, 'num_bins must be a whole number of at least 1, got 0'),
        ('FastAPLoss', {'num_bins': 2.5}, 'num_bins must be a whole number'),
        ('IntraPairVarianceLoss', {'neg_eps': -0.1}, 'neg_eps must be a finite number of at least 0, got -0.1'),
        ('LiftedStructureLoss', {'distance': 'euclid'}, "Did you mean 'euclidean'"),
        ('PNPLoss', {'variant': 'Dx'}, "There is no variant 'Dx'. Did you mean 'D"),
        ('PNPLoss', {'anneal': 0}, 'anneal must be a positive number, got 0'),
        (
            'RankedListLoss',
            {'imbalance': 1.5},
            'imbalance must be a finite number of at least 0 and at most 1, got 1.5',
        ),
        ('SmoothAPLoss', {'temperature': float('nan')}, 'temperature must be a positive number'),
        ('SupConLoss', {'temperature': 0.0}, 'temperature must be a positive number, got 0.0'),
        ('TupletMarginLoss', {'scale': 0.0}, 'scale must be a positive number, got 0.0'),
        ('VICRegLoss', {'eps': -1e-4}, 'eps must be a positive number, got -0.0001'),
    ],
)
def test_impossible_options(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **options)


def remembered(library):
    """A batch with four earlier vectors, three of them of its classes and one the same item as one of its own."""
    x, past = cases.vectors(6), cases.vectors(4, seed=1)
    codes = {'item': np.arange(6, dtype=np.int32), 'label': np.array([[0], [0], [1], [1], [2], [2]], np.int32)}
    memory = {'embedding': past, 'item': np.array([6, 0, 7, -1], np.int32), 'label': np.array([[0], [0], [2], [-1]])}
    memory['label'] = memory['label'].astype(np.int32)
    item = np.concatenate([codes['item'], memory['item']])
    label = np.concatenate([codes['label'], memory['label']])[:, 0]
    real = (item[:6, None] != item[None]) & (item[None] >= 0)
    near, far = (real & (match(label[:6, None], label[None])) for match in (np.equal, np.not_equal))
    batch = cases.Batch(np.concatenate([x, x, past]), codes, Layout(6, 2, 3), near, far)

    def run(name):
        native = [{k: library.native(v) for k, v in part.items()} for part in (codes, memory)]
        objective = Objective(CrossBatchMemory(get(name), 10))
        return float(objective(library.native(x), native[0], Layout(6, 1, 1, 3), memory=native[1]))

    return batch._replace(layout=Layout(6, 3, 3)), run


@not_jax
def test_of_a_memory(library):
    batch, run = remembered(library)
    for name, (oracle, *_) in ranking.LOSSES.items():
        assert run(name) == pytest.approx(oracle(batch, batch.tuples), rel=1e-5), name
    assert run('CircleLoss') == pytest.approx(ranking.circle(ranking.cos(batch), batch.tuples), rel=1e-5)
    for name in ('VICRegLoss', 'BarlowTwinsLoss'):
        with pytest.raises(ArgumentError, match='no use for a memory'):
            run(name)


def test_an_anchor_without_signal_does_not_count(library):
    x = cases.vectors(6)
    x[0] = 3.0
    batch = cases.classes((0, 0, 0, 1, 1, 1))._replace(embeddings=x)
    near = library.native(np.array([[i != j and i // 3 == j // 3 for j in range(6)] for i in range(6)]))
    far = library.native(np.array([[i // 3 != j // 3 for j in range(6)] for i in range(6)]))
    loss, x = get('SignalToNoiseRatioContrastiveLoss', reducer='mean'), library.native(batch.embeddings)
    everything = loss(x, x, Relation(near, far, 2))
    without = loss(x[1:], x, Relation(near[1:], far[1:], 2))
    assert float(everything) == pytest.approx(float(without), rel=1e-6)


@not_jax
def test_what_vectors_have_in_common_costs_views_no_precision(library):
    a, b = cases.vectors(16, 8), cases.vectors(16, 8, seed=1)
    x = np.concatenate([a, a + 0.01 * b]).astype(np.float32)
    codes = {'item': np.arange(32, dtype=np.int32), 'label': np.arange(32, dtype=np.int32)[:, None] % 16}
    for width in (1, 2):
        near = np.eye(16, dtype=bool) if width == 2 else np.eye(32, k=16, dtype=bool) | np.eye(32, k=-16, dtype=bool)
        batch = cases.Batch(x + np.float32(64), codes, Layout(32 // width, width, 1), near, ~near)
        value, _ = library.run(Objective(get('VICRegLoss')), batch)
        assert value == pytest.approx(views.vicreg(batch), rel=1e-4)


@not_jax
def test_weights_of_any_steepness(library):
    batch = cases.classes()
    value, (slope,) = library.run(Objective(get('RankedListLoss', Tn=1e4, Tp=1e4)), batch)
    d = ranking.euclidean(batch)
    # Then only the worst of each half is left.
    expected = np.mean(
        [
            (max([x - 0.8 for x in d[a][batch.positives[a]]] + [0]) + max(1.2 - min(d[a][batch.negatives[a]]), 0)) / 2
            for a in range(len(d))
        ]
    )
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(slope).all()


@not_jax
def test_one_class_evens_out_its_positives(library):
    value, (slope,) = library.run(Objective(get('SupConLoss')), cases.classes((0, 0, 0, 0, 0)))
    assert value > 0.1 and np.abs(slope).max() > 0.01
    value, (slope,) = library.run(Objective(get('SupConLoss')), cases.classes((0, 0)))
    assert value == 0 and np.abs(slope).max() < 1e-6
    # A positive with nothing beside it is no choice, and lowers no mean.
    x = library.native(cases.vectors(3))
    near, far = np.zeros((2, 3, 3), bool)
    near[[0, 1], [1, 0]] = far[1, 2] = True
    both = get('SupConLoss')(x, x, Relation(library.native(near), library.native(far), 1))
    alone = get('SupConLoss')(x[1:2], x, Relation(library.native(near[1:2]), library.native(far[1:2]), 1))
    assert float(both) == pytest.approx(float(alone), rel=1e-6)
