import numpy as np
import pytest

from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.records import Records
from finetuner.data.sampler import make_sampler
from finetuner.errors import ArgumentError, DataError
from finetuner.losses.relation import relate


def test_class_codes_are_dense_in_order_of_first_appearance():
    dataset = Dataset(read([('a', 'x'), ('b', 'y'), ('c', 'x')]))
    codes = dataset.codes(np.array([2, 1, -1]))
    assert codes['item'].tolist() == [2, 1, -1]
    assert codes['label'].tolist() == [[0], [1], [-1]]
    assert all(code.dtype == np.int32 for code in codes.values())
    assert dataset.classes == ['x', 'y']
    assert dataset.layout(3, 2) == (3, 1, 2, 2)


def test_several_labels_are_several_codes_and_missing_ones_none():
    records = read((['a', 'b', 'c'], [['x', 'y'], ['y'], None]))
    assert Dataset(records).codes(np.arange(3))['label'].tolist() == [[0, 1], [1, -1], [-1, -1]]


def test_two_views_of_an_item_are_positives_of_each_other():
    dataset = Dataset(read(np.zeros((4, 2))))
    codes = dataset.codes(np.array([3, 1, 3, 1]))
    positives = relate(codes, codes, 1).positives
    assert np.argwhere(positives).tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]


def test_session_codes():
    records = Records(
        'session', list('abcd'), list('abcd'), session=np.array([0, 0, 0, 1]), grade=np.array([0, 1, -1, 0])
    )
    codes = Dataset(records).codes(np.array([0, 2, 3, -1]))
    assert codes['item'].tolist() == [0, 2, 3, -1]
    assert codes['session'].tolist() == [0, 0, 1, -1]
    assert codes['kind'].tolist() == [0, -1, 0, -1]


def related(rows):
    """Positives and negatives of the rows' anchors among their positives and negatives, as texts."""
    dataset = Dataset(read(rows, supervision='pair'))
    n, width = dataset.records.rows.shape
    slots = np.where(dataset.records.rows.T < 0, -1, np.arange(n * width).reshape(width, n)).ravel()
    codes = dataset.codes(slots)
    relation = relate({k: c[:n] for k, c in codes.items()}, {k: c[n:] for k, c in codes.items()}, n)
    texts = [None if slot < 0 else dataset.content(slot) for slot in slots[n:]]
    return [
        ([t for t, p in zip(texts, near, strict=True) if p], [t for t, p in zip(texts, far, strict=True) if p])
        for near, far in zip(relation.positives, relation.negatives, strict=True)
    ]


def test_other_rows_positives_and_all_hard_negatives_are_negatives():
    assert related([('a', 'p', 'n'), ('b', 'q')]) == [(['p'], ['q', 'n']), (['q'], ['p', 'n'])]


def test_rows_with_one_anchor_share_their_positives():
    assert related([('a', 'p'), ('a', 'q'), ('b', 'r')])[0] == (['p', 'q'], ['r'])


def test_an_equal_positive_is_never_a_negative():
    assert related([('a', 'p'), ('b', 'p'), ('c', 'r')])[1] == (['p', 'p'], ['r'])
    assert related([('a', 'p'), ('b', 'q', 'p')])[0] == (['p', 'p'], ['q'])  # b's hard negative is a's positive


def test_an_anchor_is_no_negative_of_itself():
    assert related([('a', 'b'), ('b', 'a'), ('c', 'd')])[0] == (['b'], ['d'])


def test_scores_come_by_row():
    dataset = Dataset(read([('a', 'b', 0.5), ('c', 'd', 0.1), ('a', 'e', 1)]))
    codes = dataset.codes(np.array([2, 0, 5, 3]))
    assert codes['score'].tolist() == [[1.0], [0.5]]
    assert codes['score'].dtype == np.float32
    assert dataset.content(5) == 'e'
    assert codes['item'][0] == codes['item'][1]  # both are the text a


def test_contents_are_read_one_by_one_and_only_when_asked_for():
    class Counting(list):
        read = 0

        def __getitem__(self, i):
            Counting.read += 1
            return super().__getitem__(i)

    dataset = Dataset(Records('instance', Counting('abc'), list('abc')), preprocess_fn=str.upper)
    assert Counting.read == 0
    assert dataset.content(1) == 'B'
    assert Counting.read == 1


def test_an_error_of_preprocess_fn_names_the_item_and_keeps_its_cause():
    dataset = Dataset(read([('1', 'x'), ('two', 'x')]), preprocess_fn=int)
    with pytest.raises(DataError, match=r"preprocess_fn fails on row 1: ValueError: invalid literal .*'two'") as caught:
        dataset.content(1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_item_that_cannot_be_read_is_named():
    class Broken(list):
        def __getitem__(self, i):
            raise OSError('disk gone')

    with pytest.raises(DataError, match=r'Cannot read item 2: OSError: disk gone'):
        Dataset(Records('instance', Broken('abc'), ['item 0', 'item 1', 'item 2'])).content(2)


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        ([], 'The data are empty'),
        (([], []), 'The data are empty'),
        ([('a', 1), ('b', 1)], 'All items are of one class, 1:'),
        ([('a', 1), ('b', 2), ('c', 3)], 'Every class has one item'),
        ([('a', 1), ('b', 1), ('c', None), ('d', 2), ('e', np.nan)], '2 of 5 items have no label: row 2 and row 4'),
        ([('a', 'a'), ('b', 'b')], 'Every anchor is its own positive'),
        ([('a', 'x'), ('a', 'y')], 'All 2 pairs have the same anchor'),
        ([('a', 'b', 1.0), ('c', 'd', 1.0)], 'Every pair has the score 1'),
        (np.zeros((1, 3)), 'There is one item alone'),
    ],
)
def test_data_that_cannot_teach_are_refused_before_anything_is_read(data, reason):
    with pytest.raises(DataError, match=reason):
        make_sampler(Dataset(read(data)), 8)


def test_lone_items_are_enough_for_losses_that_compare_with_classes():
    dataset = Dataset(read([('a', 1), ('b', 2), ('c', 3)]))
    slots = np.concatenate(list(make_sampler(dataset, 2, pairs=False).batches(0)))
    assert sorted(slots) == [-1, 0, 1, 2]
    with pytest.raises(DataError, match=r'one class'):
        make_sampler(Dataset(read([('a', 1), ('b', 1)])), 2, pairs=False)


@pytest.mark.parametrize(
    ('data', 'name', 'rows', 'width'),
    [
        ([('a', 1), ('b', 1), ('c', 2), ('d', 2)], 'ClassSampler', 4, 1),
        ([('a', 'p'), ('b', 'q')], 'RowSampler', 2, 2),
        ([('a', 'b', 0.0), ('c', 'd', 1.0)], 'RowSampler', 2, 2),
        (['a', 'b', 'c'], 'InstanceSampler', 6, 1),
    ],
)
def test_the_kind_of_supervision_chooses_the_sampler(data, name, rows, width):
    sampler = make_sampler(Dataset(read(data)), 6)
    assert (type(sampler).__name__, sampler.rows, sampler.width) == (name, rows, width)


def test_num_items_per_class_reaches_the_sampler():
    dataset = Dataset(read([('a', 1), ('b', 1), ('c', 2), ('d', 2)]))
    with pytest.raises(ArgumentError, match=r'num_items_per_class=4'):
        make_sampler(dataset, 6, num_items_per_class=4)
