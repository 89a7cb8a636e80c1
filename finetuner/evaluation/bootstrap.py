"""What a mean over queries might have been: queries are drawn anew, or the signs of differences, many times.

Memory is bounded: a block of draws is made, used and dropped, whatever the number of queries.
"""

from collections.abc import Callable

import numpy as np

from finetuner.errors import ArgumentError

TIE = 1e-12
"""Differences up to this are rounding."""
# Lots held at a time.
_LOTS = 1 << 20


def means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(R, M) means of queries drawn with replacement, the same queries for all metrics.

    Args:
        values: (Q, M) of each query by each metric.
        resamples: R, how many times as many queries are drawn.
        seed: what chance starts from.

    Source: Efron, Bootstrap methods: another look at the jackknife, 1979.
    """
    count, chance = len(values), np.random.default_rng(seed)
    found = np.empty((resamples, values.shape[1]))
    step = max(_LOTS // count, 1)
    for a in range(0, resamples, step):
        rows = np.arange(min(step, resamples - a))[:, None]
        lots = chance.integers(0, count, (len(rows), count)) + rows * count
        times = np.bincount(lots.ravel(), minlength=len(rows) * count).reshape(len(rows), count)
        found[a : a + step] = times.astype(float) @ values / count
    return found


def drawn(statistic: Callable[[np.ndarray], float], count: int, resamples: int, seed: int) -> np.ndarray:
    """(R,) values of a statistic that is no mean.

    Args:
        statistic: of (Q,) numbers of rows, some of which come several times.
        count: Q, how many rows there are.
        resamples: R.
        seed: what chance starts from.
    """
    chance = np.random.default_rng(seed)
    return np.array([statistic(chance.integers(0, count, count)) for _ in range(resamples)])


def standard_error(values: np.ndarray) -> float:
    """How much the mean of (Q,) values varies between draws: what the bootstrap of a mean tends to, without drawing.

    >>> standard_error(np.array([0.0, 1.0, 0.0, 1.0]))
    0.25
    """
    return float(np.std(values) / np.sqrt(len(values)))


def bounds(samples: np.ndarray, confidence: float) -> np.ndarray:
    """(2, …) what leaves out as many of the samples (R, …) below as above.

    Raises:
        ArgumentError: `confidence` is no part of 1.
    """
    if not 0 < confidence < 1:
        raise ArgumentError(
            f'confidence={confidence!r}: expected a part of 1, such as 0.95 for an interval that holds 95 of 100 draws.'
        )
    low: np.ndarray = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low


def sign_flips(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(M,) two-sided p-values: how often the mean is as far from 0 if each query rose or fell by chance.

    Args:
        differences: (Q, M) of each query by each metric.
        resamples: R, how many times all signs are drawn. Where all possible signs are no more than these, each is
            taken once, and the p-value is exact.
        seed: what chance starts from.

    Source: Fisher, The design of experiments, 1935; for retrieval Smucker, Allan and Carterette, 2007.
    """
    changes = np.where(np.abs(differences) > TIE, differences, 0.0)
    moved = np.count_nonzero(changes, axis=0)
    few = moved <= np.log2(resamples)
    # Sums of the same numbers in another order differ by rounding.
    reached = np.abs(changes.sum(axis=0)) - TIE * np.abs(changes).sum(axis=0)
    found = np.ones(changes.shape[1])
    for column in np.flatnonzero((moved > 0) & few):
        each = changes[changes[:, column] != 0, column]
        ups = np.arange(2 ** len(each))[:, None] >> np.arange(len(each)) & 1
        found[column] = np.mean(np.abs(2 * (ups @ each) - each.sum()) >= reached[column])
    many = np.flatnonzero(~few)
    if many.size:
        rows = np.flatnonzero(changes[:, many].any(axis=1))
        found[many] = _drawn_flips(changes[np.ix_(rows, many)], reached[many], resamples, seed)
    return found


def _drawn_flips(changes: np.ndarray, reached: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    chance, count, total = np.random.default_rng(seed), len(changes), changes.sum(axis=0)
    beyond = np.ones(changes.shape[1])  # what was observed is one of the possible
    step = max(_LOTS // count, 1)
    for a in range(0, resamples, step):
        lots = min(step, resamples - a) * count
        bits = np.unpackbits(np.frombuffer(chance.bytes(-(-lots // 8)), np.uint8), count=lots)
        ups = bits.reshape(-1, count).astype(float)
        beyond += np.count_nonzero(np.abs(2 * (ups @ changes) - total) >= reached, axis=0)
    return beyond / (1 + resamples)
