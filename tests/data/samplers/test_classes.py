import numpy as np
import pytest
from hypothesis import given, strategies as st

from finetuner.data.sampler import ClassSampler
from finetuner.errors import ArgumentError, DataError
from finetuner.losses.relation import relate

labels_of_two = st.lists(st.integers(0, 6), min_size=3, max_size=60).filter(
    lambda labels: len(set(labels)) > 1 and max(map(labels.count, labels)) > 1
)


@given(labels_of_two, st.integers(4, 40), st.integers(0, 5))
def test_every_item_once_an_epoch_in_batches_of_one_length(labels, batch_size, epoch):
    sampler = ClassSampler(labels, batch_size, seed=3)
    batches = list(sampler.batches(epoch))
    assert {len(batch) for batch in batches} == {sampler.rows}
    assert sampler.rows <= batch_size
    assert len(batches) == len(sampler)
    assert set(np.concatenate(batches)) == set(range(len(labels)))


@given(labels_of_two, st.integers(4, 40))
def test_a_batch_is_k_items_of_p_distinct_classes(labels, batch_size):
    sampler = ClassSampler(labels, batch_size)
    for batch in sampler.batches(0):
        groups = np.array(labels)[batch].reshape(sampler.classes, sampler.num_items_per_class)
        assert (groups == groups[:, :1]).all()
        assert len(set(groups[:, 0])) == sampler.classes >= 2


@given(labels_of_two, st.integers(4, 40))
def test_no_item_twice_in_a_batch_while_its_class_has_others(labels, batch_size):
    sampler = ClassSampler(labels, batch_size)
    k = sampler.num_items_per_class
    for batch in sampler.batches(0):
        for group in batch.reshape(-1, k):
            assert len(set(group)) == min(k, labels.count(labels[group[0]]))


@given(labels_of_two, st.integers(4, 40), st.integers(0, 2**70))
def test_batches_are_a_function_of_seed_and_epoch(labels, batch_size, seed):
    first, again = (
        [batch.tolist() for batch in ClassSampler(labels, batch_size, seed=seed).batches(7)] for _ in range(2)
    )
    assert first == again


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), min_size=4, max_size=30), st.integers(4, 20))
def test_no_anchor_has_more_positives_than_promised_also_with_several_labels(labels, batch_size):
    if len({one for label in labels for one in label}) < 2 or not _has_company(labels):
        return
    sampler = ClassSampler(labels, batch_size)
    codes = np.full((len(labels), 3), -1)
    for place, label in enumerate(labels):
        codes[place, : len(label)] = label
    for batch in sampler.batches(0):
        rows = {'item': batch, 'label': codes[batch]}
        assert relate(rows, rows, sampler.most).positives.sum(1).max() <= sampler.most


def _has_company(labels):
    each = [one for label in labels for one in set(label)]
    return len(set(each)) < len(each)


@pytest.mark.parametrize('other', [{'seed': 1}, {'epoch': 1}])
def test_other_seeds_and_epochs_give_other_batches(other):
    labels = list(range(8)) * 8
    first = np.concatenate(list(ClassSampler(labels, 16).batches(0)))
    second = np.concatenate(list(ClassSampler(labels, 16, seed=other.get('seed', 0)).batches(other.get('epoch', 0))))
    assert (first != second).any()


def test_a_large_class_is_not_cut_off_and_small_ones_are_repeated_beside_it():
    labels = [0] * 100 + [1] * 4 + [2] * 4
    sampler = ClassSampler(labels, 8, num_items_per_class=4)
    assert len(sampler) == 25
    seen = np.concatenate(list(sampler.batches(0)))
    assert sum(slot >= 100 for slot in seen) == 100
    assert sorted(seen[seen < 100]) == list(range(100))


def test_an_epoch_is_as_short_as_it_can_be():
    # 3 classes of 8 items and P x K = 2 x 4: six groups fit into three batches, only if the fullest go first.
    assert len(ClassSampler([0] * 8 + [1] * 8 + [2] * 8, 8, num_items_per_class=4)) == 3
    batches = list(ClassSampler([0] * 8 + [1] * 8 + [2] * 8, 8, num_items_per_class=4).batches(5))
    assert len(set(np.concatenate(batches))) == 24


@pytest.mark.parametrize(
    ('labels', 'batch_size', 'k', 'p'),
    [
        ([0, 1] * 50, 256, 50, 2),  # larger than everything: all of it
        (list(range(10)) * 30, 256, 25, 10),
        (list(range(100)) * 5, 20, 4, 5),
        (list(range(100)) * 2, 20, 2, 10),
        ([0, 0, 0, 1, 2], 4, 2, 2),
        (list(range(1000)) * 9, 4, 2, 2),
    ],
)
def test_the_default_shape_of_a_batch(labels, batch_size, k, p):
    sampler = ClassSampler(labels, batch_size)
    assert (sampler.num_items_per_class, sampler.classes) == (k, p)
    assert len(next(sampler.batches(0))) == k * p


def test_a_batch_too_small_for_k_says_the_smallest_batch_and_the_largest_k():
    with pytest.raises(ArgumentError, match=r'raise batch_size to at least 16 or num_items_per_class to at most 5'):
        ClassSampler([0, 0, 1, 1], 10, num_items_per_class=8)
    with pytest.raises(ArgumentError, match=r'raise batch_size to at least 4\.$'):
        ClassSampler([0, 0, 1, 1], 3, num_items_per_class=2)


@pytest.mark.parametrize('batch_size', [3, 0, -1, 2.5, True, None])
def test_an_impossible_batch_size_is_refused(batch_size):
    with pytest.raises(ArgumentError, match=r'batch_size=.*expected'):
        ClassSampler([0, 0, 1, 1], batch_size)


@pytest.mark.parametrize('k', [1, 0, -1, 2.5])
def test_an_impossible_number_per_class_is_refused(k):
    with pytest.raises(ArgumentError, match=r'num_items_per_class=.*at least 2'):
        ClassSampler([0, 0, 1, 1], 8, num_items_per_class=k)


def test_one_class_and_lone_items_are_refused():
    with pytest.raises(DataError, match=r'There is 1 class'):
        ClassSampler([5, 5, 5], 4)
    with pytest.raises(DataError, match=r'Each of the 3 classes has one item'):
        ClassSampler(['a', 'b', 'c'], 4)
    with pytest.raises(DataError, match=r'There are no classes'):
        ClassSampler([], 4)


def test_items_without_label_are_left_out():
    sampler = ClassSampler([0, None, 0, 1, 1, None], 4)
    assert set(np.concatenate(list(sampler.batches(0)))) == {0, 2, 3, 4}


def test_as_a_plain_iterable_it_gives_lists_and_moves_on_by_itself():
    sampler = ClassSampler(list(range(6)) * 10, 12)
    first, second = list(sampler), list(sampler)
    assert first == [batch.tolist() for batch in sampler.batches(0)]
    assert second == [batch.tolist() for batch in sampler.batches(1)]
    assert first != second
    assert all(type(item) is int for batch in first for item in batch)
