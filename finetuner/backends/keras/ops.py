"""The names of `typing.Namespace` in Keras 3, on whichever engine it runs."""

from operator import matmul  # Keras' own gives float32 for float64 on torch

import keras
from keras.ops import (
    all,
    any,
    cast,
    concatenate,
    exp,
    log,
    logsumexp,
    ones_like,
    relu,
    reshape,
    sigmoid,
    sqrt,
    stop_gradient,
    where,
    zeros_like,
)

float32, float64, int32, boolean = 'float32', 'float64', 'int32', 'bool'


def _like(value, x):
    return keras.ops.full_like(x, value) if isinstance(value, int | float) else value


def _all_axes(x, axis):
    return tuple(range(len(x.shape))) if axis is None else axis  # without axes Keras forgets keepdims on torch


def sum(x, axis=None, keepdims=False):
    return cast(keras.ops.sum(x, _all_axes(x, axis), keepdims=keepdims), x.dtype)


def max(x, axis=None, keepdims=False):
    return keras.ops.max(x, _all_axes(x, axis), keepdims=keepdims)


def min(x, axis=None, keepdims=False):
    return keras.ops.min(x, _all_axes(x, axis), keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    # Keras' own gives float32 for float64 on torch and jax.
    return sum(x, axis, keepdims) / sum(ones_like(x), axis, keepdims)


def abs(x):
    return relu(x) + relu(-x)  # with slope 0 at 0, where jax has 1


def softplus(x):
    # On torch Keras' own is linear beyond 20; this is exact.
    return -keras.ops.log_sigmoid(-x)


def maximum(a, b):
    # Keras' own gives float32 for float64 on torch; NaN stays NaN.
    b = _like(b, a)
    return where((a >= b) | (a != a), a, b)


def minimum(a, b):
    b = _like(b, a)
    return where((a <= b) | (a != a), a, b)


def transpose(x):
    return keras.ops.swapaxes(x, -1, -2)


def take(x, indices, axis=0):
    return keras.ops.take(x, indices, axis)


def take_along_axis(x, indices, axis=-1):
    return keras.ops.take_along_axis(x, indices, axis)


def argsort(x):
    return cast(keras.ops.argsort(x, axis=-1), 'int32')  # stable on all three engines


def top_k(x, k):
    values, places = keras.ops.top_k(x, k)
    return values, cast(places, 'int32')


def cumsum(x, axis=-1):
    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype == 'float64' and keras.backend.backend() == 'torch':  # Keras' own gives float32
        return x.cumsum(axis)
    return keras.ops.cumsum(x, axis, dtype=dtype)


def one_hot(x, n):
    return keras.ops.one_hot(x, n, dtype='float32')


def positions(x):
    return keras.ops.arange(keras.ops.shape(x)[0], dtype='int32')


def asarray(x, like=None):
    return keras.ops.convert_to_tensor(x)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)
