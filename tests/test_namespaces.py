"""Every library speaks numpy's words: the same calls give the same values, shapes and dtypes."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from finetuner.backends.numpy import ops as reference
from finetuner.typing import Namespace
from tests.gradients import slope

DTYPES = ('float32', 'float64', 'int32', 'boolean')
NAMES = {name for name in vars(Namespace) if not name.startswith('_')} | set(DTYPES)
TOLERANCE = {'float32': 1e-6, 'float64': 1e-12}

# One line a use: a name of the namespace, and a call on the tensors below.
CALLS = [
    ('sum', lambda xp, t: xp.sum(t.x)),
    ('sum', lambda xp, t: xp.sum(t.x, axis=1)),
    ('sum', lambda xp, t: xp.sum(t.x, axis=-1, keepdims=True)),
    ('sum', lambda xp, t: xp.sum(t.cube, axis=(0, 2))),
    ('sum', lambda xp, t: xp.sum(t.x, keepdims=True)),
    ('sum', lambda xp, t: xp.sum(t.whole, axis=0)),
    ('mean', lambda xp, t: xp.mean(t.x)),
    ('mean', lambda xp, t: xp.mean(t.x, axis=0)),
    ('mean', lambda xp, t: xp.mean(t.x, axis=-1, keepdims=True)),
    ('mean', lambda xp, t: xp.mean(t.x, keepdims=True)),
    ('max', lambda xp, t: xp.max(t.x)),
    ('max', lambda xp, t: xp.max(t.x, keepdims=True)),
    ('max', lambda xp, t: xp.max(t.x, axis=1)),
    ('max', lambda xp, t: xp.max(t.x, axis=0, keepdims=True)),
    ('max', lambda xp, t: xp.max(t.whole, axis=0)),
    ('min', lambda xp, t: xp.min(t.x)),
    ('min', lambda xp, t: xp.min(t.x, keepdims=True)),
    ('min', lambda xp, t: xp.min(t.x, axis=1)),
    ('min', lambda xp, t: xp.min(t.x, axis=0, keepdims=True)),
    ('any', lambda xp, t: xp.any(t.mask)),
    ('any', lambda xp, t: xp.any(t.mask, axis=1)),
    ('any', lambda xp, t: xp.any(t.mask, axis=0, keepdims=True)),
    ('any', lambda xp, t: xp.any(t.mask, keepdims=True)),
    ('all', lambda xp, t: xp.all(t.mask)),
    ('all', lambda xp, t: xp.all(t.mask, axis=1)),
    ('all', lambda xp, t: xp.all(t.mask, axis=0, keepdims=True)),
    ('logsumexp', lambda xp, t: xp.logsumexp(t.x)),
    ('logsumexp', lambda xp, t: xp.logsumexp(t.x, keepdims=True)),
    ('logsumexp', lambda xp, t: xp.logsumexp(t.x * 500, axis=1)),
    ('logsumexp', lambda xp, t: xp.logsumexp(xp.zeros_like(t.x) - 1e30, axis=-1, keepdims=True)),
    ('exp', lambda xp, t: xp.exp(t.x)),
    ('log', lambda xp, t: xp.log(t.positive)),
    ('sqrt', lambda xp, t: xp.sqrt(t.positive)),
    ('abs', lambda xp, t: xp.abs(t.x)),
    ('abs', lambda xp, t: xp.abs(t.whole)),
    ('relu', lambda xp, t: xp.relu(t.x)),
    ('softplus', lambda xp, t: xp.softplus(t.wide)),
    ('sigmoid', lambda xp, t: xp.sigmoid(t.wide)),
    ('maximum', lambda xp, t: xp.maximum(t.x, t.y)),
    ('maximum', lambda xp, t: xp.maximum(t.x, 0.5)),
    ('maximum', lambda xp, t: xp.maximum(t.x, 0)),
    ('maximum', lambda xp, t: xp.maximum(t.x * np.nan, t.y)),
    ('maximum', lambda xp, t: xp.maximum(t.x, t.y * np.nan)),
    ('maximum', lambda xp, t: xp.maximum(t.whole, 2)),
    ('minimum', lambda xp, t: xp.minimum(t.x, t.y)),
    ('minimum', lambda xp, t: xp.minimum(t.x, 0.5)),
    ('minimum', lambda xp, t: xp.minimum(t.x, 0)),
    ('where', lambda xp, t: xp.where(t.mask, t.x, t.y)),
    ('where', lambda xp, t: xp.where(t.mask, t.x, 0.5)),
    ('where', lambda xp, t: xp.where(t.mask, 0, t.x)),
    ('where', lambda xp, t: xp.where(t.mask, t.x, xp.sum(t.x, axis=1, keepdims=True))),
    ('where', lambda xp, t: xp.where(t.mask, t.whole, -1)),
    ('matmul', lambda xp, t: xp.matmul(t.x, xp.transpose(t.y))),
    ('matmul', lambda xp, t: xp.matmul(t.cube, xp.transpose(t.cube))),
    ('transpose', lambda xp, t: xp.transpose(t.x)),
    ('transpose', lambda xp, t: xp.transpose(t.cube)),
    ('transpose', lambda xp, t: xp.transpose(t.mask)),
    ('reshape', lambda xp, t: xp.reshape(t.x, (4, 3))),
    ('reshape', lambda xp, t: xp.reshape(t.x, (-1,))),
    ('reshape', lambda xp, t: xp.reshape(t.x, [2, -1, 1])),
    ('concatenate', lambda xp, t: xp.concatenate([t.x, t.y])),
    ('concatenate', lambda xp, t: xp.concatenate((t.x, t.y), axis=1)),
    ('concatenate', lambda xp, t: xp.concatenate([t.mask, t.mask], axis=-1)),
    ('take', lambda xp, t: xp.take(t.x, t.rows)),
    ('take', lambda xp, t: xp.take(t.x, t.rows, axis=1)),
    ('take', lambda xp, t: xp.take(t.x, t.rows, axis=-1)),
    ('take', lambda xp, t: xp.take(t.x, t.places)),
    ('take', lambda xp, t: xp.take(t.whole, t.long, axis=1)),
    ('take', lambda xp, t: xp.take(t.mask, t.rows)),
    ('take_along_axis', lambda xp, t: xp.take_along_axis(t.x, t.places)),
    ('take_along_axis', lambda xp, t: xp.take_along_axis(t.x, t.places, axis=1)),
    ('take_along_axis', lambda xp, t: xp.take_along_axis(t.mask, t.places)),
    ('take_along_axis', lambda xp, t: xp.take_along_axis(t.whole, t.places)),
    ('argsort', lambda xp, t: xp.argsort(t.x)),
    ('argsort', lambda xp, t: xp.argsort(t.ties)),
    ('argsort', lambda xp, t: xp.argsort(t.whole)),
    ('argsort', lambda xp, t: xp.argsort(xp.cast(t.mask, xp.int32))),
    ('top_k', lambda xp, t: xp.top_k(t.x, 2)[0]),
    ('top_k', lambda xp, t: xp.top_k(t.x, 2)[1]),
    ('top_k', lambda xp, t: xp.top_k(t.wide, 3)[1]),
    ('cumsum', lambda xp, t: xp.cumsum(t.x)),
    ('cumsum', lambda xp, t: xp.cumsum(t.x, axis=0)),
    ('cumsum', lambda xp, t: xp.cumsum(xp.cast(t.mask, xp.int32), axis=1)),
    ('one_hot', lambda xp, t: xp.one_hot(t.rows, 4)),
    ('one_hot', lambda xp, t: xp.one_hot(t.labels, 3)),
    ('zeros_like', lambda xp, t: xp.zeros_like(t.x)),
    ('zeros_like', lambda xp, t: xp.zeros_like(t.x) - 1e30),
    ('zeros_like', lambda xp, t: xp.zeros_like(t.whole)),
    ('ones_like', lambda xp, t: xp.ones_like(t.x)),
    ('ones_like', lambda xp, t: xp.ones_like(t.mask)),
    ('positions', lambda xp, t: xp.positions(t.x)),
    ('cast', lambda xp, t: xp.cast(t.mask, t.x.dtype)),
    ('cast', lambda xp, t: xp.cast(t.whole, t.x.dtype)),
    ('asarray', lambda xp, t: xp.asarray(t.x)),
    ('asarray', lambda xp, t: xp.asarray(np.array([2, 0, 1], np.int32))),
    ('asarray', lambda xp, t: xp.asarray(np.float32(0.5))),
    ('asarray', lambda xp, t: xp.asarray(np.array([2, 0, 1], np.int32), like=t.x)),
    ('asarray', lambda xp, t: xp.asarray(t.whole, like=t.x)),
    ('asarray', lambda xp, t: xp.asarray(np.arange(4, dtype=np.int32)[::-1])),
    ('stop_gradient', lambda xp, t: xp.stop_gradient(t.x)),
    ('to_numpy', lambda xp, t: xp.asarray(xp.to_numpy(t.x))),
    ('float32', lambda xp, t: xp.cast(t.x, xp.float32)),
    ('float64', lambda xp, t: xp.cast(xp.cast(t.x, xp.float64), t.x.dtype)),
    ('int32', lambda xp, t: xp.cast(t.x * 3, xp.int32)),
    ('boolean', lambda xp, t: xp.cast(t.whole, xp.boolean)),
    # The operators of the tensors themselves, where formulas rely on them.
    ('boolean', lambda xp, t: ((t.x > 0) & ~t.mask) | (t.whole >= 2) ^ t.mask),
    ('asarray', lambda xp, t: 1 - (t.x * 2 - t.y) / 0.07),
    ('asarray', lambda xp, t: t.cube[0]),
    ('asarray', lambda xp, t: t.cube[1:]),
]
IDS = [f'{name}-{[other for other, _ in CALLS[:i]].count(name)}' for i, (name, _) in enumerate(CALLS)]


def _arrays(dtype):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 4)).astype(dtype)
    return {
        'x': x,
        'y': rng.standard_normal((3, 4)).astype(dtype),
        'cube': rng.standard_normal((2, 3, 4)).astype(dtype),
        'positive': np.abs(x) + x.dtype.type(0.1),
        'wide': np.array([-800.0, -30.0, -1e-3, 0.0, 15.0, 25.0, 800.0], dtype),
        'ties': rng.integers(0, 3, (5, 300)).astype(dtype),
        'mask': np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool),
        'whole': np.array([[3, -1, 0, 2], [1, 1, 2, 0], [5, 4, 3, 2]], np.int32),
        'rows': np.array([2, 0, 0], np.int32),
        'long': np.array([1, 3], np.int64),
        'places': np.array([[1, 0], [2, 2], [0, 1]], np.int32),
        'labels': np.array([1, -1, 2, 0], np.int32),
    }


def _tensors(xp, dtype):
    return SimpleNamespace(**{name: xp.asarray(array) for name, array in _arrays(dtype).items()})


@pytest.fixture
def wide(request):
    """JAX has no float64 unless it is allowed."""
    if request.config.getoption('--backend') == 'keras-jax':
        import jax

        return jax.enable_x64(True)
    return nullcontext()


def test_the_calls_cover_every_name():
    assert {name for name, _ in CALLS} == NAMES


def test_the_library_has_every_name(xp):
    assert {name for name in NAMES if not hasattr(xp, name)} == set()


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('call', [call for _, call in CALLS], ids=IDS)
def test_agrees_with_numpy(xp, wide, dtype, call):
    with wide if dtype == 'float64' else nullcontext():
        result = call(xp, _tensors(xp, dtype))
        came = xp.to_numpy(result)
    expected = np.asarray(call(reference, _tensors(reference, dtype)))
    assert came.shape == expected.shape
    assert came.dtype == expected.dtype
    np.testing.assert_allclose(came, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_values_of_the_reference(dtype):
    # numpy's own words are numpy's; those that numpy lacks are checked here against their definitions.
    t = _tensors(reference, dtype)
    near = {'rtol': TOLERANCE[dtype], 'atol': TOLERANCE[dtype]}
    np.testing.assert_allclose(reference.logsumexp(t.x, axis=1), np.log(np.exp(t.x).sum(1)), **near)
    np.testing.assert_allclose(reference.softplus(t.wide)[1:6], np.log1p(np.exp(t.wide[1:6])), **near)
    np.testing.assert_allclose(reference.sigmoid(t.wide)[1:6], 1 / (1 + np.exp(-t.wide[1:6])), **near)
    assert reference.softplus(t.wide)[[0, -1]].tolist() == [0, 800]
    assert reference.sigmoid(t.wide)[[0, -1]].tolist() == [0, 1]
    assert reference.relu(t.wide).tolist() == [0, 0, 0, 0, 15, 25, 800]
    assert reference.one_hot(t.labels, 3).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert reference.top_k(np.array([3.0, 5.0, 3.0, 4.0]), 3)[1].tolist() == [1, 3, 0]
    assert reference.argsort(np.array([1.0, 0.0, 1.0, 0.0])).tolist() == [1, 3, 0, 2]
    assert reference.positions(t.x).tolist() == [0, 1, 2]


def test_bfloat16_reaches_numpy(xp):
    if xp is reference:
        assert xp.to_numpy([0.5]).tolist() == [0.5]
        return
    half = xp.cast(xp.asarray(np.array([0.5, -2.0], np.float32)), _bfloat16(xp))
    assert np.asarray(xp.to_numpy(half), np.float32).tolist() == [0.5, -2.0]


def _bfloat16(xp):
    if xp.__name__.endswith('torch.ops'):
        import torch

        return torch.bfloat16
    return 'bfloat16'


@pytest.mark.parametrize(
    ('function', 'expected'),
    [
        (lambda xp, x: xp.relu(x), [0, 0, 1]),
        (lambda xp, x: xp.softplus(x), [1 / (1 + np.exp(1)), 0.5, 1 / (1 + np.exp(-1))]),
        (lambda xp, x: xp.abs(x), [-1, 0, 1]),
        (lambda xp, x: xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, xp.ones_like(x))), xp.zeros_like(x)), [0, 0, 0.5]),
        (lambda xp, x: x * xp.stop_gradient(x), [-1, 0, 1]),
        (lambda xp, x: xp.take(x * x, xp.asarray(np.array([2, 2, 0], np.int32))), [-2, 0, 4]),
        (lambda xp, x: xp.logsumexp(xp.where(x > 0, x, xp.zeros_like(x) - 1e30)), [0, 0, 1]),
    ],
    ids=['relu', 'softplus', 'abs', 'safe-root', 'stop_gradient', 'take', 'logsumexp'],
)
@pytest.mark.usefixtures('backend')
def test_slopes_at_minus_one_zero_and_one(xp, backend, function, expected):
    x = np.array([-1, 0, 1], np.float32)
    np.testing.assert_allclose(slope(backend, lambda x: xp.sum(function(xp, x)), x), expected, atol=1e-6)
