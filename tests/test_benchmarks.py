"""The parts of the benchmarks that their figures rest on."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import left_out, models, photos
from benchmarks.intervals import interval, word
from finetuner.api import embed
from finetuner.evaluation.gallery import FRAME, RIGHT, WRONG, corner
from finetuner.inference import encoder


def test_an_interval_is_as_wide_as_queries_and_seeds_make_it():
    chance = np.random.default_rng(0)
    queries = chance.random(2_000)
    low, high = interval(np.stack([queries] * 3))
    assert low < queries.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * queries.std() / 2_000**0.5, rel=0.2)
    apart = interval(np.stack([queries, queries + 0.3, queries - 0.3]))
    assert apart[1] - apart[0] > 0.3


def test_a_difference_counts_where_its_interval_lacks_zero():
    noise = np.random.default_rng(0).standard_normal((3, 500)) * 0.1
    noise -= noise.mean()
    assert [word(noise + shift) for shift in (0.1, -0.1, 0)] == ['higher', 'lower', 'tie']


def test_the_picture_of_photos_frames_what_is_right(tmp_path):
    kinds = ['a', 'b'] * 10
    shown = [np.full((20, 30 if kind == 'a' else 10, 3), 90, np.uint8) for kind in kinds]
    pairs = np.eye(10)[np.arange(20) // 2]  # the nearest is of the other kind
    of_kind = np.eye(2)[np.arange(20) % 2]
    path = tmp_path / 'photos.png'
    photos.draw(shown, kinds, pairs, of_kind, path)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert('RGB')).astype(int)
    for row in range(photos.SHOWN):
        for part, colour in ((1, WRONG), (2, RIGHT)):
            x, y = corner(row, part, 0, (photos.SHOWN, photos.SHOWN), photos.SIDE)
            assert np.abs(pixels[y + FRAME // 2, x + FRAME // 2] - colour).max() < 16  # few colours are kept
    assert path.stat().st_size < 200_000


def test_the_setting_that_is_chosen_without_a_data_set_is_best_on_the_others():
    found = {'defaults': dict.fromkeys(left_out.TASKS, 0.2), 'other': dict.fromkeys(left_out.TASKS, 0.19)}
    found['other']['mnist'] = 0.6
    assert left_out.left_out(found) == {'digits': 'other', 'Omniglot': 'other', 'MNIST': 'defaults'}


def test_the_network_for_drawings_begins_as_the_same_function_in_every_framework(backend):
    framework = backend.partition('-')[0]
    drawings = np.random.default_rng(0).random((3, 28, 28)).astype(np.float32)
    model = models.drawings_cnn(framework, seed=1)
    values = list(encoder(model).weights().values())
    assert [value.size for value in values] == [16 * 9, 16, 32 * 16 * 9, 32, 64 * 32 * 49, 64]
    assert np.allclose(embed(model, drawings), by_hand(drawings, seed=1), atol=1e-4)


def by_hand(drawings, seed):
    """The network in numpy, with the weights in the order in which they are drawn."""
    chance = np.random.default_rng(seed)

    def drawn(*shape):
        bound = np.prod(shape[1:]) ** -0.5
        return [chance.uniform(-bound, bound, size).astype(np.float32) for size in (shape, shape[:1])]

    x = drawings[:, None]
    for shape in ((16, 1, 3, 3), (32, 16, 3, 3)):
        kernel, bias = drawn(*shape)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        x = np.maximum(np.einsum('bchwij,ocij->bohw', views, kernel) + bias[:, None, None], 0)
        b, c, h, w = x.shape
        x = x.reshape(b, c, h // 2, 2, w // 2, 2).max((3, 5))
    kernel, bias = drawn(64, 32 * 49)
    return x.reshape(len(x), -1) @ kernel.T + bias
