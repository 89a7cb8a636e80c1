"""The names of `typing.Namespace` in PaddlePaddle."""

from numbers import Number

import numpy as np

from finetuner.backends.paddle import paddle

abs, exp, log, matmul, ones_like, sqrt, zeros_like = (
    paddle.abs,
    paddle.exp,
    paddle.log,
    paddle.matmul,
    paddle.ones_like,
    paddle.sqrt,
    paddle.zeros_like,
)
relu, sigmoid = paddle.nn.functional.relu, paddle.nn.functional.sigmoid
float32, float64, int32, boolean = 'float32', 'float64', 'int32', 'bool'


def _like(value, x):
    # Asked of numbers, since within paddle.jit a tensor is no paddle.Tensor.
    return paddle.full([], value, x.dtype) if isinstance(value, Number) else value


def sum(x, axis=None, keepdims=False):
    return paddle.sum(x, axis, keepdim=keepdims, dtype=x.dtype)


def mean(x, axis=None, keepdims=False):
    return paddle.mean(x, axis, keepdim=keepdims)


def max(x, axis=None, keepdims=False):
    return paddle.amax(x, axis, keepdim=keepdims)


def min(x, axis=None, keepdims=False):
    return paddle.amin(x, axis, keepdim=keepdims)


def any(x, axis=None, keepdims=False):
    return paddle.any(x, axis, keepdim=keepdims)


def all(x, axis=None, keepdims=False):
    return paddle.all(x, axis, keepdim=keepdims)


def logsumexp(x, axis=None, keepdims=False):
    return paddle.logsumexp(x, axis, keepdim=keepdims)


def softplus(x):
    # paddle's own softplus is linear beyond a threshold; this is exact.
    return paddle.logaddexp(x, paddle.zeros_like(x))


def maximum(a, b):
    return paddle.maximum(a, _like(b, a))


def minimum(a, b):
    return paddle.minimum(a, _like(b, a))


def where(condition, a, b):
    return paddle.where(condition, _like(a, b), _like(b, a))


def transpose(x):
    return x.mT


def reshape(x, shape):
    return paddle.reshape(x, list(shape))


def concatenate(xs, axis=0):
    return paddle.concat(list(xs), axis)


def take(x, indices, axis=0):
    axis %= x.ndim
    flat = paddle.index_select(x, indices.reshape([-1]), axis)
    return flat.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def take_along_axis(x, indices, axis=-1):
    if x.dtype == paddle.bool:  # paddle 3.3 has no kernel for booleans
        return paddle.take_along_axis(x.astype('uint8'), indices, axis, broadcast=False).astype('bool')
    return paddle.take_along_axis(x, indices, axis, broadcast=False)


def argsort(x):
    return paddle.argsort(x, axis=-1, stable=True).astype('int32')


def top_k(x, k):
    values, places = paddle.topk(x, k, axis=-1)
    return values, places.astype('int32')


def cumsum(x, axis=-1):
    return paddle.cumsum(x, axis, dtype=x.dtype)


def one_hot(x, n):
    return (x.unsqueeze(-1) == paddle.arange(n, dtype=x.dtype)).astype('float32')


def positions(x):
    return paddle.arange(x.shape[0], dtype='int32')


def cast(x, dtype):
    return x.astype(dtype)


def asarray(x, like=None):
    if isinstance(x, paddle.Tensor):
        return x
    return paddle.to_tensor(np.asarray(x), place=None if like is None else like.place)


def stop_gradient(x):
    return x.detach()


def to_numpy(x):
    return (x.astype('float32') if x.dtype == paddle.bfloat16 else x).numpy()
