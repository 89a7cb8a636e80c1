"""Rows of like length go together, at the least cost, and no wider than they must be."""

from itertools import product

import numpy as np
import pytest

from finetuner.data.lengths import FINEST, cost, groups, padded


def batch(lengths, width=None):
    lengths = np.array(lengths)
    mask = (np.arange(width or lengths.max()) < lengths[:, None]).astype(np.int64)
    return {'input_ids': mask * (np.arange(len(lengths)) + 1)[:, None], 'attention_mask': mask}


@pytest.mark.parametrize('overhead', [0, 3, 10, 40])
def test_no_other_way_to_cut_a_sorted_batch_costs_less(overhead):
    lengths = np.random.default_rng(overhead).integers(1, 12, 9)
    falling = np.sort(lengths)[::-1]

    def price(cuts):
        starts = [0, *np.flatnonzero(cuts) + 1]
        return sum(
            overhead + (end - start) * falling[start]
            for start, end in zip(starts, [*starts[1:], len(falling)], strict=True)
        )

    least = min(price(np.array(cuts)) for cuts in product([False, True], repeat=len(lengths) - 1))
    found = groups(lengths, overhead)
    assert cost(found, overhead) == least
    assert sorted(np.concatenate([group.rows for group in found])) == list(range(len(lengths)))
    assert all(lengths[group.rows].max() == group.width for group in found)


def test_many_lengths_are_told_apart_coarsely_and_still_cost_little():
    lengths = np.random.default_rng(0).permutation(np.arange(1, 1001))
    found = groups(lengths, 0)
    assert len(found) <= FINEST
    assert cost(found, 0) < 1.05 * lengths.sum()


def test_a_group_has_no_more_tokens_than_the_budget_but_a_long_row_stands_alone():
    lengths = np.array([50, 7, 7, 7, 7, 7, 6])
    found = groups(lengths, 1000, budget=21)
    assert [(len(group.rows), group.width) for group in found] == [
        (1, 50),
        (1, 7),
        (1, 7),
        (1, 7),
        (1, 7),
        (1, 7),
        (1, 6),
    ]
    assert [(len(g.rows), g.width) for g in groups(lengths, 5, budget=21)] == [(1, 50), (3, 7), (3, 7)]


def test_a_part_has_the_rows_and_the_width_of_its_group():
    inputs = batch([2, 5, 3], width=8) | {'positions': np.arange(24).reshape(3, 8), 'number': np.array([4, 5, 6])}
    found = padded(inputs)
    assert found.lengths.tolist() == [2, 5, 3]
    first, second = (found.part(group) for group in groups(found.lengths, 1))
    assert first['positions'].tolist() == [[8, 9, 10, 11, 12]]
    assert second['positions'].tolist() == [[16, 17, 18], [0, 1, 2]]
    assert second['number'].tolist() == [6, 4]


def test_tensors_of_frameworks_are_read(xp):
    found = padded({name: xp.asarray(value) for name, value in batch([1, 4]).items()})
    assert found.lengths.tolist() == [1, 4]
    assert type(found.inputs['input_ids']) is np.ndarray


@pytest.mark.parametrize(
    'inputs',
    [
        np.zeros((3, 4)),
        {'input_ids': np.zeros((3, 4))},
        {name: value[:, ::-1] for name, value in batch([2, 5]).items()},  # filled up on the left
        {'attention_mask': np.ones((2, 1, 3))},
        batch([2, 5]) | {'texts': ['a', 'b']},
        batch([2, 5]) | {'scale': np.ones(3)},
        batch([2, 5]) | {'features': np.ones((2, 5))},  # as wide as the tokens by chance
        batch([2, 5]) | {'pairs': np.ones((2, 5, 5), bool)},
    ],
)
def test_other_inputs_have_no_lengths(inputs):
    assert padded(inputs) is None
