import numpy as np
import pytest

from finetuner.data.collate import collate
from finetuner.errors import DataError


def named(place):
    return f'item {place}'


def test_arrays_and_numbers_are_stacked_and_float64_becomes_float32():
    batch = collate([np.zeros((2, 3)), np.ones((2, 3))], named)
    assert (batch.shape, batch.dtype) == ((2, 2, 3), np.float32)
    assert collate([1, 2], named).dtype.kind == 'i'
    assert collate([1, 2.5], named).tolist() == [1.0, 2.5]
    assert collate([[1, 2], [3, 4]], named).tolist() == [[1, 2], [3, 4]]
    assert collate([np.uint8([1]), np.uint8([2])], named).dtype == np.uint8


def test_dicts_and_lists_keep_their_form():
    batch = collate([{'ids': [1, 2], 'mask': [1.0, 0.0]}, {'ids': [3, 4], 'mask': [1.0, 1.0]}], named)
    assert batch['ids'].tolist() == [[1, 2], [3, 4]]
    assert batch['mask'].dtype == np.float32
    first, second = collate([(np.zeros(2), np.zeros(3)), (np.ones(2), np.ones(3))], named)
    assert (first.shape, second.shape) == ((2, 2), (2, 3))


@pytest.mark.parametrize(
    ('contents', 'reason'),
    [
        ([np.zeros(3), np.zeros(4), np.zeros(3)], r'item 1 has the shape \(4,\), where others have \(3,\)'),
        ([np.zeros(3), np.zeros(3), np.zeros(3, int)], 'item 2 has numbers that are integers, where others'),
        ([np.zeros(3), np.array([0, np.nan, 1]), np.zeros(3)], 'item 1 has NaN in it'),
        ([np.zeros(3), np.zeros(3), np.array([0, np.inf, 1])], 'item 2 has an infinite number in it'),
        (['some text', 'more'], "item 0 is text, 'some text': .* collate_fn=tokenize"),
        ([np.zeros(2), None], 'no content in item 1: it is None'),
        ([np.array(['a']), np.array(['b'])], 'item 0 is a ndarray of <U1: expected numbers'),
        ([[1, 2], [1, 2, 3], [1, 2]], r'item 1 has the shape \(3,\).*pad them in collate_fn'),
        ([{'a': 1}, {'a': 1}, {'b': 1}], r"item 2 has the keys \('b',\), where others have \('a',\)"),
        ([{'a': [1]}, {'a': [1, 2]}, {'a': [1]}], r"item 1\['a'\] has the shape \(2,\)"),
        ([{'a': 1}, 5, {'a': 1}], 'item 1 has the keys int'),
        ([(np.zeros(1), np.zeros(1)), (np.zeros(1),) * 3, (np.zeros(1),) * 2], 'item 1 has the number of parts 3'),
    ],
)
def test_the_item_that_does_not_fit_is_named(contents, reason):
    with pytest.raises(DataError, match=reason):
        collate(contents, named)


def test_what_collate_fn_gives_is_left_as_it_is_but_must_be_finite():
    assert collate(['a', 'b'], named, lambda texts: texts * 2) == ['a', 'b', 'a', 'b']
    doubles = collate([1.0, 2.0], named, np.array)
    assert doubles.dtype == np.float64
    with pytest.raises(DataError, match=r'item 1 has NaN'):
        collate([1.0, np.nan], named, lambda values: {'x': np.array(values)})
