"""Maps of vectors in two dimensions."""

import sys

import numpy as np
import pytest

from finetuner.errors import ArgumentError, MissingExtraError
from finetuner.evaluation import report
from finetuner.evaluation.reports.atlas import chosen, maps
from finetuner.evaluation.reports.charts import LOOKS, OTHER, look, mark, scatter, ticks
from finetuner.evaluation.reports.projection import check, mapped, pca, turned
from tests.evaluation.reports import Given, before_and_after, spread, texts
from tests.fresh import run
from tests.requirements import require


@pytest.mark.parametrize('shape', [(50, 8), (8, 50), (9, 9), (5, 1), (1, 4), (2, 3)])
def test_principal_components_are_those_of_a_singular_value_decomposition(shape):
    vectors = np.random.default_rng(0).standard_normal(shape)
    found = pca(vectors)
    left, sizes, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = np.zeros((shape[0], 2))
    expected[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    assert found.points.shape == (shape[0], 2)
    assert np.allclose(np.abs(found.points), np.abs(expected))
    if (sizes > 1e-9).any():
        assert found.kept == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())


def test_equal_vectors_lie_in_one_place():
    found = mapped(np.ones((4, 3)))
    assert np.allclose(found.points, 0) and found.kept == 1


def test_lengths_do_not_count_for_cosine():
    vectors = np.random.default_rng(0).standard_normal((20, 5))
    longer = vectors * np.arange(1, 21)[:, None]
    assert np.allclose(mapped(vectors).points, mapped(longer).points)
    assert not np.allclose(mapped(vectors, distance='dot').points, mapped(longer, distance='dot').points)


def test_a_map_that_is_turned_and_mirrored_is_turned_back():
    points = np.random.default_rng(0).standard_normal((30, 2))
    points -= points.mean(axis=0)
    turn = np.array([[0.6, 0.8], [0.8, -0.6]])
    assert np.allclose(turned(points @ turn + 3, points), points)


def test_two_maps_without_umap_or_of_another_name_are_refused(monkeypatch):
    with pytest.raises(ArgumentError, match="'pcs'. Did you mean 'pca'"):
        check('pcs')
    monkeypatch.setitem(sys.modules, 'umap', None)
    with pytest.raises(MissingExtraError, match=r"pip install 'finetuner\[umap\]'"):
        check('umap')


def test_umap_keeps_what_is_near_together(tmp_path):
    try:
        from importlib.metadata import version

        version('umap-learn')
    except ModuleNotFoundError:
        require('umap', "umap-learn is not installed: pip install 'finetuner[umap]'")
    # In a process of its own: numba starts threads, and umap imports tensorflow where it is.
    run(UMAP, str(tmp_path / 'report.html'))
    assert 'by UMAP' in (tmp_path / 'report.html').read_text()


UMAP = """
import sys
import numpy as np
import pytest
from finetuner.errors import DataError
from finetuner.evaluation import report
from finetuner.evaluation.reports.projection import mapped
from tests.evaluation.reports import before_and_after, texts

labels = np.arange(40) % 2
vectors = np.random.default_rng(0).standard_normal((40, 4)) + 9 * (2 * labels - 1)[:, None]
found = mapped(vectors, 'umap')
again = mapped(vectors, 'umap')
assert found.kept is None and (found.points == again.points).all()
distances = np.linalg.norm(found.points[:, None] - found.points, axis=2) + 1e9 * np.eye(40)
assert (labels[distances.argmin(axis=1)] == labels).all()
with pytest.raises(DataError, match='needs 16 vectors at least'):
    mapped(vectors[:15], 'umap')
data, labels = texts(20, 2)
report(*before_and_after(data, labels), sys.argv[1], projection='umap')
"""


def classes(count, each=2):
    labels = np.repeat(np.arange(count), each)
    side = Given([(f'text {i}', int(label)) for i, label in enumerate(labels)], np.eye(len(labels)))
    side.evaluate()
    return side, labels


def test_groups_are_the_classes_in_their_order():
    found = chosen(classes(12)[0])
    assert found.names == [str(number) for number in range(12)] and found.counts == [2] * 12
    assert found.groups.tolist() == np.repeat(np.arange(12), 2).tolist()


def test_every_group_looks_different_as_long_as_there_are_looks():
    assert len({(look(group), mark(group)) for group in range(LOOKS)}) == LOOKS
    found = chosen(classes(LOOKS + 3)[0])
    assert len(found.names) == LOOKS and (found.groups == OTHER).sum() == 6


def test_what_is_drawn_is_a_sample_that_the_seed_decides():
    side, labels = classes(50, 4)
    found, again, other = chosen(side, 1, most=30), chosen(side, 1, most=30), chosen(side, 2, most=30)
    assert found.places.tolist() == again.places.tolist() != other.places.tolist()
    assert len(found.groups) == 30 and found.total == 200
    assert [found.names[group] for group in found.groups] == [str(labels[place]) for place in found.places]


def test_items_without_or_with_several_labels():
    data = [('a', 0), ('b', 0), ('c', None), ('d', (1, 2)), ('e', (2, 1))]
    side = Given(data, np.eye(5))
    side.evaluate()
    found = chosen(side)
    assert [found.names[group] for group in found.groups] == ['0', '0', 'no label', '1', '2']


def test_points_fill_the_drawing_upright():
    drawing = scatter(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1]), ['a', 'b'], 'title')
    assert 'd="M14 386' in drawing and 'd="M386 14' in drawing


@pytest.mark.parametrize(
    ('low', 'high', 'expected'),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 40, [0, 10, 20, 30, 40]), (0.61, 0.64, [0.61, 0.62, 0.63, 0.64])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_report_without_umap_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'umap', None)
    data, labels = texts()
    with pytest.raises(MissingExtraError):
        report(*before_and_after(data, labels), tmp_path / 'report.html', projection='umap')
    assert not list(tmp_path.iterdir())


def test_a_query_is_one_point_in_whatever_order_queries_were_asked():
    labels = np.arange(60) % 4
    data, index = ([(f'{what} {i}', f'c{label}') for i, label in enumerate(labels)] for what in ('query', 'item'))
    sides = [Given(data, spread(labels, 0.5), index, spread(labels, 0.5, 1)) for _ in range(2)]
    asked = np.arange(30, 50)
    for side, rows in zip(sides, (asked, asked[::-1].copy()), strict=True):
        side.evaluate(rows=rows)
    first, second = maps(*sides, chosen(sides[0]), 'pca')
    assert np.allclose(first.points, second.points)


def test_labels_that_read_alike_are_two_groups():
    labels = [1, '1', 1, '1', 'b', 'b']
    side = Given([(f'text {i}', label) for i, label in enumerate(labels)], np.eye(6, dtype='float32'))
    side.evaluate()
    found = chosen(side)
    assert found.names == ['1', "'1'", 'b'] and found.counts == [2, 2, 2]
    assert found.groups.tolist() == [0, 1, 0, 1, 2, 2]
