"""From many vectors an item to one: (B, T, D) tokens or (B, C, H, W) and (B, H, W, C) maps to (B, D).

`axis` says where the channels are, 1 or -1; all axes but them and the batch are pooled. A `mask` (B, T) says which
tokens count, those that are not 0; an item of which none counts gets zeros.
"""

from finetuner.dispatch import get_namespace
from finetuner.typing import Tensor

POOLINGS = ('mean', 'max', 'cls', 'gem', 'attention')


def mean(x: Tensor, axis: int = -1, mask: Tensor = None) -> Tensor:
    """`sum(m x) / sum(m)`."""
    xp, axes = get_namespace(x), _pooled(x, axis)
    if mask is None:
        return xp.mean(x, axis=axes)
    keep = _keep(mask)
    # In where, not as a product: what is masked may be infinite.
    total = xp.sum(xp.where(keep, x, 0.0), axis=axes)
    count = xp.sum(xp.where(keep, xp.ones_like(x), 0.0), axis=axes)
    return total / xp.maximum(count, 1.0)


def max(x: Tensor, axis: int = -1, mask: Tensor = None) -> Tensor:
    """The largest value of each channel."""
    xp, axes = get_namespace(x), _pooled(x, axis)
    if mask is None:
        return xp.max(x, axis=axes)
    keep = _keep(mask)
    low = xp.min(x, axis=axes, keepdims=True)
    some = xp.any(keep, axis=axes)
    return xp.where(some, xp.max(xp.where(keep, x, low), axis=axes), 0.0)


def cls(x: Tensor) -> Tensor:
    """The first token of (B, T, D)."""
    return x[:, 0]


def gem(x: Tensor, p: Tensor, eps: float = 1e-6, axis: int = -1, mask: Tensor = None) -> Tensor:
    """`mean(max(x, eps)^p)^(1/p)`, the generalized mean (Radenović et al., 2018): p = 1 is the mean, infinity the max.

    Args:
        x: values; what is below eps counts as eps.
        p: the exponent, a tensor of shape (1,) or a number.
        eps: the smallest value.
        axis: of the channels.
        mask: which tokens count.
    """
    xp, axes = get_namespace(x), _pooled(x, axis)
    if mask is not None:
        x = xp.where(_keep(mask), x, eps)
    logs = xp.log(xp.maximum(x, eps))
    # Against the largest, so that no power overflows; its slope cancels out.
    top = xp.stop_gradient(xp.max(logs, axis=axes, keepdims=True))
    average = mean(xp.exp(p * (logs - top)), axis, mask)
    value = xp.exp(xp.stop_gradient(xp.max(logs, axis=axes)) + xp.log(xp.maximum(average, 1e-30)) / p)
    return value if mask is None else xp.where(xp.any(_keep(mask), axis=1), value, 0.0)


def attention(x: Tensor, query: Tensor, axis: int = -1, mask: Tensor = None) -> Tensor:
    """`sum(softmax(x · q) x)`: tokens count as much as they fit a learned query.

    Args:
        x: values.
        query: (D,); zeros give the mean.
        axis: of the channels.
        mask: which tokens count.
    """
    xp, axes = get_namespace(x), _pooled(x, axis)
    shape = [1] * len(x.shape)
    shape[axis] = -1
    score = xp.sum(x * xp.reshape(query, tuple(shape)), axis=axis, keepdims=True)
    if mask is not None:
        score = xp.where(_keep(mask), score, xp.min(score, axis=axes, keepdims=True))
    weight = xp.exp(score - xp.stop_gradient(xp.max(score, axis=axes, keepdims=True)))
    if mask is not None:
        weight = xp.where(_keep(mask), weight, 0.0)
    total = xp.sum(weight, axis=axes, keepdims=True)
    weight = weight / xp.where(total > 0, total, 1.0)
    return xp.sum(x * weight, axis=axes)


def _pooled(x: Tensor, axis: int) -> tuple[int, ...]:
    rank = len(x.shape)
    return tuple(a for a in range(1, rank) if a != axis % rank)


def _keep(mask: Tensor) -> Tensor:
    return mask[:, :, None] != 0
