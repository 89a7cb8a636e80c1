import logging

import numpy as np
import pytest

from finetuner.data.readers import contents, read
from finetuner.errors import ArgumentError, DataError


def texts(records):
    """The rows of pairs and scores, as texts."""
    return [[None if i < 0 else records.contents[i] for i in row] for row in records.rows]


def test_content_and_label():
    records = read([('a', 1), ('b', np.int64(2)), ('c', 1.0)])
    assert (records.kind, list(records.contents), records.labels) == ('class', ['a', 'b', 'c'], [1, 2, 1])
    assert records.names[2] == 'row 2'


def test_texts_with_text_labels_are_labelled():
    records = read([('where is my card', 'card'), ('it is lost', 'lost'), ('no card yet', 'card')])
    assert (records.kind, records.labels) == ('class', ['card', 'lost', 'card'])


def test_texts_whose_second_texts_never_repeat_are_pairs_and_it_is_said(caplog):
    logger = logging.getLogger('finetuner')
    logger.addHandler(caplog.handler)
    try:
        records = read([('where is my card', 'on its way'), ('it is lost', 'call us')])
    finally:
        logger.removeHandler(caplog.handler)
    assert records.kind == 'pair'
    assert "supervision='class'" in caplog.text
    assert read([('a', 'x'), ('b', 'y')], supervision='class').labels == ['x', 'y']


def test_one_repeated_answer_does_not_make_answers_labels():
    rows = [(f'question {i}', f'answer {i}') for i in range(9)] + [('another', 'answer 0')]
    assert read(rows).kind == 'pair'
    assert read([(text, answer[:8]) for text, answer in rows] * 2).kind == 'class'


def test_several_labels():
    assert read([('a', ['x', 'y']), ('b', ('y',)), ('c', {'z'})]).labels == [('x', 'y'), ('y',), ('z',)]


def test_arrays_second_are_pairs():
    records = read([(np.zeros(3), np.ones(3)), (np.zeros(3), np.ones(3))])
    assert records.kind == 'pair'
    assert records.rows.tolist() == [[0, 2], [1, 3]]


def test_equal_texts_and_one_and_the_same_object_are_one_item():
    shared = np.zeros(3)
    assert texts(read([('a', 'b', 'c'), ('b', 'a', 'c')])) == [['a', 'b', 'c'], ['b', 'a', 'c']]
    assert len(read([('a', 'b', 'c'), ('b', 'a', 'c')])) == 3
    assert len(read([(shared, np.ones(3)), (shared, np.ones(3))])) == 3


def test_hard_negatives_may_differ_in_number():
    records = read([('a', 'p'), ('b', 'q', 'n'), ('c', 'r', 'n', 'm')])
    assert texts(records) == [['a', 'p', None, None], ['b', 'q', 'n', None], ['c', 'r', 'n', 'm']]
    assert records.names[0] == 'anchor of row 0'
    assert records.names[len(records) - 1] == 'negative 2 of row 2'


@pytest.mark.parametrize(
    ('rows', 'width', 'scores'),
    [
        ([('a', 'b', 0.5), ('c', 'd', 1)], 2, [[0.5], [1.0]]),
        ([('q', 'p', 'n', 1.5), ('q', 'r', 'n', -2)], 3, [[1.5], [-2.0]]),
        ([('q', 'p', 'n', 3.0, 1.0), ('q', 'r', 'n', 2.0, 2.5)], 3, [[3.0, 1.0], [2.0, 2.5]]),
    ],
)
def test_numbers_at_the_end_are_scores(rows, width, scores):
    records = read(rows)
    assert (records.kind, records.width) == ('score', width)
    assert records.scores.tolist() == scores


def test_contents_and_labels():
    images = np.zeros((3, 8, 8))
    for labels in ([0, 1, 0], np.array([0, 1, 0]), np.array([[0], [1], [0]]), np.array([0.0, 1.0, 0.0])):
        records = read((images, labels))
        assert (records.kind, records.labels, records.contents[0].shape) == ('class', [0, 1, 0], (8, 8))
    assert read((['a', 'b'], ['x', 'x'])).labels == ['x', 'x']


def test_parts_of_contents_and_labels():
    records = read(({'ids': np.arange(6).reshape(3, 2), 'mask': np.ones((3, 2))}, [0, 1, 1]))
    assert records.contents[1]['ids'].tolist() == [2, 3]
    assert read({'a': np.arange(3), 'b': np.arange(3)}).contents[2] == {'a': 2, 'b': 2}


def test_contents_alone():
    for data in (['a', 'b'], np.zeros((2, 4)), [np.zeros(4)] * 2, [[1, 2], [3, 4]], [{'x': 1}, {'x': 2}]):
        assert (read(data).kind, len(read(data))) == ('instance', 2)
    assert read([('a', 1), ('b', 2)], supervision='instance').contents[0] == ('a', 1)


def test_tuples_of_tuples_are_rows_and_no_contents_with_labels():
    assert read((('a', 1), ('b', 2))).labels == [1, 2]


def test_contents_to_encode_lose_their_labels():
    records = contents([('a', 1), ('b', 2)])
    assert (records.kind, list(records.contents), records.labels) == ('instance', ['a', 'b'], None)
    assert list(contents(['a', 'b']).contents) == ['a', 'b']
    assert contents([['to', 'ken'], ['s']]).contents[1] == ['s']
    assert len(contents([])) == 0


def test_records_are_read_as_they_are():
    records = read([('a', 1), ('b', 2)])
    assert read(records) is records
    assert read(records, supervision='instance').labels is None


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        ([('a', 1), 'b', ('c', 2)], 'Labels are missing: .* row 1 has none'),
        ([('a', 1), ('b',)], 'row 1 has only one part'),
        ([('a', 0.5), ('b', 0.25)], r'label of row 0 is wrong: 0.5 is no class label.* \(a, b, score\)'),
        ([('a', 'b', 0.5), ('c', 'd')], 'no score in row 1'),
        ([('a', 'b', 0.5), ('c', 'd', None)], 'no score in row 1'),
        ([('a', 'b', 0.5), ('c', 'd', 'e', 0.5), ('a', 'b', 1)], 'row 1 differ'),
        ([('a', 'b', 0.5), ('c', 'd', float('nan'))], 'finite number; it is not in row 1'),
        ([('a', 'p', 'n'), ('b', '', 'n')], "no positive in row 1 but ''"),
        ([('a', 'p', 'n'), (None, 'q', 'n')], 'no anchor in row 1 but None'),
        ([['a', 'x'], ['b', 'y']], 'write a row as a tuple'),
        ((['a', 'b'], [1]), 'There are 2 contents and 1 labels'),
        ((['a', 'b'], np.eye(2)), r'labels have shape \(2, 2\).*argmax'),
        ((['a', 'b'], 5), r'Expected \(contents, labels\)'),
        (iter(['a']), r'Cannot read .*list_iterator.*list\(data\)'),
        (5, r'Cannot read builtins.int'),
    ],
)
def test_what_is_wrong_is_said_and_where(data, reason):
    with pytest.raises(DataError, match=reason):
        read(data)


def test_asking_for_what_the_data_have_not():
    with pytest.raises(DataError, match=r'teach no class'):
        read(['a', 'b'], supervision='class')
    with pytest.raises(DataError, match=r'no score in row 0'):
        read([('a', 'b'), ('c', 'd')], supervision='score')
    with pytest.raises(ArgumentError, match=r"no supervision 'clas'. Did you mean 'class'"):
        read(['a'], supervision='clas')
    with pytest.raises(ArgumentError, match=r'allow_urls= is no option of builtins.list'):
        read(['a'], allow_urls=True)


class Rows:
    """Like a torch Dataset: a length, and rows by number."""

    def __init__(self, rows):
        self.rows, self.read = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.read += 1
        return self.rows[i]  # and no IndexError at the end, for a dict


def test_any_sequence_of_rows_is_read_once_for_its_labels_and_then_row_by_row():
    data = Rows({0: ('a', 1), 1: ('b', 2), 2: ('c', 1)})
    records = read(data)
    assert (records.kind, records.labels) == ('class', [1, 2, 1])
    before = data.read
    assert records.contents[2] == 'c'
    assert data.read == before + 1
    assert texts(read(Rows([('a', 'p', 'n'), ('b', 'q', 'm')]))) == [['a', 'p', 'n'], ['b', 'q', 'm']]
    assert read(Rows(['a', 'b'])).kind == 'instance'
