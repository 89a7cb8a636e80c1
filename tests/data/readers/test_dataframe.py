import numpy as np
import pytest
from PIL import Image

from finetuner.data.dataset import Dataset
from finetuner.data.readers import contents, read
from finetuner.errors import DataError

pd = pytest.importorskip('pandas', reason='pandas is not installed: pip install pandas')


def rows(records):
    return [[None if i < 0 else records.contents[i] for i in row] for row in records.rows]


def test_text_and_label():
    frame = pd.DataFrame({'Text': ['a', 'b', 'c'], 'label': ['x', None, 'y'], 'note': [1, 2, 3]}, index=[5, 6, 7])
    records = read(frame)
    assert (records.kind, records.labels) == ('class', ['x', None, 'y'])
    assert [records.contents[i] for i in range(3)] == ['a', 'b', 'c']
    assert records.names[1] == 'row 6'


def test_labels_with_a_gap_are_integers_still():
    assert read(pd.DataFrame({'text': ['a', 'b'], 'label': [3, np.nan]})).labels == [3, None]
    assert read(pd.DataFrame({'text': ['a', 'b'], 'label': pd.array([3, None], 'Int64')})).labels == [3, None]


def test_anchor_positive_and_negatives():
    frame = pd.DataFrame(
        {'anchor': ['a', 'b'], 'positive': ['p', 'q'], 'negative_1': ['n', 'n'], 'negative_2': ['m', None]}
    )
    records = read(frame)
    assert rows(records) == [['a', 'p', 'n', 'm'], ['b', 'q', 'n', None]]
    assert len(records) == 6
    assert records.names[5] == 'negative_2 of row 0'


def test_two_texts_and_a_score():
    records = read(pd.DataFrame({'text1': ['a', 'b'], 'text2': ['c', 'd'], 'score': ['0.5', 1]}))
    assert (records.kind, records.scores.tolist(), rows(records)) == ('score', [[0.5], [1.0]], [['a', 'c'], ['b', 'd']])


def test_scored_triplets():
    frame = pd.DataFrame({'query': ['a', 'b'], 'positive': ['p', 'q'], 'negative': ['n', 'm'], 'margin': [0.5, 1]})
    assert (read(frame).kind, read(frame).width) == ('score', 3)


def test_images_are_loaded_when_needed_and_are_names_to_preprocess_fn(tmp_path):
    Image.new('RGB', (4, 3), (255, 0, 0)).save(tmp_path / 'red.png')
    frame = pd.DataFrame({'image': [str(tmp_path / 'red.png'), 'nowhere.png'], 'label': [0, 1]})
    dataset = Dataset(read(frame))
    assert dataset.content(0).shape == (3, 4, 3)
    assert dataset.content(0)[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(DataError, match=r'Cannot read row 1: nowhere.png: No such file'):
        dataset.content(1)
    assert Dataset(read(frame), preprocess_fn=lambda name: name[-7:]).content(0) == 'red.png'


def test_text_and_image_are_a_pair(tmp_path):
    Image.new('L', (2, 2)).save(tmp_path / 'a.png')
    dataset = Dataset(read(pd.DataFrame({'image': [str(tmp_path / 'a.png')] * 2, 'text': ['one', 'two']})))
    assert dataset.kind == 'pair'
    assert dataset.content(0) == 'one'
    assert dataset.content(2).shape == (2, 2, 3)
    assert dataset.records.rows.tolist() == [[0, 2], [1, 2]]  # one path is one item


def test_arrays_in_cells():
    frame = pd.DataFrame({'tensor': [np.zeros(3), np.ones(3)], 'label': [0, 1]})
    assert Dataset(read(frame)).content(1).tolist() == [1, 1, 1]


def test_a_column_of_contents_alone():
    assert read(pd.DataFrame({'text': ['a', 'b']})).kind == 'instance'
    assert list(contents(pd.DataFrame({'text': ['a', 'b'], 'label': [1, 2]})).contents) == ['a', 'b']
    assert list(contents(pd.DataFrame({'text': ['a', 'b'], 'intent': [1, 2]})).contents) == ['a', 'b']


def test_token_ids_are_contents_together():
    records = read({'input_ids': [[1, 2], [3, 4]], 'attention_mask': [[1, 1], [1, 0]], 'label': [0, 1]})
    assert (records.kind, records.contents[1]) == ('class', {'input_ids': [3, 4], 'attention_mask': [1, 0]})


def test_cells_are_read_one_by_one():
    class Counting(list):
        read = 0

        def __getitem__(self, i):
            Counting.read += 1
            return super().__getitem__(i)

    records = read({'text': Counting(['a', 'b', 'c']), 'label': [0, 1, 0]})
    assert Counting.read == 0
    assert records.contents[2] == 'c'
    assert Counting.read == 1


@pytest.mark.parametrize(
    ('columns', 'reason'),
    [
        ({'text': ['a'], 'intent': [1]}, "'text' and 'intent' do not say .* Call one of them label"),
        ({'words': ['a'], 'label': [1]}, 'Call one text, image, uri or content'),
        ({'text': ['a'], 'image': ['b'], 'label': [1]}, 'Keep one of these contents'),
        ({'anchor': ['a'], 'text': ['b']}, 'one anchor and one positive'),
        ({'text1': ['a'], 'text2': ['b'], 'label': [1]}, "Call 'label' score if it is a grade"),
        ({'text': ['a'], 'label': [1], 'category': [1]}, 'Call one of them label'),
        ({'text': ['a', 'b'], 'label': [1.5, 2]}, 'label of row 0 is wrong: 1.5'),
        ({'text1': ['a', 'b'], 'text2': ['c', 'd'], 'score': [1, 'high']}, 'score is no finite number in row 1'),
        ({'anchor': ['a', ' '], 'positive': ['c', 'd']}, "no anchor in row 1 but ' '"),
    ],
)
def test_columns_that_do_not_say_what_they_are(columns, reason):
    with pytest.raises(DataError, match=reason):
        read(pd.DataFrame(columns))


def test_two_columns_of_one_name():
    with pytest.raises(DataError, match=r"Several columns are called 'text'"):
        read(pd.DataFrame([['a', 'b']], columns=['text', 'text']))


def test_columns_of_a_dict_must_be_equally_long():
    with pytest.raises(DataError, match=r'text: 2, label: 1'):
        read({'text': ['a', 'b'], 'label': [1]})
