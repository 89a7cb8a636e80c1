"""Batches cut into chunks: whatever a model takes, and nothing twice."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.tuner.chunks import chunks


@pytest.mark.parametrize(
    ('n', 'size', 'lengths'), [(8, 4, [4, 4]), (20, 7, [6, 7, 7]), (65, 64, [32, 33]), (5, 1, [1] * 5), (4, 9, [4])]
)
def test_chunks_are_few_and_as_equal_as_can_be(n, size, lengths):
    x = np.arange(2 * n).reshape(n, 2)
    parts = list(chunks(x, n, size))
    assert [len(part) for _, part in parts] == lengths
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), x)
    for place, part in parts:
        np.testing.assert_array_equal(x[place], part)


def test_a_whole_batch_is_handed_on_as_it_is():
    anything = object()
    assert list(chunks(anything, 4, None)) == [(slice(0, 4), anything)]


def test_arrays_are_cut_wherever_they_are_and_switches_are_not():
    inputs = {'ids': np.arange(6).reshape(6, 1), 'more': [np.arange(6), np.float32(0.5)], 'pooled': True}
    (_, first), (_, last) = chunks(inputs, 6, 3)
    assert first['ids'].tolist() == [[0], [1], [2]]
    assert last['more'][0].tolist() == [3, 4, 5]
    assert last['more'][1] == 0.5
    assert last['pooled'] is True


def test_a_list_of_items_is_cut_as_a_list():
    texts = ['a', 'bb', 'ccc']
    assert [part for _, part in chunks(texts, 3, 2)] == [['a'], ['bb', 'ccc']]
    images = [np.zeros((2, 2)), np.zeros((4, 4)), np.zeros((8, 8))]
    assert [len(part) for _, part in chunks(images, 3, 2)] == [1, 2]
    ids, mask = np.zeros((2, 5)), np.ones((2, 5))  # as many arrays as items, but all of them are of all items
    assert [[array.shape for array in part] for _, part in chunks([ids, mask], 2, 1)] == [[(1, 5), (1, 5)]] * 2


def test_an_array_of_something_else_is_refused():
    with pytest.raises(ArgumentError, match=r'expected 4 items in every array .*shape \(3, 4\)'):
        list(chunks({'x': np.zeros((4, 2)), 'y': np.zeros((3, 4))}, 4, 2))
