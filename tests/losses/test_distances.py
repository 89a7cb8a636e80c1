"""Distances: scipy's, on every library, and numbers everywhere."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import distances
from tests.losses.cases import vectors

NAMES = ('cosine', 'euclidean', 'sqeuclidean')
A, B = vectors(7), vectors(9, seed=1)


def scipys(a, b, name):
    spatial = pytest.importorskip('scipy.spatial')
    return spatial.distance.cdist(a, b, name)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 2e-6), ('float64', 1e-12)])
def test_agrees_with_scipy(xp, library, name, dtype, tolerance):
    if dtype == 'float64' and not library.float64:
        pytest.skip('JAX has float64 only as a setting of the whole process')
    a, b = library.native(A, dtype), library.native(B, dtype)
    d = xp.to_numpy(distances.get(name)(a, b))
    assert d.dtype == dtype
    np.testing.assert_allclose(d, scipys(A.astype(float), B.astype(float), name), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('name', NAMES)
def test_distance_to_itself_is_zero(xp, library, name):
    x = library.native(vectors(20, dim=64) * 1000)
    d = xp.to_numpy(distances.get(name)(x, x))
    assert np.abs(np.diag(d)).max() <= (1e-6 if name == 'cosine' else 0)
    assert d.min() >= 0


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('unit', [True, False])
def test_directions(xp, library, name, unit):
    stretched = A * np.arange(1, 8, dtype=np.float32)[:, None]
    d = [xp.to_numpy(distances.between(library.native(x), library.native(B), name, unit)) for x in (A, stretched)]
    assert np.allclose(*d, atol=1e-5) == (unit or name == 'cosine')


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('unit', [True, False])
@pytest.mark.parametrize(
    'x',
    [
        np.zeros((3, 4)),
        np.ones((3, 4)),
        np.array([[0, 0], [1, 0], [1, 0], [-1, 0]]),
        np.array([[1e-20, 0], [0, 1e-20], [1e-12, 1e-12]]),
        np.array([[1.0, 1.0], [1.0, 1.0 + 1e-7], [1.0, 1.0 - 1e-7]]),
        np.array([[3e4, 6e4], [6e4, 3e4], [-6e4, 3e4]]),
    ],
    ids=['zero', 'equal', 'opposite', 'tiny', 'near', 'large'],
)
def test_slopes_are_finite(xp, library, name, unit, x):
    def total(a):
        return xp.sum(distances.between(a, a, name, unit))

    value, (slope,) = library.value_and_grad(total, x.astype(np.float32))
    assert np.isfinite(value)
    assert np.isfinite(slope).all()


def test_a_zero_vector_has_no_direction(xp, library):
    x = library.native(np.array([[0.0, 0.0], [3.0, 4.0]], np.float32))
    np.testing.assert_allclose(xp.to_numpy(distances.normalize(x)), [[0, 0], [0.6, 0.8]], rtol=1e-6)
    np.testing.assert_allclose(xp.to_numpy(distances.cosine_similarity(x, x)), [[0, 0], [0, 1]], rtol=1e-6)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ArgumentError, match=r"There is no distance 'cosin'. Did you mean 'cosine'"):
        distances.get('cosin')
