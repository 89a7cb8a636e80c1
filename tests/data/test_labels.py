import enum

import numpy as np
import pytest

from finetuner.data.labels import codes_of, dense, is_missing, normal


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ('label', 'expected'),
    [
        (np.int64(3), 3),
        (9.0, 9),
        (np.array(2), 2),
        (np.array([1, 2]), (1, 2)),
        ([1, None, 1, 'a'], (1, 'a')),
        ({'b', 'a'}, ('a', 'b')),
        (np.str_('x'), 'x'),
        (Colour.RED, Colour.RED),
        (True, True),
        (None, None),
        ('', None),
        ('  ', None),
        (float('nan'), None),
        (np.float32('nan'), None),
        ([], None),
    ],
)
def test_labels_become_what_can_be_compared(label, expected):
    assert normal(label) == expected
    assert type(normal(label)) is type(expected)


@pytest.mark.parametrize('label', [0.5, {'a': 1}, [[0.25]], bytearray(b'x')])
def test_what_can_be_no_label(label):
    with pytest.raises(TypeError, match=r'is no class label'):
        normal(label)


def test_dense_codes():
    codes, classes = dense(['b', ('a', 'b'), None, 'c'])
    assert codes.tolist() == [[0, -1], [1, 0], [-1, -1], [2, -1]]
    assert codes.dtype == np.int32
    assert classes == ['b', 'a', 'c']
    assert dense([])[0].shape == (0, 1)


def test_codes_are_taken_as_they_are():
    assert codes_of(np.array([[5, -1]])).tolist() == [[5, -1]]
    assert codes_of(np.array([7, 7, -1])).tolist() == [[1], [1], [0]]
    assert codes_of(['x', 'x', None]).tolist() == [[0], [0], [-1]]


def test_missing_is_not_the_same_as_false():
    assert not any(map(is_missing, [0, False, 0.0, 'x', [], np.zeros(2)]))
