"""The part of a batch that costs most: against loops over the trials."""

from dataclasses import dataclass

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import base, get
from finetuner.losses.base import Loss
from finetuner.losses.miners import MaximumLossMiner
from finetuner.losses.objective import Objective
from tests.losses import cases, oracles
from tests.losses.miners.settings import memory, pairs_of, relate, whole_distances


def parts(batch, lots, size, width):
    """The masks of every trial."""
    n, m = batch.positives.shape
    real = [a for a in range(n) if batch.positives[a].any() or batch.negatives[a].any()]
    for trial in range(lots.shape[1]):
        order = sorted(real, key=lambda a: lots[a, trial])
        rows = order[: -(-len(real) // 2) if size is None else size]
        columns = [c for c in range(m) if c >= n * width or c % n in rows]
        kept = np.zeros((n, m), bool)
        kept[np.ix_(rows, columns)] = True
        yield batch.positives & kept, batch.negatives & kept


def columns_of(batch):
    n, m = batch.positives.shape
    x = batch.embeddings
    return (x, x) if n == m == len(x) else (x[:n], x[n : n + m])


def costliest(batch, lots, size, width):
    d = oracles.distances(*(x.astype(float) for x in columns_of(batch)))
    costs = [oracles.contrastive(d, oracles.Tuples.of(*part)) for part in parts(batch, lots, size, width)]
    return list(parts(batch, lots, size, width))[int(np.argmax(costs))], max(costs)


CASES = [(cases.classes, 1), (cases.several_labels, 1), (cases.sessions, 1), (cases.pairs, 2), (memory, 1)]


@pytest.mark.parametrize('size', [None, 3, 100])
@pytest.mark.parametrize(('batch', 'width'), CASES)
def test_pairs(library, size, batch, width):
    batch = batch()
    a, b = columns_of(batch)
    lots = np.random.default_rng(8).random((len(a), 5), np.float32)
    relation = relate(library, batch, lots=5, width=width)
    anchors = library.native(a)
    candidates = anchors if a is b else library.native(b)
    mined = base.mine(MaximumLossMiner(size), get('ContrastiveLoss'), anchors, candidates, relation)
    assert mined.pairs().tolist() == pairs_of(*costliest(batch, lots, size, width)[0])


@pytest.mark.backends('numpy', 'torch')  # the others draw the same, see above
def test_every_part_is_as_likely(library):
    x = library.native(cases.vectors(11))
    everyone = ~np.eye(11, dtype=bool)
    batch = cases.classes()._replace(positives=everyone, negatives=np.zeros_like(everyone))
    counts = np.zeros(11, int)
    generator = np.random.default_rng(0)
    for _ in range(200):
        relation = relate(library, batch, lots=0)._replace(lots=library.native(generator.random((11, 1), np.float32)))
        mined = base.mine(MaximumLossMiner(4, 1), get('ContrastiveLoss'), x, x, relation)
        counts[np.unique(mined.pairs()[:, 0])] += 1
    assert counts.sum() == 200 * 4
    assert ((counts - 800 / 11) ** 2 / (800 / 11)).sum() < 30  # one in a thousand is above


@pytest.mark.parametrize('batch', [cases.classes, cases.pairs])
def test_loss(library, batch):
    batch = batch()
    lots = np.random.default_rng(8).random((batch.layout.rows, 4), np.float32)
    expected = costliest(batch, lots, 3, max(batch.layout.width - 1, 1))[1]
    filled = np.zeros((len(batch.embeddings), 4), np.float32)
    filled[: len(lots)] = lots
    batch = batch._replace(codes={**batch.codes, 'lots': filled})
    objective = Objective(get('ContrastiveLoss'), MaximumLossMiner(3, 4))
    assert library.run(objective, batch)[0] == pytest.approx(expected, rel=1e-5)


def test_a_loss_may_have_it_as_its_own(library):
    batch = cases.classes()
    lots = np.random.default_rng(8).random((11, 5), np.float32)
    batch = batch._replace(codes={**batch.codes, 'lots': lots})
    own = library.run(Objective(get('TripletLoss', miner=MaximumLossMiner(5))), batch)[0]
    assert own == library.run(Objective(get('TripletLoss'), MaximumLossMiner(5)), batch)[0]
    assert own != library.run(Objective(get('TripletLoss')), batch)[0]


@dataclass(frozen=True)
class Weighted(Loss):
    """A loss times what it learned."""

    def parameters(self, dim, n_classes, means=None):
        return {'cost': np.zeros((1, 1), np.float32)}

    def compute(self, anchors, candidates, relation, **learned):
        return get('ContrastiveLoss').compute(anchors, candidates, relation) * learned['cost'][0, 0]


def test_it_asks_the_loss_with_what_it_learned(library):
    batch = cases.classes()
    lots = np.random.default_rng(8).random((11, 5), np.float32)
    batch = batch._replace(codes={**batch.codes, 'lots': lots})
    costs = {}
    for sign in (1.0, -1.0):  # where the cost is negative, the cheapest part costs most
        cost = np.full((1, 1), sign, np.float32)
        costs[sign] = library.run(Objective(Weighted(), MaximumLossMiner(3)), batch, cost)[0]
    values = [
        oracles.contrastive(oracles.distances(*batch.columns), oracles.Tuples.of(*part))
        for part in parts(batch, lots, 3, 1)
    ]
    assert costs[1.0] == pytest.approx(max(values), rel=1e-5)
    assert costs[-1.0] == pytest.approx(-min(values), rel=1e-5)


def test_from_distances_alone_it_says_what_to_do(library):
    batch = cases.classes()
    with pytest.raises(ArgumentError, match=r'Objective\(loss, miner\)'):
        MaximumLossMiner()(library.native(whole_distances(batch)), relate(library, batch, lots=5))


def test_without_lots_it_says_how_to_give_some(library):
    batch = cases.classes()
    x = library.native(batch.embeddings)
    with pytest.raises(ArgumentError, match='MaximumLossMiner draws: it needs 5 random numbers'):
        base.mine(MaximumLossMiner(), get('TripletLoss'), x, x, relate(library, batch))


@pytest.mark.parametrize('options', [{'output_batch_size': 0}, {'num_trials': 0}, {'num_trials': None}])
def test_numbers_are_positive(options):
    with pytest.raises(ArgumentError, match='must be a whole number of at least 1'):
        MaximumLossMiner(**options)
