import re

import numpy as np
import pytest
from rich.console import Console

from finetuner.data import check
from finetuner.errors import DataError

GOOD = [(np.full(3, i, np.float32), i % 2) for i in range(8)]


def test_good_data_are_ready():
    report = check(GOOD, batch_size=4)
    assert report.ok
    assert (report.problems, report.warnings, report.duplicates, report.leaks) == ([], [], [], [])
    assert (report.classes, report.batches, report.batch_items) == ({0: 4, 1: 4}, 2, 4)
    assert str(report).splitlines() == [
        '8 items of 2 classes; 2 batches of 4 an epoch',
        'class sizes: smallest 4, median 4, largest 4',
        'ready to train',
    ]


@pytest.mark.parametrize(
    ('data', 'options', 'problem'),
    [
        ([], {}, 'The data are empty'),
        ([('a', 1), ('b', 1)], {}, 'All items are of one class'),
        ([('a', 1), ('b', 2)], {}, 'Every class has one item'),
        ([('a', 1), ('b', None), ('c', 1), ('d', 2)], {}, '1 of 4 items have no label: row 1'),
        (GOOD, {'batch_size': 6, 'num_items_per_class': 4}, 'raise batch_size to at least 8'),
        (
            [*GOOD, (np.zeros(4, np.float32), 1)],
            {},
            r'row 8 is floats of shape \(4,\), where others are floats of shape',
        ),
        ([*GOOD, (np.zeros(3, int), 1)], {}, r'row 8 is integers of shape \(3,\)'),
        ([*GOOD, (np.array([0, np.nan, 0]), 1)], {}, 'row 8 has NaN in it'),
        ([*GOOD, (np.zeros(0), 1)], {}, '1 items are empty: row 8'),
        ([('a', 1), ('b', 1), (' ', 2), ('', 2)], {}, '2 items are empty: row 2 and row 3'),
        ([('1', 1), ('2', 1), ('x', 2), ('y', 2)], {'preprocess_fn': int}, r"row 2: .*'x' \(and 1 more such items\)"),
        (
            [('a', 1), ('b', 1), ('c', 2)],
            {'collate_fn': np.linalg.norm},
            'collate_fn fails on the batch of row 0 to row 2',
        ),
    ],
)
def test_each_problem_is_found(data, options, problem):
    report = check(data, **options)
    assert not report.ok
    assert any(re.search(problem, found) for found in report.problems), report.problems


def test_unreadable_items_are_listed_by_name_and_the_others_still_read(tmp_path):
    (tmp_path / 'a.txt').write_text('fine')
    frame = {'uri': [str(tmp_path / 'a.txt'), 'gone.txt', 'lost.txt'] * 2, 'label': [0, 0, 0, 1, 1, 1]}
    report = check(frame)
    assert sorted(report.unreadable) == ['row 1', 'row 2', 'row 4', 'row 5']
    assert 'No such file' in report.unreadable['row 2']


def test_doubts():
    data = [('same', 'x'), ('other', 'x'), ('same', 'y'), ('more', 'y'), ('alone', 'z'), ('odd', 1), ('odder', '1')]
    warnings = '\n'.join(check(data).warnings)
    assert "3 of 5 classes have one item, which has no positive: 'z', 1 and '1'" in warnings
    assert "as numbers and as texts, and count as different: '1'" in warnings
    assert '1 items repeat another, for example row 0 and row 2' in warnings
    assert "1 contents have different labels, for example row 0 and row 2: 'x' and 'y'" in warnings


def test_skewed_classes_and_pairs_of_an_item_with_itself():
    assert 'more than 100 times' in check([(f't{i}', 'x') for i in range(300)] + [('a', 'y'), ('b', 'y')]).warnings[0]
    assert 'pair an item with itself: anchor of row 0' in check([('a', 'a', 'n'), ('b', 'c', 'n')]).warnings[0]


def test_equal_contents_are_found_in_every_form():
    pairs = [('a', 'b'), (b'x', b'y'), (np.zeros(2), np.ones(2)), ({'k': [1, 2]}, {'k': [1, 3]})]
    for one, other in pairs:
        report = check(([one, other, one, other], [0, 1, 0, 1]), preprocess_fn=lambda content: np.zeros(1))
        assert report.duplicates == [['item 0', 'item 2'], ['item 1', 'item 3']]


def test_items_that_are_in_the_evaluation_data_too():
    report = check([('a', 1), ('b', 1), ('c', 2), ('d', 2)], [('x', 1), ('c', 2), ('a', 1)])
    assert report.leaks == [('row 0', 'row 2'), ('row 2', 'row 1')]
    assert report.ok
    assert '2 of 4 items to learn from are in the evaluation data too' in report.warnings[0]


def test_on_a_terminal_it_lists_the_classes():
    console = Console(width=100, record=True, file=open('/dev/null', 'w'))
    console.print(check([(f't{i}', f'class {i % 12}') for i in range(48)]))
    text = console.export_text()
    assert 'class 11' in text and '…' in text and 'ready to train' in text


def test_data_that_cannot_be_read_at_all_are_an_error():
    with pytest.raises(DataError, match=r'row 1 has none'):
        check([('a', 1), 'b'])
