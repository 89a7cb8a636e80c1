import hashlib

import numpy as np
import pytest

from finetuner.data import read, samples
from finetuner.errors import DataError


def test_digits_are_in_the_wheel_of_scikit_learn():
    images, labels = samples.digits()
    assert (images.shape, images.dtype, images.max()) == ((1797, 8, 8), np.float32, 1)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_banking77(real_data, monkeypatch):
    monkeypatch.setenv('FINETUNER_DATA', str(real_data))
    rows = samples.banking77()
    assert (len(rows), len({label for _, label in rows}), len(samples.banking77('test'))) == (10_003, 77, 3080)
    assert rows[0] == ('I am still waiting on my card?', 'card_arrival')
    assert read(real_data / 'banking77' / 'train.csv').labels == [label for _, label in rows]
    with pytest.raises(DataError, match=r"no split 'dev'"):
        samples.banking77('dev')


def test_omniglot(real_data, monkeypatch):
    monkeypatch.setenv('FINETUNER_DATA', str(real_data))
    images, characters, alphabets = samples.omniglot(28)
    assert (images.shape, len(set(characters)), len(set(alphabets))) == ((2720, 28, 28), 136, 5)
    assert images.min() == 0 and 0.03 < images.mean() < 0.15  # thin ink on nothing
    assert samples.omniglot(105)[0].shape == (2720, 105, 105)


def test_mnist(real_data, monkeypatch):
    monkeypatch.setenv('FINETUNER_DATA', str(real_data))
    images, labels = samples.mnist()
    assert (images.shape, images.max()) == ((10_000, 28, 28), 1)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_clothing(real_data, monkeypatch):
    monkeypatch.setenv('FINETUNER_DATA', str(real_data))
    photos, kinds = samples.clothing('validation')
    assert (len(photos), len(kinds), len(set(kinds))) == (341, 341, 10)
    assert kinds.count('t-shirt') == 81
    assert {max(photo.shape[:2]) for photo in photos} == {160}
    assert {(photo.dtype, photo.shape[2]) for photo in photos} == {(np.dtype(np.uint8), 3)}
    with pytest.raises(DataError, match=r"no split 'test'"):
        samples.clothing('test')


def test_a_missing_or_other_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv('FINETUNER_DATA', raising=False)
    with pytest.raises(DataError, match=r'FINETUNER_DATA is not set: get https://.*put it at .*banking77/train.csv'):
        samples.banking77()
    monkeypatch.setenv('FINETUNER_DATA', str(tmp_path))
    with pytest.raises(DataError, match=r'There is no .*mnist'):
        samples.mnist()
    (tmp_path / 'banking77').mkdir()
    (tmp_path / 'banking77' / 'train.csv').write_text('text,category\n')
    with pytest.raises(DataError, match=r'is not the published file'):
        samples.banking77()
    digest = hashlib.sha256(b'text,category\nhello,x\n').hexdigest()
    monkeypatch.setitem(samples._FILES, 'banking77/train.csv', (digest, ''))
    (tmp_path / 'banking77' / 'train.csv').write_text('text,category\nhello,x\n')
    assert samples.banking77() == [('hello', 'x')]
