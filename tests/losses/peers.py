"""Comparison of a loss with that of another library, in value and slope, with torch."""

import numpy as np
import pytest

from finetuner.losses.objective import Objective
from finetuner.typing import Layout
from tests.gradients import value_and_grad
from tests.losses import cases

LABELS = np.repeat(np.arange(9), [1, 2, 3, 4, 5, 6, 2, 2, 40])
# Of mined triplets their NT-Xent makes a matrix of all against all.
FEW = np.repeat(np.arange(5), [1, 2, 3, 4, 8])
# A value of float32 equals theirs to this, a slope relative to the largest; both are sums of up to 10^5 terms.
NEAR = 1e-6


def compare(
    loss, theirs, miner=None, their_miner=None, weights=(), labels=LABELS, dim=16, named=lambda w: {'W': w[0].T}
):
    """Whether value and slopes are theirs, in float64 and float32.

    Args:
        loss: ours.
        theirs: a module, called with (embeddings, labels, what their miner chose).
        miner: ours.
        their_miner: called with (embeddings, labels).
        weights: what the loss learned, in the order of `loss.parameters`.
        labels: of the items.
        dim: of the embeddings.
        named: from `weights` to the parameters of `theirs`, by their names.
    """
    import torch

    x = cases.vectors(len(labels), dim)
    layout = Layout(len(labels), 1, int(np.bincount(labels).max()) - 1, 9)
    labels = torch.tensor(labels)
    codes = {'item': torch.arange(len(labels), dtype=torch.int32), 'label': labels[:, None].int()}

    def ours(x, *w):
        return Objective(loss, miner)(x, codes, layout, dict(zip(loss.parameters(1, 1), w, strict=True)))

    def other(x, *w):
        chosen = their_miner(x, labels) if their_miner else None
        return torch.func.functional_call(theirs, named(w) if w else {}, (x, labels, chosen))

    for dtype, near in {'float64': 1e-9, 'float32': NEAR}.items():
        value, slopes = value_and_grad('torch', ours, x, *weights, dtype=dtype)
        expected, right = value_and_grad('torch', other, x, *weights, dtype=dtype)
        assert expected > 0
        assert value == pytest.approx(expected, rel=near)
        for a, b in zip(slopes, right, strict=True):
            assert np.abs(b).max() > 0
            assert np.abs(a - b).max() <= 3 * near * np.abs(b).max()
