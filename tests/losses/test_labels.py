"""Labels as people have them, and what a loss is called with: what is taken, and what is refused in a sentence."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.relation import same_class
from tests.gradients import native
from tests.losses import cases

VECTORS = cases.vectors(8, 4)
PLAIN = np.array([0, 0, 1, 1, 2, 2, 0, 1])
NAMES = np.array(['ant', 'bee', 'cat'])
SEVERAL = [[0, 1], [1], [], [2], [2, 0], [3], [3, 0], [1]]
PADDED = np.array([row + [-1] * (2 - len(row)) for row in SEVERAL])


def value(backend, labels, loss='InfoNCELoss', **learned):
    return float(get(loss)(native(backend, VECTORS), labels, **learned))


@pytest.mark.parametrize(
    'labels',
    [
        PLAIN + 2**32 * (PLAIN == 1),  # as int32 they would be others
        np.array([-5, -7, -9])[PLAIN],
        PLAIN / 10,
        PLAIN.astype(np.uint8),
        PLAIN[:, None],
        NAMES[PLAIN],
        NAMES.astype(object)[PLAIN],
        NAMES[PLAIN].tolist(),
        list(PLAIN),
        [np.asarray(label) for label in PLAIN],
        [[label] for label in PLAIN.tolist()],
        [np.array([label]) for label in PLAIN],
        tuple((name, 1) for name in NAMES[PLAIN].tolist()),
    ],
    ids=lambda labels: f'{type(labels).__name__} {labels[2]!r}',
)
def test_names_of_classes_may_be_anything(backend, labels):
    expected = value(backend, native(backend, PLAIN))
    assert expected > 0.1
    assert value(backend, labels) == pytest.approx(expected, rel=1e-6)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iuf' and 'jax' not in backend:  # which has no int64
        assert value(backend, native(backend, labels)) == pytest.approx(expected, rel=1e-6)


def test_minus_one_is_no_class(backend):
    labels = np.where(PLAIN == 2, -1, PLAIN)
    expected = np.asarray(labels[:, None] == labels) & (labels >= 0) & ~np.eye(8, dtype=bool)
    for given in (labels, labels.astype(float), labels.tolist(), native(backend, labels)):
        np.testing.assert_array_equal(same_class(given).positives, expected)


def test_several_labels_of_an_item(backend):
    sets = [set(row) for row in SEVERAL]
    expected = [[i != j and bool(a & b) for j, b in enumerate(sets)] for i, a in enumerate(sets)]
    for given in (SEVERAL, PADDED, [[f'{label}' for label in row] for row in SEVERAL]):
        relation = same_class(given, VECTORS)
        np.testing.assert_array_equal(relation.positives, expected)
        assert relation.most >= np.sum(expected, axis=1).max()
    assert value(backend, SEVERAL) == pytest.approx(value(backend, native(backend, PADDED)), rel=1e-6)
    classes = native(backend, cases.vectors(4, 4, seed=3))
    by_list = value(backend, SEVERAL, 'ArcFaceLoss', classes=classes)
    assert by_list == pytest.approx(value(backend, native(backend, PADDED), 'ArcFaceLoss', classes=classes), rel=1e-6)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (PLAIN[:7], 'There are 8 embeddings and 7 labels'),
        (PLAIN[:1], 'There are 8 embeddings and 1 labels'),
        (PLAIN[:7].tolist(), 'There are 8 embeddings and 7 labels'),
        (PLAIN.reshape(2, 4), 'There are 8 embeddings and 2 labels'),
        (PLAIN.reshape(8, 1, 1), r'labels have the shape \(8, 1, 1\)'),
        (3, r'labels have the shape \(\)'),
        (None, r'labels have the shape \(\)'),
        ([{0}] * 8, 'labels must be hashable'),
        ([float('nan')] * 8, 'A label is nan, which is no name of a class'),
        (np.full(8, np.nan), 'A label is nan, which is no name of a class'),
    ],
)
def test_what_are_no_labels_is_refused(backend, labels, message):
    with pytest.raises(ArgumentError, match=message):
        value(backend, labels)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.arange(8), 'A label is 7: with 3 classes they go from 0 to 2, or are -1'),
        (list(range(8)), 'A label is 7: with 3 classes'),
        (PLAIN - 2, 'A label is -2: with 3 classes'),
        (np.array([0, 5.0, 7, 9, 0, 0, 0, 0]), 'A label is 9: with 3 classes'),
        (PLAIN + 2**32, 'A label is 4294967298: with 3 classes'),
        (PLAIN / 10, 'ArcFaceLoss learns or remembers classes'),
        (np.where(PLAIN == 2, np.nan, 0), 'ArcFaceLoss learns or remembers classes'),
        (NAMES[PLAIN], 'ArcFaceLoss learns or remembers classes'),
        (NAMES[PLAIN].tolist(), 'ArcFaceLoss learns or remembers classes'),
        ([[0, 'a']] * 8, 'ArcFaceLoss learns or remembers classes'),
    ],
)
def test_numbers_of_learned_classes_must_be_there(backend, labels, message):
    learned = {'classes': native(backend, cases.vectors(3, 4))}
    with pytest.raises(ArgumentError, match=message):
        value(backend, labels, 'ArcFaceLoss', **learned)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in 'iuf' and 'jax' not in backend:
        with pytest.raises(ArgumentError, match=message):
            value(backend, native(backend, labels), 'ArcFaceLoss', **learned)


def test_learned_classes_must_have_all_their_centers():
    with pytest.raises(ArgumentError, match='classes has 7 rows: expected 3 for each class'):
        value('numpy', PLAIN, 'SubCenterArcFaceLoss', classes=cases.vectors(7, 4))
    with pytest.raises(ArgumentError, match='A label is 2: with 2 classes'):
        value('numpy', PLAIN, 'SubCenterArcFaceLoss', classes=cases.vectors(6, 4))
    beta = get('MarginLoss', learn_beta=True, beta_per_class=True)
    with pytest.raises(ArgumentError, match='A label is 2: with 2 classes'):
        beta(VECTORS, PLAIN, beta=np.ones(2))


@pytest.mark.parametrize(
    ('name', 'options', 'learned', 'message'),
    [
        ('InfoNCELoss', {}, {'temperature': 0.5}, r'options belong into InfoNCELoss\(temperature=…\)'),
        ('InfoNCELoss', {}, {'temperatur': 0.5}, "learns nothing by the name 'temperatur'. Did you mean 'temperature'"),
        ('TripletMarginLoss', {}, {'beta': 0.5}, "TripletMarginLoss learns nothing by the name 'beta'"),
        ('MarginLoss', {}, {'beta': 0.5}, r'options belong into MarginLoss\(beta=…\)'),
        ('ArcFaceLoss', {}, {'clases': VECTORS}, "Did you mean 'classes'"),
        ('MatryoshkaLoss', {'loss': 'InfoNCELoss'}, {'dims': [2]}, r'options belong into MatryoshkaLoss\(dims=…\)'),
        ('MultipleLosses', {'losses': ['ArcFaceLoss', 'CLIPLoss']}, {'classes': VECTORS}, "Did you mean 'classes_0'"),
        ('CrossBatchMemory', {'loss': 'InfoNCELoss'}, {'scale': 2}, "learns nothing by the name 'scale'"),
    ],
)
def test_what_a_loss_does_not_learn_is_refused(name, options, learned, message):
    with pytest.raises(ArgumentError, match=message):
        get(name, **options)(VECTORS, PLAIN, **learned)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('MarginLoss', {'learn_beta': True, 'nu': 0.1}),
        ('MarginLoss', {'learn_beta': True, 'beta_per_class': True, 'nu': 0.1}),
        ('CLIPLoss', {}),
        ('SigLIPLoss', {}),
        ('MultipleLosses', {'losses': ['CLIPLoss', ('MarginLoss', {'learn_beta': True})]}),
    ],
)
def test_learned_numbers_start_from_their_options(backend, name, options):
    loss, x, y = get(name, **options), native(backend, VECTORS), native(backend, PLAIN)
    learned = {key: native(backend, start) for key, start in loss.parameters(4, 3).items()}
    assert float(loss(x, y)) == pytest.approx(float(loss(x, y, **learned)), rel=1e-6)
    assert tuple(learned) == loss.learns


@pytest.mark.backends('torch')
@pytest.mark.parametrize('name', ['InfoNCELoss', 'MarginLoss', 'ArcFaceLoss', 'TripletMarginLoss'])
def test_labels_and_what_is_learned_pass_a_compiler(name):
    import torch

    loss = get(name, learn_beta=True) if name == 'MarginLoss' else get(name)
    learned = {key: torch.tensor(start) for key, start in loss.parameters(4, 3).items()}
    x, y = torch.tensor(VECTORS), torch.tensor(PLAIN)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, y, learned: loss(x, y, **learned), fullgraph=True, backend='eager')
    assert float(compiled(x, y, learned)) == pytest.approx(float(loss(x, y, **learned)), rel=1e-6)


def test_every_loss_names_what_it_learns():
    from finetuner.losses.names import LOSSES

    for name in LOSSES:
        assert get(name).learns == tuple(get(name).parameters(3, 2)), name
