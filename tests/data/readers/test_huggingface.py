import pytest
from PIL import Image

from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.errors import DataError

datasets = pytest.importorskip('datasets', reason='Hugging Face datasets is not installed: pip install datasets')


def test_class_labels_with_minus_one_where_there_is_none():
    features = datasets.Features({'text': datasets.Value('string'), 'label': datasets.ClassLabel(names=['no', 'yes'])})
    records = read(datasets.Dataset.from_dict({'text': ['a', 'b', 'c'], 'label': [1, -1, 0]}, features=features))
    assert (records.kind, records.labels, list(records.contents)) == ('class', [1, None, 0], ['a', 'b', 'c'])


def test_minus_one_is_a_label_like_others_in_a_column_of_integers():
    assert read(datasets.Dataset.from_dict({'text': ['a', 'b'], 'label': [1, -1]})).labels == [1, -1]


def test_pairs_scores_and_other_columns():
    pairs = read(datasets.Dataset.from_dict({'anchor': ['a', 'b'], 'positive': ['p', 'a'], 'idx': [1, 2]}))
    assert (pairs.kind, pairs.rows.tolist()) == ('pair', [[0, 2], [1, 0]])
    scored = read(datasets.Dataset.from_dict({'sentence1': ['a', 'b'], 'sentence2': ['c', 'd'], 'score': [0.0, 1.0]}))
    assert (scored.kind, scored.scores.ravel().tolist()) == ('score', [0.0, 1.0])


def test_more_rows_than_are_read_at_once():
    n = 2500
    data = datasets.Dataset.from_dict(
        {'anchor': [f'a{i}' for i in range(n)], 'positive': [f'p{i % 7}' for i in range(n)]}
    )
    records = read(data)
    assert len(records) == n + 7
    assert records.contents[n - 1] == f'a{n - 1}'


def test_images_are_decoded_when_needed(tmp_path):
    Image.new('RGB', (4, 3)).save(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_bytes(b'no image')
    data = datasets.Dataset.from_dict({'image': [str(tmp_path / 'a.png'), str(tmp_path / 'b.png')], 'label': [0, 1]})
    dataset = Dataset(read(data.cast_column('image', datasets.Image())))
    assert dataset.content(0).size == (4, 3)
    with pytest.raises(DataError, match=r'Cannot read row 1'):
        dataset.content(1)


def test_a_transform_of_the_dataset_is_kept():
    data = datasets.Dataset.from_dict({'tensor': [[1.0, 2.0], [3.0, 4.0]], 'label': [0, 1]}).with_format('numpy')
    records = read(data)
    assert records.labels == [0, 1]
    assert records.contents[1].tolist() == [3.0, 4.0]


def test_splits_and_streams_are_refused_with_a_way_out():
    data = datasets.Dataset.from_dict({'text': ['a'], 'label': [1]})
    with pytest.raises(DataError, match=r"splits 'train': choose one, data\['train'\]"):
        read(datasets.DatasetDict({'train': data}))
    with pytest.raises(DataError, match=r'streamed'):
        read(data.to_iterable_dataset())
