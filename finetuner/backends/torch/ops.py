"""The names of `typing.Namespace` in PyTorch."""

import numpy as np
import torch
from torch import (
    abs,
    exp,
    float32,
    float64,
    int32,
    log,
    matmul,
    ones_like,
    reshape,
    sigmoid,
    sqrt,
    where,
    zeros_like,
)
from torch.nn.functional import relu

boolean = torch.bool


def _all_axes(x, axis):
    return tuple(range(x.ndim)) if axis is None else axis


def sum(x, axis=None, keepdims=False):
    return torch.sum(x, _all_axes(x, axis), keepdim=keepdims, dtype=x.dtype)


def mean(x, axis=None, keepdims=False):
    return torch.mean(x, _all_axes(x, axis), keepdim=keepdims)


def any(x, axis=None, keepdims=False):
    return torch.any(x, _all_axes(x, axis), keepdim=keepdims)


def all(x, axis=None, keepdims=False):
    return torch.all(x, _all_axes(x, axis), keepdim=keepdims)


def max(x, axis=None, keepdims=False):
    return torch.amax(x, _all_axes(x, axis), keepdim=keepdims)


def min(x, axis=None, keepdims=False):
    return torch.amin(x, _all_axes(x, axis), keepdim=keepdims)


def logsumexp(x, axis=None, keepdims=False):
    return torch.logsumexp(x, _all_axes(x, axis), keepdim=keepdims)


def softplus(x):
    # torch's own is linear beyond 20 unless told otherwise; beyond 40 that is exact.
    return torch.nn.functional.softplus(x, threshold=40.0)


def maximum(a, b):
    return torch.maximum(a, b) if isinstance(b, torch.Tensor) else torch.clip(a, min=b)


def minimum(a, b):
    return torch.minimum(a, b) if isinstance(b, torch.Tensor) else torch.clip(a, max=b)


def transpose(x):
    return x.mT


def concatenate(xs, axis=0):
    return torch.cat(tuple(xs), axis)


def take(x, indices, axis=0):
    axis %= x.ndim
    flat = torch.index_select(x, axis, indices.reshape(-1).to(x.device))
    return flat.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


def take_along_axis(x, indices, axis=-1):
    return torch.take_along_dim(x, indices.long(), axis)


def argsort(x):
    return torch.argsort(x, dim=-1, stable=True).int()


def top_k(x, k):
    values, places = torch.topk(x, k, dim=-1)
    return values, places.int()


def cumsum(x, axis=-1):
    return torch.cumsum(x, axis, dtype=x.dtype)


def one_hot(x, n):
    return (x[..., None] == torch.arange(n, device=x.device)).float()


def positions(x):
    return torch.arange(x.shape[0], dtype=torch.int32, device=x.device)


def cast(x, dtype):
    return x.to(dtype)


def asarray(x, like=None):
    x = x if isinstance(x, torch.Tensor) else torch.from_numpy(np.asarray(x, order='C'))
    return x if like is None else x.to(like.device)


def stop_gradient(x):
    return x.detach()


def to_numpy(x):
    x = x.detach().cpu()
    return (x.float() if x.dtype is torch.bfloat16 else x).numpy()
