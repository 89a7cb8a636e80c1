"""Alignment and uniformity."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import geometry


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_uniformity_is_that_of_its_authors(rng):
    pdist = pytest.importorskip('scipy.spatial.distance').pdist
    vectors = rng.standard_normal((70, 5)) + 0.5
    # lunif = lambda x, t=2: torch.pdist(x, p=2).pow(2).mul(-t).exp().mean().log()
    for t in (2.0, 3.0):
        published = np.log(np.exp(-t * pdist(unit(vectors)) ** 2).mean())
        assert geometry.uniformity(vectors, t=t) == pytest.approx(published, abs=2e-6)
    assert geometry.uniformity(7 * vectors) == pytest.approx(geometry.uniformity(vectors), abs=1e-6)


def test_blocks_change_nothing(rng, monkeypatch):
    vectors = rng.standard_normal((70, 5)).astype(np.float32)
    whole = geometry.uniformity(vectors)
    monkeypatch.setattr(geometry, '_HELD', 64)
    assert geometry.uniformity(vectors) == pytest.approx(whole, abs=1e-6)


def test_alike_is_zero_and_spread_is_less():
    assert geometry.uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-6)
    # adjacent corners of a square are at 2, opposite ones at 4
    corners = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    assert geometry.uniformity(corners) == pytest.approx(np.log((4 * np.exp(-4) + 2 * np.exp(-8)) / 6), abs=1e-6)


def test_alignment_is_the_squared_distance_of_directions(rng):
    a, b = rng.standard_normal((2, 20, 4))
    assert_allclose(geometry.alignment(a, b), ((unit(a) - unit(b)) ** 2).sum(1), rtol=1e-12)
    assert_allclose(geometry.alignment(a, 3 * a), 0, atol=1e-15)


@pytest.mark.parametrize('compared', [geometry.to_sets, geometry.to_overlapping])
@pytest.mark.parametrize('held', [None, 8])
def test_sets_are_compared_without_their_pairs(rng, monkeypatch, compared, held):
    if held:
        monkeypatch.setattr(geometry, '_HELD', held)
        monkeypatch.setattr(geometry, '_BELONGING', 2 * held + 2)
    queries, index = rng.standard_normal((6, 4)), rng.standard_normal((9, 4))
    index[4] = 0  # has no direction
    own = np.array([0, -1, 7, 4, 5, 1])
    sets = [
        (np.array([0, 1, 2]), np.array([0, 3, 4, 7])),
        (np.array([3]), np.array([4])),
        (np.array([4, 5]), np.array([2])),
    ]
    found = compared(queries, index, own, sets)
    for rows, places in sets:
        for row in rows:
            others = [place for place in places if place != own[row]]
            pairs = geometry.alignment(np.repeat(queries[row : row + 1], len(others), axis=0), index[others])
            expected = pairs.mean() if others else np.nan
            assert found[row] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_zero_vector_has_no_direction_and_stays():
    assert geometry.unit([[0, 0], [3, 4]]).tolist() == [[0, 0], [0.6, 0.8]]
    assert geometry.alignment([[0, 0]], [[0, 2]]).tolist() == [1]


@pytest.mark.parametrize('compared', [geometry.to_sets, geometry.to_overlapping])
def test_equal_vectors_are_never_below_zero(rng, compared):
    index = np.repeat(rng.standard_normal((1, 300)), 50, axis=0)
    found = compared(index, index, np.arange(50), [(np.arange(50), np.arange(50))])
    assert (found >= 0).all() and (found < 1e-12).all()


@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(wrong):
    good, bad = np.eye(3), np.eye(3)
    bad[[0, 2], 1] = wrong
    for ask in (lambda: geometry.alignment(good, bad), lambda: geometry.alignment(bad, good)):
        with pytest.raises(DataError, match='alignment takes finite vectors; NaN or infinite is vector 0 and 2'):
            ask()
    with pytest.raises(DataError, match='uniformity takes finite vectors; NaN or infinite is vector 0 and 2'):
        geometry.uniformity(bad)


def test_impossible_shapes_are_refused():
    with pytest.raises(ArgumentError, match=r'at least two; it got \(1, 3\)'):
        geometry.uniformity(np.ones((1, 3)))
    with pytest.raises(ArgumentError, match=r'shapes \(2, 3\) and \(3, 3\)'):
        geometry.alignment(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(ArgumentError, match=r'\(N, D\); these have shape \(3,\)'):
        geometry.alignment(np.ones(3), np.ones(3))
