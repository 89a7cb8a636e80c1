import pickle

import numpy as np
import pytest
from PIL import Image

from finetuner.data.augmentation import ImageAugmentation
from finetuner.data.chance import seeded
from finetuner.errors import ArgumentError, DataError

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(5, 0).repeat(5, 1)
STILL = {'scale': (1, 1), 'flip': 0, 'jitter': 0, 'grayscale': 0, 'blur': 0, 'ratio': (4 / 3, 4 / 3)}


def view(content, *numbers, **options):
    with seeded(*numbers or (0,)):
        return ImageAugmentation(**options)(content)


def spread(side, by=1):
    return np.linspace(0, 255, side * by, dtype=np.uint8).reshape(by, side)


FORMS = {
    'bytes': PHOTO,
    'gray': PHOTO[..., 0],
    'one channel': PHOTO[..., :1],
    'channels first': PHOTO.transpose(2, 0, 1),
    'unit floats': PHOTO.astype(np.float32) / 255,
    'floats to 255': PHOTO.astype(np.float64),
    'integers': PHOTO.astype(np.int64),
    'black and white': PHOTO[..., 0] > 127,
}


@pytest.mark.parametrize('name', FORMS)
def test_a_view_has_the_form_of_the_image(name):
    image = FORMS[name]
    kept = image.copy()
    changed = view(image)
    assert changed.shape == image.shape and changed.dtype == image.dtype
    assert changed.min() >= 0 and changed.max() <= (255 if image.max() > 1 else 1)
    assert changed.astype(float).max() > 0.3 * image.astype(float).max()  # the range stays what it was
    assert not np.array_equal(changed, image)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize('name', FORMS)
def test_without_changes_it_is_the_image(name):
    np.testing.assert_allclose(view(FORMS[name], **STILL).astype(float), FORMS[name].astype(float), atol=1e-6)


def test_views_hang_on_the_seed_alone():
    np.testing.assert_array_equal(view(PHOTO, 1, 2), view(PHOTO, 1, 2))
    seen = {view(PHOTO, 1, number).tobytes() for number in range(10)}
    assert len(seen) == 10


def test_the_second_view_of_an_image_works_as_the_first():
    image = Image.fromarray(PHOTO)
    first, second = view(image, 1), view(image, 2)
    assert first.shape == second.shape == PHOTO.shape and not np.array_equal(first, second)
    np.testing.assert_array_equal(np.asarray(image), PHOTO)


def test_it_is_mirrored_as_often_as_said():
    columns = np.tile(spread(40), (30, 1))
    options = STILL | {'flip': 0.25}
    mirrored = [view(columns, number, **options)[0, 0] > 127 for number in range(400)]
    assert 0.17 < np.mean(mirrored) < 0.33
    assert view(columns, **STILL | {'flip': 1})[:, ::-1].tolist() == columns.tolist()


def test_a_part_is_cut_out_and_is_as_large_as_said():
    columns = np.tile(spread(200), (150, 1))
    options = STILL | {'scale': (0.25, 0.25)}
    spans = [float(np.ptp(view(columns, number, **options)[0])) for number in range(20)]
    np.testing.assert_allclose(spans, 127, atol=3)  # half of the width
    starts = {int(view(columns, number, **options)[0, 0]) for number in range(20)}
    assert len(starts) > 10


def test_colours_are_changed_and_taken_away():
    gray = view(PHOTO, **STILL | {'grayscale': 1})
    assert np.ptp(gray, axis=-1).max() == 0
    only_brightness = STILL | {'jitter': 1, 'hue': 0, 'contrast': 0, 'saturation': 0}
    means = [view(PHOTO, number, **only_brightness).mean() for number in range(20)]
    assert min(means) < 0.8 * PHOTO.mean() and max(means) > 1.1 * PHOTO.mean()
    red = np.zeros_like(PHOTO) + np.array([255, 0, 0], np.uint8)
    only_hue = STILL | {'jitter': 1, 'brightness': 0, 'contrast': 0, 'saturation': 0, 'hue': 0.5}
    assert len({tuple(view(red, n, **only_hue)[0, 0]) for n in range(10)}) == 10
    np.testing.assert_array_equal(view(red, **only_hue | {'hue': 0}), red)


def test_blur_smooths():
    noise = np.random.default_rng(0).integers(0, 256, (112, 112), np.uint8)
    assert view(noise, **STILL | {'blur': 1, 'ratio': (1, 1)}).std() < 0.9 * noise.std()


def test_it_can_be_pickled_and_says_what_it_is():
    made = ImageAugmentation(flip=0)
    assert pickle.loads(pickle.dumps(made)) == made
    assert eval(repr(made)) == made


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('a text', r'expected an image, came a str'),
        (np.zeros((5, 5, 4)), r'1 or 3 channels; this is \(5, 5, 4\)'),
        (np.zeros(9), r'this is \(9,\)'),
        (np.zeros((0, 5)), r'this is \(0, 5\)'),
        (np.zeros((5, 5)) - 0.1, r'from 0 to 1 or from 0 to 255; these go from -0.1.*Normalise in the model'),
        (np.full((5, 5), 256), r'these go from 256'),
        (np.full((5, 5), np.nan), r'these go from nan'),
        (Image.new('RGBA', (5, 5)), r"mode RGBA: expected L or RGB.*convert\('RGB'\)"),
    ],
)
def test_what_is_no_image_is_refused(content, said):
    with pytest.raises(DataError, match=said):
        ImageAugmentation()(content)


@pytest.mark.parametrize(
    'options',
    [{'flip': 1.5}, {'flip': -1}, {'flip': True}, {'flip': 'x'}, {'hue': 0.6}, {'scale': (0, 1)}, {'scale': (1, 0.5)},
     {'scale': (0.5, 2)}, {'ratio': 1}, {'blur': None}, {'brightness': 2}],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(options):
    with pytest.raises(ArgumentError, match=f'{next(iter(options))}=.*expected'):
        ImageAugmentation(**options)
