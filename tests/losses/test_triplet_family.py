"""What triplet losses, and those of pairs of two classes, promise beyond their values."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import TripletEasyHardMiner, TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.losses.registry import resolve
from finetuner.losses.relation import Relation, same_class
from tests.losses import cases, oracles

LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
NAMES = [
    'AngularLoss',
    'BatchAllTripletLoss',
    'BatchHardSoftMarginTripletLoss',
    'BatchHardTripletLoss',
    'BatchSemiHardTripletLoss',
    'CentroidTripletLoss',
    'MarginLoss',
    'NCALoss',
    'NPairsLoss',
    'OnlineContrastiveLoss',
    'TripletMarginLoss',
]


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('AngularLoss', {'alpha': 0}, 'alpha must be a finite number above 0 and at most 65, got 0'),
        ('AngularLoss', {'alpha': 80}, 'alpha must be a finite number'),
        ('MarginLoss', {'beta_per_class': True}, 'beta_per_class=True without learn_beta=True'),
        ('NCALoss', {'softmax_scale': 0}, 'softmax_scale must be a positive number'),
        *[(name, {'reducer': 'median'}, "no reducer 'median'") for name in (*NAMES, 'SiameseLoss')],
        *[
            (name, {'distance': 'euclid'}, "Did you mean 'euclidean'")
            for name in NAMES
            if name not in ('AngularLoss', 'NPairsLoss')
        ],
    ],
)
def test_options_that_cannot_be(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **options)


def test_one_boundary_is_for_all_data_and_one_of_each_class_for_labels():
    assert resolve('MarginLoss', loss_options={'learn_beta': True}, kind='session').parameters(4, 0)['beta'].shape == (
        1,
    )
    options = {'learn_beta': True, 'beta_per_class': True, 'beta': 0.5}
    objective = resolve('MarginLoss', loss_options=options, kind='class')
    assert objective.parameters(4, 3)['beta'].tolist() == [0.5] * 3
    assert get('MarginLoss').parameters(4, 3) == {}
    for kind, width in (('session', 1), ('pair', 2), ('instance', 1)):
        with pytest.raises(ArgumentError, match='MarginLoss needs class labels; .* Losses that fit: .*MarginLoss'):
            resolve('MarginLoss', loss_options=options, kind=kind, width=width)


def test_a_boundary_of_each_class_in_a_loop_of_ones_own(library):
    x = cases.vectors(len(LABELS))
    beta = np.linspace(0.9, 1.3, 4, dtype=np.float32)
    loss = get('MarginLoss', learn_beta=True, beta_per_class=True)
    value = float(loss(library.native(x), LABELS, beta=library.native(beta)))
    objective = Objective(loss)
    codes = {'item': np.arange(10, dtype=np.int32), 'label': np.array(LABELS, np.int32)[:, None]}
    layout = cases.classes(tuple(LABELS)).layout
    assert value == pytest.approx(float(objective(x, codes, layout, {'beta': beta})), rel=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_candidates_may_be_many_more_than_anchors(library, name):
    # As with a memory: the first rows of the relation of a batch to itself, the batch copied behind it.
    options = {'swap': True} if name == 'TripletMarginLoss' else {}
    x = cases.vectors(10).astype(np.float32)
    whole = same_class(LABELS)
    far = np.concatenate([whole.negatives, whole.negatives], axis=1)
    near = np.concatenate([whole.positives, np.zeros_like(whole.positives)], axis=1)
    candidates = np.concatenate([x, x])
    loss = get(name, **options)
    anchors = library.native(x[:4])
    relation = Relation(library.native(near[:4]), library.native(far[:4]), 3)
    exact = loss(x[:4].astype(float), candidates.astype(float), Relation(near[:4], far[:4], 3))
    assert float(loss(anchors, library.native(candidates), relation)) == pytest.approx(float(exact), rel=1e-5)
    if name in ('BatchHardTripletLoss', 'BatchHardSoftMarginTripletLoss', 'BatchSemiHardTripletLoss'):
        once = loss(x[:4].astype(float), x.astype(float), Relation(near[:4, :10], far[:4, :10], 3))
        assert float(exact) == pytest.approx(float(once))  # the hardest stay the hardest


@pytest.mark.backends('numpy', 'torch')
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('miner', [TripletMarginMiner(0.5, 'semihard'), TripletEasyHardMiner()])
def test_they_take_what_a_miner_chose(library, name, miner):
    batch = cases.classes(tuple(LABELS))
    value, slopes = library.run(Objective(get(name), miner), batch)
    assert np.isfinite(value) and value > 0
    assert np.isfinite(slopes[0]).all() and np.abs(slopes[0]).max() > 0


@pytest.mark.parametrize('smooth', [False, True])
def test_a_loss_without_swap_is_the_same_counted_or_visited(smooth):
    batch = cases.classes(tuple(LABELS))
    d = oracles.distances(*batch.columns)
    for reducer in ('mean', 'nonzero', 'anchor', 'sum'):
        loss = get('TripletMarginLoss', margin=0.4, reducer=reducer, smooth_loss=smooth)
        cost = (lambda v: np.log1p(np.exp(v))) if smooth else (lambda v: max(v, 0.0))
        terms = [(a, float(cost(d[a, p] - d[a, n] + 0.4))) for a, p, n in batch.tuples.triplets]
        value = Objective(loss)(batch.embeddings.astype(float), batch.codes, batch.layout)
        assert float(value) == pytest.approx(oracles.reduced(terms, reducer))


def test_classes_of_one_size_have_the_same_centroids_wherever_they_stand():
    # Three classes of three: each anchor meets one item and one centroid of either other class.
    x, labels = cases.vectors(9).astype(float), np.repeat(np.arange(3), 3)
    loss = get('CentroidTripletLoss', margin=10.0, reducer='sum', distance='sqeuclidean', normalize=False)
    expected = 0.0
    for c in range(3):
        for i in range(3):
            anchor, own = x[3 * c + i], np.delete(x[3 * c : 3 * c + 3], i, axis=0).mean(axis=0)
            for other in {0, 1, 2} - {c}:
                rest = np.delete(x[3 * other : 3 * other + 3], i, axis=0).mean(axis=0)
                for far in (x[3 * other + i], rest):
                    expected += max(((anchor - own) ** 2).sum() - ((anchor - far) ** 2).sum() + 10, 0)
    assert float(loss(x, labels)) == pytest.approx(expected)
    mixed = np.array([0, 3, 6, 1, 4, 7, 2, 5, 8])
    assert float(loss(x[mixed], labels[mixed])) == pytest.approx(expected)


@pytest.mark.backends('torch')
def test_thousands_of_triplets_take_the_memory_of_pairs():
    import torch

    x = torch.randn(1024, 8, requires_grad=True)
    labels = torch.arange(1024) % 32
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    for name in NAMES:
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = get(name)(x, labels)
        value.backward()
        assert np.isfinite(value.item())
        assert max(saved) <= 4 * 1024 * 1024, name
        assert len(saved) < 100, name
