"""Rows on disk, whatever is chosen of them."""

import numpy as np
import pytest

from finetuner.data.rows import Kept, Rows, Writer
from finetuner.data.views import Chosen


def written(folder, batches, ragged=False):
    writer = Writer(folder, ragged)
    for batch in batches:
        writer.append(batch)
    writer.close()
    return Rows.opened(folder, writer.columns, writer.count, ragged)


def test_rows_come_back_in_any_order(tmp_path):
    x, n = np.arange(24, dtype=np.float32).reshape(6, 2, 2), np.arange(6, dtype=np.int64)
    rows = written(tmp_path, [(x[:4], n[:4]), (x[4:], n[4:])])
    for found, expected in zip(rows.batch([5, 0, 0]), (x, n), strict=True):
        np.testing.assert_array_equal(found, expected[[5, 0, 0]])
        assert found.dtype == expected.dtype
    np.testing.assert_array_equal(rows.chosen(np.array([4, 2])).chosen(np.array([1])).batch([0])[1], [2])
    with pytest.raises(ValueError, match=r'of shape \(3,\), others of \(2, 2\)'):
        Writer.append(_filled(tmp_path, x), (np.zeros((1, 3), np.float32), n[:1]))


def _filled(folder, x):
    writer = Writer(folder, False)
    writer.append((x, np.arange(len(x))))
    return writer


def test_tokens_are_kept_without_padding_and_given_with_as_much_as_a_batch_needs(tmp_path):
    mask = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    x = np.arange(12.0).reshape(3, 4, 1).astype(np.float32)
    rows = written(tmp_path, [(x, mask), (np.full((1, 5, 1), 7, np.float32), np.ones((1, 5), np.int64))], True)
    assert len(rows.columns[0]) == 2 + 3 + 1 + 5
    found, kept = rows.batch([1, 0])
    np.testing.assert_array_equal(kept, [[1, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(found[..., 0], [[4, 5, 6], [0, 1, 0]])
    assert rows.batch([3, 2])[0].shape == (2, 5, 1)


def test_they_are_found_by_contents_and_how_these_were_prepared(tmp_path):
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    items, kept = ['a', 'b', 'c', 'd'], Kept(str, None, lambda: True)
    kept.add(items, written(tmp_path, [(x,)]))
    of_some = kept.of(Chosen(Chosen(items, [3, 1, 0]), np.array([2, 0])), str, None)
    np.testing.assert_array_equal(of_some.batch([0, 1])[0], x[[0, 3]])
    assert kept.of(items, None, None) is None and kept.of(items, str, list) is None
    assert kept.of(list(items), str, None) is None
