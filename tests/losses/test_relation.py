"""Codes become masks: against loops over what the codes mean."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses.labels import encode_labels
from finetuner.losses.relation import Relation, classify, relate, same_class
from tests.losses import cases, oracles


def masks(xp, relation):
    return xp.to_numpy(relation.positives), xp.to_numpy(relation.negatives)


@pytest.mark.parametrize(
    ('batch', 'across'),
    [
        (cases.classes(), False),
        (cases.classes(), True),
        (cases.classes((0, -1, -1, 0, 1, 1, 0)), False),
        (cases.several_labels(), False),
        (cases.sessions(), False),
        (cases.sessions(across=True), True),
        (cases.pairs(), False),
        (cases.views(), False),
    ],
)
def test_masks(xp, library, batch, across):
    rows = columns = {name: library.native(code) for name, code in batch.codes.items()}
    if batch.layout.width > 1:
        rows = {name: code[: batch.layout.rows] for name, code in rows.items()}
        columns = {name: code[batch.layout.rows :] for name, code in columns.items()}
    relation = relate(rows, columns, batch.layout.most, across)
    positives, negatives = masks(xp, relation)
    np.testing.assert_array_equal(positives, batch.positives)
    np.testing.assert_array_equal(negatives, batch.negatives)
    tuples = Relation(positives, negatives, batch.layout.most).triplets().tolist()
    assert tuples == sorted(list(t) for t in batch.tuples.triplets)


def test_visit_takes_every_triplet_once(xp, library):
    batch = cases.classes()
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    steps = list(relation.visit())
    assert len(steps) == batch.layout.most
    found = []
    for pick, kept in steps:
        pick, kept = xp.to_numpy(pick), xp.to_numpy(kept)
        assert pick.sum(axis=1).max() <= 1
        found += [(a, p, n) for a, p in np.argwhere(pick) for n in np.flatnonzero(kept[a])]
    assert sorted(found) == sorted(batch.tuples.triplets)


def test_pairs_are_listed_positives_first():
    batch = cases.sessions()
    pairs = Relation(batch.positives, batch.negatives, batch.layout.most).pairs().tolist()
    assert pairs == [[*p, 1] for p in batch.tuples.positives] + [[*n, 0] for n in batch.tuples.negatives]


def test_a_rule_without_distances_is_an_error():
    relation = same_class([0, 0, 1])._replace(keep=lambda near, far, between: far > near)
    with pytest.raises(ArgumentError, match='no distances to judge by'):
        relation.triplets()


def test_classes_as_candidates(xp, library):
    codes = {'item': library.native(np.array([0, 1, 2, -1], np.int32))}
    codes['label'] = library.native(np.array([[0, 2], [1, -1], [-1, -1], [0, -1]], np.int32))
    positives, negatives = masks(xp, classify(codes, n_classes=3, most=2))
    assert positives.astype(int).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert negatives.astype(int).tolist() == [[0, 1, 0], [1, 0, 1], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    'labels', [['a', 'b', 'a', 'a'], (5, 2**40, 5, 5), [('x', 1), ('y', 1), ('x', 1), ('x', 1)], [None, 0, None, None]]
)
def test_labels_may_be_anything_hashable(xp, library, labels):
    like = library.native(np.zeros((4, 2), np.float32))
    relation = same_class(labels, like)
    positives, negatives = masks(xp, relation)
    expected = oracles.masks(list(labels))
    np.testing.assert_array_equal(positives, expected[0])
    np.testing.assert_array_equal(negatives, expected[1])
    assert relation.most == 2


@pytest.mark.parametrize('dtype', [np.int32, np.int64])
def test_labels_may_be_numbers_of_any_library(xp, library, dtype):
    labels = np.array([3, 7, 3, -2, 7, 7], dtype)
    expected = oracles.masks(labels.tolist())[0]
    expected[3] = False
    for given in (labels, library.native(labels)):
        relation = same_class(given, like=library.native(np.zeros((6, 2), np.float32)))
        np.testing.assert_array_equal(xp.to_numpy(relation.positives), expected)
        assert relation.most == 2


@pytest.mark.backends('keras-tensorflow', 'keras-jax')
def test_labels_unknown_to_a_compiler_bound_nothing(backend):
    bounds = []

    def trace(labels):
        bounds.append(same_class(labels).most)
        return labels

    if backend == 'keras-jax':
        import jax

        jax.jit(trace)(np.arange(5))
    else:
        import tensorflow as tf

        tf.function(trace)(tf.range(5))
    assert bounds == [4]


def test_codes_count_in_order_of_appearance():
    codes, names = encode_labels(['b', 'a', 'b', 'c'])
    assert codes.tolist() == [0, 1, 0, 2]
    assert codes.dtype == np.int32
    assert names == ['b', 'a', 'c']
