"""Items as they are shown on a page."""

import base64
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from finetuner.data.readers import read
from finetuner.evaluation.reports.pictures import SIDE, encoded, picture_of, png, seen
from finetuner.evaluation.reports.words import LONGEST, bare, is_file

RNG = np.random.default_rng(0)


def opened(uri):
    kind, _, data = uri.partition(';base64,')
    picture = Image.open(BytesIO(base64.b64decode(data)))
    assert kind == f'data:image/{picture.format.lower()}'
    return picture


def test_png_is_read_as_it_was_written():
    image = RNG.integers(0, 256, (7, 13, 3), np.uint8)
    assert (np.asarray(Image.open(BytesIO(png(image)))) == image).all()


@pytest.mark.parametrize('shape', [(20, 30, 3), (8, 8), (3, 40, 30), (1, 16, 16), (28, 28, 1), (60, 40, 4)])
def test_what_looks_like_an_image_is_one(shape):
    found = picture_of(RNG.random(shape))
    assert found is not None and found.ndim == 3 and found.shape[2] == 3


@pytest.mark.parametrize('shape', [(8,), (5, 5), (4, 12), (8, 40), (3, 8, 8, 8), (40, 40, 7), ()])
def test_what_does_not_is_none(shape):
    assert picture_of(RNG.random(shape)) is None


@pytest.mark.parametrize('other', ['text', None, 3, {'a': 1}, np.array([['x'] * 9] * 9)])
def test_what_is_no_array_is_none(other):
    assert picture_of(other) is None


def test_large_pictures_become_small_ones_and_keep_their_form():
    image = np.zeros((400, 800, 3), np.uint8)
    image[:, 400:] = 250
    small = opened(encoded(image))
    assert small.size == (SIDE, SIDE // 2) and small.format == 'JPEG'
    shades = np.asarray(small).mean(axis=(0, 2))
    assert (shades[:40] < 10).all() and (shades[-40:] > 240).all()


def test_without_pillow_they_are_means_of_squares(monkeypatch):
    image = RNG.integers(0, 256, (200, 300, 3), np.uint8)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, 'PIL', None)
        uri = encoded(image)
    small = np.asarray(opened(uri))
    assert uri.startswith('data:image/png') and small.shape == (50, 75, 3)
    assert small[0, 0].tolist() == np.round(image[:4, :4].mean(axis=(0, 1))).tolist()


def test_few_pixels_are_shown_as_they_are():
    image = RNG.integers(0, 256, (10, 12, 3), np.uint8)
    item = seen(read(([image, image], [0, 1])), 1)
    assert item.few and item.label == '1' and (np.asarray(opened(item.picture)) == image).all()


def test_a_text_in_one_line_cut_where_it_is_long():
    item = seen(read((['a \n b', 'c' * 999], ['x', 'y'])), 0)
    assert (item.text, item.label, item.picture, item.name) == ('a b', 'x', None, 'item 0')
    assert len(seen(read((['a', 'c' * 999], ['x', 'y'])), 1).text) == LONGEST


def test_what_is_neither_is_named():
    item = seen(read((RNG.random((2, 8)), [0, 1])), 1)
    assert item.text == item.name == 'item 1'


def test_a_file_of_an_image_and_a_document(tmp_path):
    from finetuner import Document, DocumentArray

    Image.fromarray(RNG.integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / 'a.png')
    docs = DocumentArray(
        [
            Document(uri=str(tmp_path / 'a.png'), tags={'finetuner_label': 'x'}),
            Document(tensor=RNG.random((9, 9)), tags={'finetuner_label': 'x'}),
            Document(text='hello', tags={'finetuner_label': 'x'}),
        ]
    )
    records = read(docs)
    assert opened(seen(records, 0).picture).size == (40, 30)
    assert opened(seen(records, 1).picture).size == (9, 9)
    assert seen(records, 2).text == 'hello'


def test_pillow_images():
    assert opened(seen(read(([Image.new('L', (9, 12), 70)] * 2, [0, 1])), 0).picture).size == (9, 12)


def test_what_is_to_be_shown_can_be_told():
    records = read((RNG.random((2, 64)), [0, 1]))
    assert opened(seen(records, 0, lambda item: item.reshape(8, 8)).picture).size == (8, 8)
    assert seen(records, 0, lambda item: f'{len(item)} numbers').text == '64 numbers'


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('/home/me/a.png', 'a.png'),
        ('row 3', 'row 3'),
        ('https://x.org/a', 'https://x.org/a'),
        ('sub/a.png', 'sub/a.png'),
        ('/home/me/private dir/a.png', 'a.png'),
        ('~/private/a.png', 'a.png'),
        (r'C:\Users\me\a.png', 'a.png'),
        ('C:/Users/me/a.png', 'a.png'),
        (r'\\server\share\me\a.png', 'a.png'),
        ('file:///home/me/a%20b.png', 'a b.png'),
        ('https://me:secret@x.org/a.png?token=abc#b', 'https://x.org/a.png'),
        ('s3://box/a.png?signature=abc', 's3://box/a.png'),
        ('data:image/png;base64,AAAA', 'data:image/png;base64'),
        ("document '/home/me/a b.png'", "document 'a b.png'"),
        ('document "/home/me\'s/a.png"', 'document "a.png"'),
        (repr(r'C:\me\a.png').join(['document ', '']), "document 'a.png'"),
        ("document '7f'", "document '7f'"),
    ],
)
def test_names_do_not_say_where_files_lie(name, said):
    assert bare(name) == said


@pytest.mark.parametrize(
    'text',
    [
        '/help me with a/b',
        '/shrug',
        'a / b',
        'see https://x.org for more',
        'https://x.org\nhere',
        'ratio 1:2',
        'C: drive',
    ],
)
def test_a_text_is_no_file(text):
    assert not is_file(text)
    assert seen(read(([text, text], ['x', 'y'])), 0).text == ' '.join(text.split())


@pytest.mark.parametrize(
    ('path', 'said'),
    [
        ('/home/me/private dir/1.png', '1.png'),
        ('/x/2.wav', '2.wav'),
        (r'D:\me\3.wav', '3.wav'),
        ('/me/notes dir/4', '4'),
    ],
)
def test_of_a_path_that_is_content_only_the_name_is_shown(path, said):
    assert seen(read(([path, path], ['x', 'y'])), 0).text == said


def test_documents_whose_ids_are_paths():
    from finetuner import Document, DocumentArray

    tags = {'finetuner_label': 'x'}
    records = read(DocumentArray([Document(id=f'/home/me/{i} b.png', text='', tags=tags) for i in range(2)]))
    assert 'home' not in repr(seen(records, 0)) and '0 b.png' in seen(records, 0).name


def test_what_cannot_be_read_is_named_and_texts_are_read(tmp_path):
    (tmp_path / 'a.wav').write_bytes(b'RIFF')
    (tmp_path / 'b.txt').write_text('hello  you')
    (tmp_path / 'c.png').write_bytes(b'damaged')
    names = ['a.wav', 'b.txt', 'c.png', 'gone.png']
    table = tmp_path / 'data.csv'
    table.write_text('uri,label\n' + ''.join(f'{tmp_path / name},{name}\n' for name in names))
    records = read(table)
    assert [seen(records, i).text for i in range(4)] == ['a.wav', 'hello you', 'c.png', 'gone.png']


def test_labels_and_names_are_cut():
    from finetuner import Document, DocumentArray

    long = 'L' * 50_000
    item = seen(read((['a', 'b'], [long, 'x'])), 0)
    assert len(item.label) == LONGEST and item.label.endswith('…')
    tags = {'finetuner_label': 'x'}
    assert (
        len(seen(read(DocumentArray([Document(id=f'{long}{i}', text='a', tags=tags) for i in '01'])), 0).name)
        <= LONGEST
    )


def test_what_is_clear_lies_on_white():
    image = np.zeros((20, 20, 4), np.uint8)
    image[:, 10:, 3], image[:, 10:, 0] = 255, 200
    half = image.copy()
    half[..., 3] = 128
    for clear in (image, image / 255.0, np.moveaxis(image, 2, 0), Image.fromarray(image)):
        found = picture_of(clear)
        assert found[0, 0].tolist() == [255] * 3 and found[0, 19].tolist() == [200, 0, 0]
        assert abs(picture_of(half)[0, 0].astype(int) - 127).max() <= 1
    small = opened(seen(read(([Image.fromarray(image)] * 2, [0, 1])), 0).picture)
    assert small.getpixel((0, 0)) == (255,) * 3
    grey = Image.fromarray(image).convert('LA')
    assert picture_of(grey)[0, 0].tolist() == [255] * 3


def test_pictures_of_sixteen_bits_keep_their_shades():
    ramp = np.tile(np.linspace(0, 60_000, 40), (40, 1))
    for kind in (np.uint16, np.int32, np.float32):
        found = picture_of(Image.fromarray(ramp.astype(kind)))
        assert found[0, 0, 0] == 0 and 120 <= found[0, 20, 0] <= 135 and found[0, 39, 0] == 255


def test_a_little_too_large_is_not_halved():
    assert opened(encoded(RNG.integers(0, 256, (SIDE + 1, SIDE + 1, 3), np.uint8))).size == (SIDE, SIDE)


def test_large_pictures_are_not_read_pixel_by_pixel(monkeypatch):
    def slow(*arguments):
        raise AssertionError

    monkeypatch.setattr('finetuner.evaluation.reports.pictures._reduced', slow)
    assert opened(encoded(RNG.integers(0, 256, (300, 200, 3), np.uint8))).size == (64, SIDE)
    large = Image.fromarray(RNG.integers(0, 256, (300, 200, 3), np.uint8))
    assert picture_of(large).shape == (SIDE, 64, 3) and large.size == (200, 300)
