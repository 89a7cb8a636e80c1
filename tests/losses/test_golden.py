"""What the original Finetuner's own tests pin, on every library."""

import numpy as np
import pytest

from finetuner.losses import NTXentLoss, SiameseLoss, TripletLoss
from finetuner.losses.miners import SiameseEasyHardMiner, TripletEasyHardMiner, TripletSessionMiner
from finetuner.losses.relation import Relation, relate, same_class

EMBEDDINGS = np.array([[0.1, 0.1], [0.2, 0.2], [0.4, 0.4], [0.7, 0.7]], np.float32)

LABELS = [1, 3, 1, 3, 2, 2]
DISTANCES = np.array(
    [
        [0, 4, 3, 7, 7, 6],
        [4, 0, 2, 5, 7, 7],
        [3, 2, 0, 5, 6, 6],
        [7, 5, 5, 0, 3, 5],
        [7, 7, 6, 3, 0, 3],
        [6, 7, 6, 5, 3, 0],
    ],
    np.float32,
)
# Strategies for positives and negatives: triplets `apn`, and pairs `ij1` then `ij0`.
STRATEGIES = [
    ('hard easy all', 'hard', '021 132 201 314 453 543', '021 131 451 010 120 230 340'),
    ('hard easy all', 'easy', '023 134 204 310 450 541', '021 131 451 030 140 240 350'),
    ('hard easy', 'semihard', '021 134 203 310 452 543', '021 131 451 010 140 230 340'),
    ('semihard', 'hard', '021 543', '021 010 120 230 340'),
    ('semihard', 'easy', '023 134 204 310 450 541', '021 131 030 140 240 350'),
    ('hard easy', 'all', None, None),
]


def digits(text):
    return [[int(c) for c in word] for word in text.split()]


def chosen(library, *places):
    mask = np.zeros((4, 4), bool)
    mask[tuple(zip(*places, strict=True))] = True
    return library.native(mask)


def test_siamese_loss(library):
    relation = Relation(chosen(library, (2, 3)), chosen(library, (0, 1)), 1)
    x = library.native(EMBEDDINGS)
    value = SiameseLoss('euclidean', margin=1.0)(x, x, relation)
    assert float(value) == pytest.approx(0.64142, abs=1e-5)


def test_triplet_loss(library):
    relation = Relation(chosen(library, (0, 1), (2, 3)), chosen(library, (0, 2), (2, 1)), 1)
    x = library.native(EMBEDDINGS)
    value = TripletLoss('euclidean', margin=1.0)(x, x, relation)
    assert float(value) == pytest.approx(0.9293, abs=1.5e-5)


@pytest.mark.parametrize('loss', [SiameseLoss, TripletLoss])
@pytest.mark.parametrize('distance', ['cosine', 'euclidean'])
@pytest.mark.parametrize('margin', [0.0, 0.5, 1.0])
def test_loss_is_a_number_not_below_zero(library, loss, distance, margin):
    rng = np.random.default_rng(1)
    x = library.native(rng.random((12, 6)).astype(np.float32))
    value = loss(distance, margin)(x, [0, 1, 2] * 4)
    assert tuple(value.shape) == ()
    assert float(value) >= 0


@pytest.mark.parametrize('loss', [SiameseLoss, TripletLoss])
@pytest.mark.parametrize('distance', ['cosine', 'euclidean'])
def test_loss_of_a_perfect_split_without_margin_is_zero(library, loss, distance):
    x = library.native(np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32))
    assert float(loss(distance, 0.0)(x, [0, 0, 1, 1])) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('temperature', [0.3, 0.5, 1.0])
@pytest.mark.parametrize('labels', [[0, 1, 2, 0, 1, 2], [0, 0, 1, 1, 2, 2], [2, 0, 1, 1, 0, 2]])
def test_ntxent_is_cross_entropy_over_all_others(library, temperature, labels):
    x = np.random.default_rng(2).standard_normal((6, 4)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    logits = unit @ unit.T / temperature
    np.fill_diagonal(logits, -np.inf)
    twin = [next(j for j in range(6) if j != i and labels[j] == labels[i]) for i in range(6)]
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[range(6), twin])
    assert float(NTXentLoss(temperature)(library.native(x), labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ('positive', 'negative', 'triplets', 'pairs'),
    [(p, negative, triplets, pairs) for names, negative, triplets, pairs in STRATEGIES for p in names.split()],
)
def test_strategies(library, positive, negative, triplets, pairs):
    relation = same_class(LABELS, like=library.native(DISTANCES))
    mined = TripletEasyHardMiner(positive, negative)(library.native(DISTANCES), relation)
    if triplets is None:
        assert mined.triplets().tolist() == relation.triplets().tolist()
        assert len(mined.triplets()) == 24
    else:
        assert mined.triplets().tolist() == digits(triplets)
    mined = SiameseEasyHardMiner(positive, negative)(library.native(DISTANCES), relation)
    if pairs is None:
        assert mined.pairs().tolist()[:3] == digits('021 131 451')
        assert len(mined.pairs()) == 3 + 12
    else:
        assert mined.pairs().tolist() == digits(pairs)


def session_codes(library):
    codes = {
        'item': np.arange(8),
        'session': np.array([1, 2, 2, 2, 1, 1, 2, 2]),
        'kind': np.array([1, 1, 0, -1, 0, -1, -1, 1]),
    }
    return {name: library.native(code.astype(np.int32)) for name, code in codes.items()}


def test_sessions(library):
    codes = session_codes(library)
    relation = relate(codes, codes, most=2)
    assert relation.triplets().tolist() == digits('045 123 126 173 176 213 216 273 276 405 713 716 723 726')
    pairs = sorted([i, j, y] for i, j, y in relation.pairs().tolist() if i < j)
    assert pairs == digits('041 050 121 130 160 171 230 260 271 370 450 670')


def test_session_miners_are_the_relation_itself(library):
    codes = session_codes(library)
    relation = relate(codes, codes, most=2)
    mined = TripletSessionMiner()(library.native(np.zeros((8, 8), np.float32)), relation)
    assert mined.triplets().tolist() == relation.triplets().tolist()


def test_the_hardest_negative_may_be_at_distance_zero(library):
    # The original took a distance of zero for a masked one, and chose item 3.
    d = np.array([[0, 1, 0, 2], [1, 0, 1, 1], [0, 1, 0, 2], [2, 1, 2, 0]], np.float32)
    relation = same_class(['a', 'a', 'b', 'b'], like=library.native(d))
    triplets = TripletEasyHardMiner()(library.native(d), relation).triplets().tolist()
    assert [0, 1, 2] in triplets


def test_miners_of_one_item_find_nothing(library):
    d = library.native(np.zeros((1, 1), np.float32))
    relation = same_class([0], like=d)
    assert TripletEasyHardMiner()(d, relation).triplets().shape == (0, 3)
    assert SiameseEasyHardMiner()(d, relation).pairs().shape == (0, 3)
