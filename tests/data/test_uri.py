import base64
import io
import pickle

import numpy as np
import pytest
from PIL import Image

from finetuner.data.uri import Uri, Uris, load, names_image
from finetuner.errors import DataError


def test_what_stands_at_paths_and_data_uris(tmp_path):
    (tmp_path / 'a b.txt').write_text('hello')
    np.save(tmp_path / 'x.npy', np.arange(3))
    pixels = io.BytesIO()
    Image.new('L', (4, 3), 7).save(pixels, 'PNG')
    (tmp_path / 'picture').write_bytes(pixels.getvalue())
    assert load(Uri(str(tmp_path / 'a b.txt'))) == 'hello'
    assert load(Uri((tmp_path / 'a b.txt').as_uri())) == 'hello'
    assert load(Uri(str(tmp_path / 'x.npy'))).tolist() == [0, 1, 2]
    assert load(Uri(str(tmp_path / 'picture'))).tolist() == np.full((3, 4, 3), 7).tolist()
    data = base64.b64encode(pixels.getvalue()).decode()
    assert load(Uri(f'data:image/png;base64,{data}')).shape == (3, 4, 3)


def test_what_cannot_be_read(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    (tmp_path / 'a.xyz').write_bytes(b'\0\1')
    np.save(tmp_path / 'x.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match=r'image is damaged'):
        load(Uri(str(tmp_path / 'a.png')))
    with pytest.raises(DataError, match=r"'a.xyz' is no image, text or .npy array"):
        load(Uri(str(tmp_path / 'a.xyz')))
    with pytest.raises(ValueError, match=r'[Pp]ickle'):
        load(Uri(str(tmp_path / 'x.npy')))
    with pytest.raises(DataError, match=r's3: is not allowed'):
        load(Uri('s3://bucket/a.png'))


def test_a_uri_stays_one_in_another_process():
    again = pickle.loads(pickle.dumps(Uri('http://example.org/a.png', ())))
    assert (type(again), again.schemes) == (Uri, ())


def test_a_column_leaves_alone_what_is_no_text(tmp_path):
    column = Uris(['a.png', None, 5, 'http://example.org/b.png'], (), tmp_path)
    assert list(column) == [str(tmp_path / 'a.png'), None, 5, 'http://example.org/b.png']


def test_names_of_images():
    assert names_image('folder/a.JPG') and names_image('http://example.org/a.png')
    assert not any(map(names_image, ['a sentence about a.png', 'text', 'a.csv', '', None, 5]))
