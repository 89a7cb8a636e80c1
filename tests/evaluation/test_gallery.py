import numpy as np
import pytest
from PIL import Image

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation.gallery import FRAME, PAPER, RIGHT, WRONG, corner, gallery, pixels

SIZE = 32
GREY = np.array([[40, 80, 120, 160, 200]]).T  # each image is one shade
BEFORE, AFTER = np.array([[1, 2], [3, 4]]), np.array([[2, 3, -1], [4, 1, 3]])
RIGHT_BEFORE, RIGHT_AFTER = np.array([[True, False], [False, False]]), np.array([[1, 1, 0], [0, 1, 1]])


def images():
    return [np.full((8, 8), shade[0], np.uint8) for shade in GREY]


def draw(**options):
    return gallery(images(), [0, 3], BEFORE, AFTER, RIGHT_BEFORE, RIGHT_AFTER, **{'size': SIZE, **options})


def frame(picture, row, part, column):
    """All pixels of a cell's frame, as a set of colours."""
    x, y = corner(row, part, column, (2, 3), SIZE)
    cell = np.array(picture)[y : y + SIZE, x : x + SIZE]
    assert cell.shape == (SIZE, SIZE, 3)
    border = np.ones((SIZE, SIZE), bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    return {tuple(colour) for colour in cell[border].tolist()}


def inside(picture, row, part, column):
    x, y = corner(row, part, column, (2, 3), SIZE)
    cell = np.array(picture)[y + FRAME : y + SIZE - FRAME, x + FRAME : x + SIZE - FRAME]
    return {tuple(colour) for colour in cell.reshape(-1, 3).tolist()}


def test_right_results_have_a_green_frame_and_wrong_ones_a_red_one():
    picture = draw()
    for part, right in ((1, RIGHT_BEFORE), (2, RIGHT_AFTER)):
        for row in range(2):
            for column in range(right.shape[1]):
                if (part, row, column) != (2, 0, 2):
                    assert frame(picture, row, part, column) == {RIGHT if right[row, column] else WRONG}


def test_every_cell_shows_its_image():
    picture = draw()
    for row, query in enumerate([0, 3]):
        assert inside(picture, row, 0, 0) == {(GREY[query][0],) * 3}
        assert frame(picture, row, 0, 0) == {PAPER}
        for part, places in ((1, BEFORE), (2, AFTER)):
            for column, place in enumerate(places[row]):
                if place >= 0:
                    assert inside(picture, row, part, column) == {(GREY[place][0],) * 3}


def test_a_place_where_nothing_was_found_stays_empty():
    picture = draw()
    assert frame(picture, 0, 2, 2) == inside(picture, 0, 2, 2) == {PAPER}


def test_picture_is_large_enough_and_has_titles():
    picture = draw(titles=('', '', ''))
    untitled = np.array(picture)
    x, y = corner(1, 2, 2, (2, 3), SIZE)
    assert picture.width > x + SIZE and picture.height > y + SIZE
    titled = np.array(draw())
    changed = np.argwhere((titled != untitled).any(axis=2))
    assert len(changed) > 50
    assert changed[:, 0].max() < corner(0, 0, 0, (2, 3), SIZE)[1]


def test_picture_is_saved(tmp_path):
    picture = draw(path=tmp_path / 'gallery.png')
    with Image.open(tmp_path / 'gallery.png') as saved:
        assert (np.array(saved) == np.array(picture)).all()


def test_images_may_be_files_and_of_any_shape(tmp_path):
    wide = np.zeros((4, 16, 3), np.uint8)
    wide[..., 0] = 200
    Image.fromarray(wide).save(tmp_path / 'wide.png')
    none = np.empty((1, 0), int)
    picture = gallery([tmp_path / 'wide.png'], [0], none, none, none, none, size=SIZE)
    same = gallery([Image.fromarray(wide)], [0], none, none, none, none, size=SIZE)
    assert (np.array(same) == np.array(picture)).all()
    shown = np.array(picture)[slice(corner(0, 0, 0, (0, 0), SIZE)[1], None)][:SIZE]
    red = (shown == (200, 0, 0)).all(axis=2)
    side = SIZE - 2 * FRAME
    assert red.sum() == side * side // 4  # four times as wide as high


@pytest.mark.parametrize(
    'image',
    [
        np.array([[0, 255]], np.uint8),
        np.array([[0.0, 1.0]]),
        np.array([[0.0, 16.0]]),
        np.array([[-1.0, 1.0]]),
        np.array([[False, True]]),
        np.array([[[0.0], [1.0]]]),
        np.array([[[0, 255]]] * 3, np.uint8),
        np.array([[[0, 0, 0, 9], [255, 255, 255, 9]]], np.uint8),
        [[0, 255]],
    ],
)
def test_pixels_of_any_array(image):
    assert pixels(image).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize('bad', [np.zeros(5), np.zeros((5, 5, 7)), np.zeros((0, 3)), np.array([['a']]), [[np.nan]]])
def test_what_is_no_image_is_named(bad):
    with pytest.raises(DataError, match='Image 1 is no image'):
        gallery([np.zeros((2, 2)), bad], [0], np.array([[1]]), np.array([[0]]), np.array([[1]]), np.array([[1]]))


def test_results_that_do_not_fit_the_queries_are_refused():
    with pytest.raises(ArgumentError, match=r'shape \(1, K\)'):
        gallery(images(), [0], BEFORE, AFTER, RIGHT_BEFORE, RIGHT_AFTER)
