"""How sure a mean over seeds and queries is."""

import numpy as np

DRAWS = 1_000


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean by the bootstrap: seeds and queries are drawn anew, both with replacement.

    Args:
        values: (seeds, queries) of a metric, or of the difference of two models on the same seeds and queries.
        seed: what the draws start from.

    >>> low, high = interval(np.array([[0.0, 1.0] * 50, [0.2, 1.0] * 50]))
    >>> low < 0.55 < high
    True
    """
    chance = np.random.default_rng(seed)
    seeds, queries = values.shape
    means = []
    for _ in range(DRAWS):
        weights = np.bincount(chance.integers(0, seeds, seeds), minlength=seeds) / seeds
        means.append((weights @ values)[chance.integers(0, queries, queries)].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def word(difference: np.ndarray) -> str:
    """'higher', 'lower', or 'tie' where the interval of the (seeds, queries) differences has zero in it."""
    low, high = interval(difference)
    return 'higher' if low > 0 else 'lower' if high < 0 else 'tie'
