import random

import numpy as np
import pytest
from PIL import Image

from finetuner.data.augmentation import (
    ImageAugmentation,
    PointAugmentation,
    WordDropout,
    vision_preprocessor,
)
from finetuner.data.augmentation.choice import Views, called, choose, still
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((4, 10)).astype(np.float32)
PHOTOS = RNG.integers(0, 256, (4, 16, 16, 3), np.uint8)


def chosen(data, augmentation=None, preprocess_fn=None, collate_fn=None) -> Views:
    return choose(augmentation, Dataset(read(data), preprocess_fn), collate_fn)


def ids(texts):
    return np.array([[len(word) for word in text.split()] for text in texts])


@pytest.mark.parametrize(
    'images',
    [
        PHOTOS,
        PHOTOS[..., :1] / np.float32(255),
        PHOTOS.transpose(0, 3, 1, 2),
        [Image.fromarray(photo) for photo in PHOTOS],
        [Image.fromarray(photo).convert('L') for photo in PHOTOS],
    ],
)
def test_images_are_changed_as_images(images):
    assert chosen(images)[:2] == (ImageAugmentation(), False)


def test_clouds_are_changed_as_clouds():
    assert chosen(list(RNG.standard_normal((4, 50, 3))))[:2] == (PointAugmentation(), False)


@pytest.mark.parametrize(
    'data',
    [VECTORS, PHOTOS[..., 0], RNG.standard_normal((4, 5, 3)), RNG.integers(0, 9, (4, 50, 3)), PHOTOS[:, :, :3, 0]],
    ids=['vectors', 'gray, or a matrix', 'few points', 'whole numbers', 'narrow'],
)
def test_what_may_be_anything_is_left_to_the_dropout_of_the_model(data):
    assert chosen(data)[:2] == (None, True)


def test_texts_and_tokens_are_left_to_the_dropout_of_the_model():
    assert chosen(['a b', 'c d'], collate_fn=ids)[:2] == (None, True)
    tokens = {'input_ids': [[1, 2], [3, 4]], 'attention_mask': [[1, 1], [1, 1]]}
    assert chosen(tokens)[:2] == (None, True)
    with pytest.raises(DataError, match=r'is text.*collate_fn=tokenize'):
        chosen(['a b', 'c d'])


def noisy(x):
    return x + np.random.normal(0, 0.1, x.shape).astype(np.float32)


def sometimes(x):
    return x[::-1] if random.random() < 0.5 else x


@pytest.mark.parametrize('preprocess_fn', [noisy, sometimes])
def test_a_random_preprocess_fn_is_taken_at_its_word(preprocess_fn):
    assert chosen(VECTORS, preprocess_fn=preprocess_fn)[:2] == (None, False)


def test_so_are_a_random_collate_fn_and_items_that_are_read_by_chance():
    def tokenize(texts):
        return np.array([[random.random()] for _ in texts])

    class Read:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return noisy(VECTORS[i])

    assert chosen(['a', 'b'], collate_fn=tokenize)[:2] == (None, False)
    assert chosen(Read())[:2] == (None, False)
    assert chosen(PHOTOS, preprocess_fn=vision_preprocessor())[:2] == (None, False)


def test_one_that_is_not_random_is_seen_through():
    assert chosen(VECTORS, preprocess_fn=np.abs)[:2] == (None, True)
    assert chosen(VECTORS, preprocess_fn=lambda x: PHOTOS[0])[0] == ImageAugmentation()
    assert chosen(PHOTOS, preprocess_fn=vision_preprocessor(phase='validation'))[0] == ImageAugmentation()


@pytest.mark.parametrize(
    ('augmentation', 'data', 'made'),
    [
        ('image', PHOTOS[..., 0], ImageAugmentation()),
        ('points', list(RNG.standard_normal((4, 5, 3))), PointAugmentation()),
        ('text', ['a b c d e', 'c d e f g'], WordDropout()),
        (ImageAugmentation(flip=0), PHOTOS, ImageAugmentation(flip=0)),
        (noisy, VECTORS, noisy),
    ],
)
def test_what_is_named_is_taken(augmentation, data, made):
    found = chosen(data, augmentation, collate_fn=list if isinstance(data[0], str) else None)
    assert found[:2] == (made, False)
    assert called(made) in found.told


def test_one_that_changes_nothing_leaves_it_to_the_model():
    assert chosen(VECTORS, np.abs)[:2] == (np.abs, True)
    assert chosen(['a', 'b'], 'text', collate_fn=ids)[1]  # of one word there is nothing to leave out
    assert chosen(VECTORS, 'dropout')[:2] == (None, True)


def test_false_changes_nothing_and_asks_nothing():
    assert chosen(PHOTOS, False)[:2] == (None, False)


def test_labelled_items_are_changed_only_where_somebody_says_so():
    labelled = (PHOTOS, [0, 0, 1, 1])
    assert chosen(labelled) == Views(None, False, '')
    assert chosen(labelled, 'image')[:2] == (ImageAugmentation(), False)
    with pytest.raises(ArgumentError, match=r"'dropout' makes two views of items alone.*Leave augmentation out"):
        chosen(labelled, 'dropout')


@pytest.mark.parametrize(
    ('augmentation', 'said'),
    [
        ('imgae', r"There is no augmentation 'imgae'. Did you mean 'image'"),
        (True, r"augmentation=True: expected 'image'"),
        (3, r'augmentation=3: expected'),
        (ImageAugmentation, r'an instance such as ImageAugmentation\(\)'),
    ],
)
def test_what_is_none_is_refused(augmentation, said):
    with pytest.raises(ArgumentError, match=said):
        chosen(VECTORS, augmentation)


def test_an_item_that_cannot_be_changed_is_named():
    with pytest.raises(DataError, match=r'augmentation fails on item 0: .*this is \(10,\)'):
        chosen(VECTORS, 'image')


def test_no_items_are_no_reason_to_fail_here():
    assert chosen([])[:2] == (None, False)


def test_chance_outside_is_left_alone():
    np.random.seed(3), random.seed(3)
    expected = np.random.rand(), random.random()
    np.random.seed(3), random.seed(3)
    chosen(VECTORS, preprocess_fn=noisy)
    assert (np.random.rand(), random.random()) == expected


def test_the_still_form_is_taken_where_there_is_one():
    made = vision_preprocessor()
    assert still(made) == vision_preprocessor(phase='validation')
    assert still(noisy) is noisy
    assert still(None) is None


class Own:
    def __call__(self, x):
        return x


def test_names_are_the_same_in_every_process():
    assert called(noisy) == 'noisy'
    assert called(Own()) == 'Own'
    assert called(ImageAugmentation(flip=0.1)) == repr(ImageAugmentation(flip=0.1))
    assert called(None) is None
