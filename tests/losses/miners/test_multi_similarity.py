"""Pairs beside the hardest of the other kind: against loops over similarities."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import MultiSimilarityMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.miners.settings import EVERY_BATCH, pairs_of, relate


def informative(s, batch, epsilon):
    """The masks, as the paper writes them."""
    near, far = np.zeros_like(batch.positives), np.zeros_like(batch.positives)
    for a in range(len(s)):
        ps, ns = np.flatnonzero(batch.positives[a]), np.flatnonzero(batch.negatives[a])
        if len(ps) and len(ns):
            near[a, [p for p in ps if s[a, p] - epsilon < max(s[a, n] for n in ns)]] = True
            far[a, [n for n in ns if s[a, n] + epsilon > min(s[a, p] for p in ps)]] = True
    return near, far


@pytest.mark.parametrize('epsilon', [0.1, 0.0, 0.5, -0.25])
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_pairs(library, epsilon, batch):
    batch = batch()
    # Thirds, so that many pairs are equal and none is at the edge by rounding.
    s = np.random.default_rng(6).integers(-3, 4, batch.positives.shape) / 3
    mined = MultiSimilarityMiner(epsilon)(library.native((1 - s).astype(np.float32)), relate(library, batch))
    assert mined.pairs().tolist() == pairs_of(*informative(s, batch, epsilon))


def test_it_judges_by_cosine_whatever_the_loss_does(library):
    batch = cases.classes()
    x = batch.columns[0]
    masks = informative(1 - oracles.distances(x, x, 'cosine'), batch, 0.1)
    assert 0 < masks[0].sum() + masks[1].sum() < batch.positives.sum() + batch.negatives.sum()
    value = oracles.contrastive(oracles.distances(x, x), oracles.Tuples.of(*masks))
    objective = Objective(get('ContrastiveLoss'), MultiSimilarityMiner())
    assert library.run(objective, batch)[0] == pytest.approx(value, rel=1e-5)


def test_duplicates_are_pairs_like_any_other(library):
    batch = cases.classes((0, 0, 1, 1, 2))
    mined = MultiSimilarityMiner(0.0)(library.native(np.zeros((5, 5), np.float32)), relate(library, batch))
    assert mined.pairs().tolist() == []  # none is harder than another
    mined = MultiSimilarityMiner()(library.native(np.zeros((5, 5), np.float32)), relate(library, batch))
    whole = batch.positives.any(axis=1, keepdims=True) & batch.negatives.any(axis=1, keepdims=True)
    assert mined.pairs().tolist() == pairs_of(batch.positives & whole, batch.negatives & whole)


def test_unknown_distance_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'euclidean'"):
        MultiSimilarityMiner(distance='euclid')
