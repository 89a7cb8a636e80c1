"""From many terms to one number: the reducers, and sums over masks.

Every term that does not count is masked with `where`, never multiplied away, so that an infinite or undefined term
cannot leak, and an empty selection gives 0 with slope 0.
"""

from finetuner.dispatch import get_namespace
from finetuner.losses.distances import epsilon
from finetuner.typing import Tensor

REDUCERS = ('mean', 'nonzero', 'anchor', 'sum')
"""`mean` over all terms that count, `nonzero` over the positive ones only, `anchor` the mean of each anchor's mean,
`sum` of all."""


def count(mask: Tensor, like: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """How often `mask` holds, in the dtype of `like`."""
    xp = get_namespace(like)
    return xp.sum(xp.cast(mask, like.dtype), axis=axis, keepdims=keepdims)


def quotient(total: Tensor, number: Tensor) -> Tensor:
    """`total / number`, and 0 where there was nothing to count."""
    xp = get_namespace(total)
    some = number > 0
    return xp.where(some, total / xp.where(some, number, 1.0), 0.0)


def masked_logsumexp(x: Tensor, mask: Tensor, times: Tensor | None = None, keepdims: bool = True) -> Tensor:
    """(N, 1) `log(sum(exp(x)))` along the rows, over `mask`; a very small finite number where the mask is empty.

    Args:
        x: (N, M).
        mask: (N, M) booleans.
        times: (N, M) how often each term counts, positive where `mask`.
        keepdims: False gives (N,).
    """
    xp = get_namespace(x)
    if times is not None:
        x = x + xp.log(xp.where(mask, times, 1.0))
    return xp.logsumexp(xp.where(mask, x, -1e30), axis=-1, keepdims=keepdims)


def reduce(terms: Tensor, mask: Tensor, reducer: str, times: Tensor | None = None) -> Tensor:
    """One scalar from (N, M) or (N,) `terms` where `mask`, by one of `REDUCERS`.

    Args:
        terms: what each pair, or each anchor, costs.
        mask: booleans like `terms`.
        reducer: its name.
        times: how often each term counts; like `terms`.
    """
    xp = get_namespace(terms)
    if reducer == 'nonzero':  # what is no more than rounding is zero on every machine
        mask = mask & (xp.stop_gradient(terms) > 4 * epsilon(terms))
    terms = xp.where(mask, terms, 0.0)
    if times is None:
        times = xp.cast(mask, terms.dtype)
    else:
        times = xp.where(mask, times, 0.0)
        terms = terms * times
    if reducer == 'sum':
        return xp.sum(terms)
    if reducer == 'anchor' and len(terms.shape) > 1:
        numbers = xp.sum(times, axis=-1)
        rows = quotient(xp.sum(terms, axis=-1), numbers)
        return quotient(xp.sum(rows), count(numbers > 0, rows))
    return quotient(xp.sum(terms), xp.sum(times))
