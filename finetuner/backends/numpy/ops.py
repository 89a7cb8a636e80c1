"""The names of `typing.Namespace` in numpy: the reference that the other libraries are compared with."""

import numpy as np
from numpy import (
    abs,
    all,
    any,
    asarray,
    concatenate,
    exp,
    float32,
    float64,
    int32,
    log,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    ones_like,
    reshape,
    sqrt,
    where,
    zeros_like,
)

boolean = np.bool_


def sum(x, axis=None, keepdims=False):
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)  # numpy alone makes int64 of int32


def logsumexp(x, axis=None, keepdims=False):
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else np.squeeze(total, axis=axis)


def relu(x):
    return np.maximum(x, 0)


def softplus(x):
    return np.logaddexp(x, np.zeros_like(x))


def sigmoid(x):
    return np.exp(-np.logaddexp(-x, np.zeros_like(x)))


def transpose(x):
    return np.swapaxes(x, -1, -2)


def take(x, indices, axis=0):
    return np.take(x, indices, axis=axis)


def take_along_axis(x, indices, axis=-1):
    return np.take_along_axis(x, indices, axis=axis)


def argsort(x):
    return np.argsort(x, axis=-1, kind='stable').astype(np.int32)


def top_k(x, k):
    order = np.argsort(-x, axis=-1, kind='stable')[..., :k].astype(np.int32)
    return np.take_along_axis(x, order, axis=-1), order


def cumsum(x, axis=-1):
    return np.cumsum(x, axis=axis, dtype=x.dtype)


def one_hot(x, n):
    return (np.asarray(x)[..., None] == np.arange(n)).astype(np.float32)


def positions(x):
    return np.arange(len(x), dtype=np.int32)


def cast(x, dtype):
    return np.asarray(x).astype(dtype, copy=False)


def stop_gradient(x):
    return x


def to_numpy(x):
    return np.asarray(x)
