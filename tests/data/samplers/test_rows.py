import time

import numpy as np
import pytest
from hypothesis import given, strategies as st

from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.sampler import RowSampler
from finetuner.errors import ArgumentError, DataError
from finetuner.losses.relation import relate

texts = st.lists(st.tuples(*[st.sampled_from('abcdefghij')] * 3), min_size=2, max_size=40)


@given(texts, st.integers(2, 20), st.integers(0, 4), st.booleans())
def test_every_row_once_an_epoch_in_batches_of_one_length(rows, batch_size, epoch, apart):
    table = read(rows, supervision='pair').rows
    sampler = RowSampler(table, batch_size, seed=1, apart=apart)
    batches = list(sampler.batches(epoch))
    assert {len(batch) for batch in batches} == {sampler.rows * 3}
    assert sampler.rows == min(batch_size, len(rows))
    assert len(batches) == len(sampler) == len(list(sampler))
    anchors = np.concatenate([batch[: sampler.rows] for batch in batches])
    assert set(anchors) == set(range(len(rows)))
    for batch in batches:  # column after column, the cells of a row at the same place
        columns = batch.reshape(3, -1)
        assert (columns % len(rows) == columns[0]).all()
        assert len(set(columns[0])) == sampler.rows  # no row twice in a batch


@given(texts, st.integers(2, 20))
def test_no_anchor_has_more_positives_than_promised(rows, batch_size):
    dataset = Dataset(read(rows, supervision='pair'))
    sampler = RowSampler(dataset.records.rows, batch_size)
    for batch in sampler.batches(0):
        codes = dataset.codes(batch)
        anchors = {name: code[: sampler.rows] for name, code in codes.items()}
        others = {name: code[sampler.rows :] for name, code in codes.items()}
        assert relate(anchors, others, sampler.most).positives.sum(1).max() <= sampler.most


def test_equal_items_are_kept_apart_where_they_can_be():
    rows = [(f'question {n % 20}', f'answer {n}') for n in range(80)]
    sampler = RowSampler(read(rows, supervision='pair').rows, 8)
    anchors = read(rows, supervision='pair').rows[:, 0]
    clashes = sum(len(batch) - len(set(anchors[batch])) for batch in sampler)
    blind = sum(len(batch) - len(set(anchors[batch])) for batch in RowSampler(sampler.table, 8, apart=False))
    assert clashes <= 2  # rows of the last batches may have nobody left to change with
    assert blind > 5


def test_rows_that_cannot_be_kept_apart_are_seen_all_the_same_and_quickly():
    table = np.stack([np.zeros(20_000, int), np.arange(1, 20_001)], axis=1)
    start = time.process_time()
    assert sorted(row for batch in RowSampler(table, 50) for row in batch) == list(range(20_000))
    assert time.process_time() - start < 10  # it is 0.3 s; 20,000 squared would be minutes


def test_missing_negatives_are_fillers():
    sampler = RowSampler(np.array([[0, 1, 2], [3, 4, -1]]), 2)
    (batch,) = sampler.batches(0)
    assert sorted(batch.tolist()) == [-1, 0, 1, 2, 3, 4]
    assert -1 in batch[4:]


def test_epochs_differ_and_are_the_same_again():
    table = np.arange(80).reshape(40, 2)

    def order(seed, epoch):
        return np.concatenate(list(RowSampler(table, 8, seed).batches(epoch))).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_pair_alone_has_no_negative():
    with pytest.raises(ArgumentError, match=r'batch_size=1: expected an integer of at least 2 rows'):
        RowSampler(np.arange(10).reshape(5, 2), 1)
    with pytest.raises(DataError, match=r'1 pair: at least 2'):
        RowSampler(np.array([[0, 1]]), 8)
    assert len(RowSampler(np.arange(15).reshape(5, 3), 1)) == 5  # a hard negative is one
