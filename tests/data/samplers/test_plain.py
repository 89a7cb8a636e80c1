import numpy as np
import pytest
from hypothesis import given, strategies as st

from finetuner.data.sampler import InstanceSampler, SequentialSampler, ShuffledSampler
from finetuner.errors import ArgumentError, DataError


@given(st.integers(0, 50), st.integers(1, 20))
def test_in_order_every_item_once(n, batch_size):
    sampler = SequentialSampler(n, batch_size)
    batches = list(sampler.batches(3))
    assert len(batches) == len(sampler)
    assert [slot for batch in batches for slot in batch] == list(range(n))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 9))
def test_shuffled_every_item_exactly_once_in_batches_of_one_length(n, batch_size, epoch):
    sampler = ShuffledSampler(n, batch_size, seed=1)
    batches = list(sampler.batches(epoch))
    assert {len(batch) for batch in batches} == {sampler.rows} == {min(n, batch_size)}
    slots = np.concatenate(batches)
    assert sorted(slots[slots >= 0]) == list(range(n))
    assert len(batches) == len(sampler)
    assert all(batch[0] >= 0 for batch in batches)  # fillers take the content of the first


@given(st.integers(2, 50), st.integers(2, 4), st.integers(0, 60), st.integers(0, 9))
def test_instances_come_in_views_and_every_one_once_an_epoch(n, views, more, epoch):
    sampler = InstanceSampler(n, 2 * views + more, views, seed=1)
    batches = list(sampler.batches(epoch))
    assert {len(batch) for batch in batches} == {sampler.rows}
    assert len(batches) == len(sampler)
    assert set(np.concatenate(batches)) == set(range(n))
    for batch in batches:
        columns = batch.reshape(views, -1)
        assert (columns == columns[0]).all()
        assert len(set(columns[0])) == len(columns[0]) >= 2  # else two places of one item would be its views


@pytest.mark.parametrize('make', [ShuffledSampler, InstanceSampler])
def test_epochs_differ_and_are_the_same_again(make):
    def slots(seed, epoch):
        return np.concatenate(list(make(40, 8, seed=seed).batches(epoch))).tolist()

    assert slots(0, 0) == slots(0, 0)
    assert slots(0, 0) != slots(0, 1)
    assert slots(0, 0) != slots(1, 0)


def test_as_an_iterable_fillers_are_left_out():
    batches = list(ShuffledSampler(5, 3))
    assert sorted(map(len, batches)) == [2, 3]
    assert sorted(item for batch in batches for item in batch) == list(range(5))


@pytest.mark.parametrize('batch_size', [0, -1, 1.5, True])
def test_an_impossible_batch_size_is_refused(batch_size):
    for make in (SequentialSampler, ShuffledSampler, InstanceSampler):
        with pytest.raises(ArgumentError, match=r'batch_size='):
            make(5, batch_size)


def test_views_need_two_items_and_room_for_them():
    with pytest.raises(ArgumentError, match=r'at least 6: 3 views of 2 items'):
        InstanceSampler(9, 5, views=3)
    with pytest.raises(ArgumentError, match=r'views=1'):
        InstanceSampler(9, 8, views=1)
    with pytest.raises(DataError, match=r'There is 1 item: views need at least 2'):
        InstanceSampler(1, 8)
    with pytest.raises(DataError, match=r'There are no items'):
        ShuffledSampler(0, 8)
