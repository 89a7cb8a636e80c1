import pickle

import numpy as np
import pytest
from PIL import Image

from finetuner.data.augmentation import ImageAugmentation, vision_preprocessor
from finetuner.data.chance import seeded
from finetuner.errors import ArgumentError, DataError

PHOTO = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(5, 0).repeat(5, 1)


def prepared(item, *numbers, **options):
    with seeded(*numbers or (0,)):
        return vision_preprocessor(16, 24, **options)(item)


@pytest.mark.parametrize('phase', ['train', 'validation'])
@pytest.mark.parametrize('normalize', [False, True])
def test_every_form_of_an_image_becomes_floats_of_the_wanted_form(phase, normalize, tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / 'photo.png')
    made = vision_preprocessor(16, 24, normalize=normalize, phase=phase)
    first = vision_preprocessor(16, 24, 0, -1, normalize, phase)
    forms = [
        (made, PHOTO), (made, PHOTO / 255), (made, Image.fromarray(PHOTO)), (made, str(tmp_path / 'photo.png')),
        (made, Image.fromarray(PHOTO).convert('RGBA')), (first, PHOTO.transpose(2, 0, 1)),
    ]  # fmt: skip
    views = []
    for function, item in forms:
        with seeded(3):
            views.append(function(item))
    for view in views[:-1]:
        assert view.shape == (3, 16, 24) and view.dtype == np.float32
        np.testing.assert_allclose(view, views[0], atol=1e-6)
    np.testing.assert_allclose(views[-1], views[0].transpose(1, 2, 0), atol=1e-6)
    assert (views[0].min() < 0) == normalize
    assert views[0].max() <= (1 if not normalize else 3)


def test_an_image_without_colours_keeps_its_one_channel():
    assert prepared(PHOTO[..., 0]).shape == (1, 16, 24)
    assert prepared(PHOTO[..., :1], target_channel_axis=-1, normalize=True).shape == (16, 24, 1)
    assert prepared(Image.fromarray(PHOTO).convert('L')).shape == (1, 16, 24)


def test_documents_by_tensor_blob_and_uri_are_left_as_they_are(tmp_path):
    docarray = pytest.importorskip('docarray', reason='docarray is not installed')
    if not hasattr(docarray, 'DocumentArray'):
        pytest.skip('docarray 0.4x is installed')
    path = tmp_path / 'photo.png'
    Image.fromarray(PHOTO).save(path)
    documents = [
        docarray.Document(tensor=PHOTO.copy()),
        docarray.Document(uri=str(path)),
        docarray.Document(blob=path.read_bytes()),
    ]
    made = vision_preprocessor(16, 24, normalize=True)
    for document in documents:
        first, second = (_seeded(made, document, number) for number in (1, 2))  # the original failed on the second
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(first, _seeded(made, PHOTO, 1))
    np.testing.assert_array_equal(documents[0].tensor, PHOTO)
    assert documents[1].tensor is None
    with pytest.raises(DataError, match=r'no content: no tensor, blob or uri'):
        made(docarray.Document())


def _seeded(function, item, number):
    with seeded(number):
        return function(item)


def test_validation_takes_the_middle_and_no_chance():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    made = vision_preprocessor(10, 10, phase='validation')
    np.testing.assert_array_equal(made(wide), np.ones((3, 10, 10)))
    np.testing.assert_array_equal(made(wide.transpose(1, 0, 2)), np.ones((3, 10, 10)))
    assert made(PHOTO[:10, :10]).tolist() == (PHOTO[:10, :10] / np.float32(255)).transpose(2, 0, 1).tolist()
    assert made(np.zeros((64, 64, 3))).shape == (3, 10, 10)  # the original left tensors as large as they were


def test_pixels_are_normalised_as_for_imagenet():
    white = vision_preprocessor(4, 4, normalize=True, phase='validation')(np.full((9, 9, 3), 255, np.uint8))
    np.testing.assert_allclose(white[:, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], 1e-5)


def test_its_still_form_is_that_of_the_phase_validation():
    made = vision_preprocessor(16, 24, normalize=True)
    assert made.still == vision_preprocessor(16, 24, normalize=True, phase='validation') == made.still.still
    assert pickle.loads(pickle.dumps(made)) == made


def test_the_augmentation_can_be_another():
    none = ImageAugmentation(scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, grayscale=0, blur=0)
    square = PHOTO[:30, :30]
    made = vision_preprocessor(30, 30, augmentation=none)
    np.testing.assert_allclose(made(square), made.still(square), atol=1e-6)


@pytest.mark.parametrize(
    ('item', 'said'),
    [
        ('a text', r"the path of one, came the text 'a text'"),
        ('/nowhere/photo.png', r'No such file'),
        ('http://localhost/photo.png', r'is not fetched'),
        (PHOTO.transpose(2, 0, 1), r'shape \(3, 30, 40\) has no 1 or 3 channels along axis -1'),
        (np.zeros((5, 5, 4)), r'1 or 3 channels'),
        (None, r'no content'),
    ],
)
def test_what_is_no_image_is_refused(item, said):
    with pytest.raises(DataError, match=said):
        vision_preprocessor()(item)


@pytest.mark.parametrize(
    'options',
    [{'height': 0}, {'width': 2.5}, {'default_channel_axis': 1}, {'target_channel_axis': 3}, {'phase': 'test'},
     {'augmentation': 'image'}],
)  # fmt: skip
def test_impossible_arguments_are_refused(options):
    with pytest.raises(ArgumentError, match=f'{next(iter(options))}=.*expected'):
        vision_preprocessor(**options)


def test_it_has_the_name_of_the_original():
    from finetuner.tuner.augmentation import vision_preprocessor as original

    assert original is vision_preprocessor
