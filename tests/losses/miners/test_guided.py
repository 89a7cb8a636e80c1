"""Negatives that a guide doubts: against loops over its similarities."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import GuidedMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.miners.settings import EVERY_BATCH, pairs_of, relate, whole_distances

OPTIONS = [(0.0, 'absolute'), (0.1, 'absolute'), (-0.3, 'absolute'), (0.05, 'relative'), (0.5, 'relative')]


def trusted(s, batch, margin, strategy):
    kept = batch.negatives.copy()
    for a in range(len(kept)):
        near = [s[a, p] for p in np.flatnonzero(batch.positives[a])]
        for n in np.flatnonzero(batch.negatives[a]):
            if near:
                g = sum(near) / len(near)
                kept[a, n] = s[a, n] <= g - (margin if strategy == 'absolute' else abs(g) * margin) + 1e-6
    return kept


def guides(batch):
    n, m = batch.positives.shape
    vectors = cases.vectors(n + m, 3, seed=4)
    return (vectors[:n], vectors[:n]) if n == m else (vectors[:n], vectors[n:])


@pytest.mark.parametrize(('margin', 'strategy'), OPTIONS)
@pytest.mark.parametrize('batch', EVERY_BATCH)
def test_pairs(library, margin, strategy, batch):
    batch = batch()
    a, b = guides(batch)
    relation = relate(library, batch, guide=(library.native(a), library.native(b)))
    mined = GuidedMiner(margin, strategy)(library.native(whole_distances(batch)), relation)
    s = 1 - oracles.distances(a.astype(float), b.astype(float), 'cosine')
    assert mined.pairs().tolist() == pairs_of(batch.positives, trusted(s, batch, margin, strategy))


def test_an_equal_negative_is_no_better(library):
    batch = cases.classes((0, 0, 1))
    same = library.native(np.ones((3, 2), np.float32))
    mined = GuidedMiner()(library.native(np.zeros((3, 3), np.float32)), relate(library, batch, guide=(same, same)))
    assert mined.pairs().tolist() == pairs_of(batch.positives, batch.negatives)


@pytest.mark.parametrize('batch', [cases.classes, cases.pairs])
def test_loss(library, batch):
    batch = batch()
    guide = cases.vectors(len(batch.embeddings), 3, seed=4)
    a, b = (guide, guide) if batch.layout.width == 1 else np.split(guide, [batch.layout.rows])
    s = 1 - oracles.distances(a.astype(float), b.astype(float), 'cosine')
    kept = oracles.Tuples.of(batch.positives, trusted(s, batch, 0.0, 'absolute'))
    assert 0 < len(kept.negatives) < batch.negatives.sum()
    expected = oracles.infonce(1 - oracles.distances(*batch.columns, 'cosine'), kept, 0.07)
    batch = batch._replace(codes={**batch.codes, 'guide': guide})
    assert library.run(Objective(get('InfoNCELoss'), GuidedMiner()), batch)[0] == pytest.approx(expected, rel=1e-5)


def test_without_a_guide_it_says_how_to_give_one(library):
    batch = cases.classes()
    with pytest.raises(ArgumentError, match=r'fit\(…, guide=model\)'):
        GuidedMiner()(library.native(whole_distances(batch)), relate(library, batch))


def test_unknown_strategy_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'relative'"):
        GuidedMiner(margin_strategy='relativ')
