"""Losses of two views, which compare the components of vectors and not items."""

import numpy as np

from finetuner.losses import get
from finetuner.losses.objective import Objective
from tests.losses import cases


def halves(batch):
    """The vectors of both views, and the pairs between them as places in these."""
    a, b = batch.columns
    near = [(int(i), int(j)) for i, j in np.argwhere(batch.positives)]
    if batch.layout.width > 1:
        own = {i for i, j in near if i == j}
        return a, b, [(i, j) for i, j in near if i == j or i not in own]
    even = [sum(j < i for k, j in near if k == i) % 2 == 0 for i in range(len(a))]
    return a, b, [(i, j) for i, j in near if even[i] and not even[j]]


def vicreg(batch, invariance_lambda=25.0, variance_mu=25.0, covariance_v=1.0, eps=1e-4):
    a, b, related = halves(batch)
    dim = a.shape[1]
    total = invariance_lambda * np.mean([np.mean((a[i] - b[j]) ** 2) for i, j in related])
    for x, places in ((a, {i for i, _ in related}), (b, {j for _, j in related})):
        x = np.array([x[i] for i in sorted(places)])
        for c in range(dim):
            total += variance_mu / 2 * max(1 - np.sqrt(np.var(x[:, c], ddof=1) + eps), 0) / dim
            for e in range(dim):
                if c != e:
                    total += covariance_v * np.cov(x[:, c], x[:, e])[0, 1] ** 2 / dim
    return total


def barlow(batch, lambda_param=0.0051, eps=1e-5):
    a, b, related = halves(batch)
    first, second = np.array([a[i] for i, _ in related]), np.array([b[j] for _, j in related])
    total = 0.0
    for c in range(a.shape[1]):
        for e in range(a.shape[1]):
            x, y = first[:, c] - np.mean(first[:, c]), second[:, e] - np.mean(second[:, e])
            r = np.mean(x * y) / np.sqrt(np.var(x) + eps) / np.sqrt(np.var(y) + eps)
            total += (1 - r) ** 2 if c == e else lambda_param * r**2
    return total


CASES = [
    *[
        (f'{name} on {batch.__name__}', Objective(get(name)), batch, oracle)
        for name, oracle in (('VICRegLoss', vicreg), ('BarlowTwinsLoss', barlow))
        for batch in (cases.views, cases.classes, cases.several_labels, cases.sessions, cases.pairs)
    ],
    *[
        (f'{name} {options}', Objective(get(name, **options)), cases.views, lambda b, f=oracle, o=options: f(b, **o))
        for name, oracle, options in (
            ('VICRegLoss', vicreg, {'invariance_lambda': 2.0, 'variance_mu': 3.0, 'covariance_v': 5.0, 'eps': 0.1}),
            ('BarlowTwinsLoss', barlow, {'lambda_param': 0.7, 'eps': 0.3}),
        )
    ],
]
