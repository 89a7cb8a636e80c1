"""Strategies: against loops over the rows, with many ties."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import SiameseLoss, TripletLoss, get
from finetuner.losses.miners import SiameseEasyHardMiner, TripletEasyHardMiner
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation
from tests.losses import cases, oracles

STRATEGIES = [
    (near, far)
    for near in ('hard', 'semihard', 'easy', 'all')
    for far in ('hard', 'semihard', 'easy', 'all')
    if 'semihard' not in (near, far) or {near, far} & {'hard', 'easy'}
]
BATCHES = [cases.classes, cases.several_labels, cases.sessions, cases.views]


def setting(library, batch):
    d = np.random.default_rng(6).integers(0, 5, batch.positives.shape).astype(np.float32)
    relation = Relation(library.native(batch.positives), library.native(batch.negatives), batch.layout.most)
    return d, relation


@pytest.mark.parametrize(('near', 'far'), STRATEGIES)
@pytest.mark.parametrize('batch', [*BATCHES, cases.pairs])
def test_triplets(library, near, far, batch):
    batch = batch()
    d, relation = setting(library, batch)
    mined = TripletEasyHardMiner(near, far)(library.native(d), relation)
    chosen = oracles.easyhard(d, batch.positives, batch.negatives, near, far)
    assert mined.triplets().tolist() == [[a, p, n] for a, (ps, ns) in chosen.items() for p in ps for n in ns]


@pytest.mark.parametrize(('near', 'far'), STRATEGIES)
@pytest.mark.parametrize('batch', BATCHES)
def test_pairs(library, near, far, batch):
    batch = batch()
    d, relation = setting(library, batch)
    mined = SiameseEasyHardMiner(near, far)(library.native(d), relation)
    upper = np.triu(np.ones_like(batch.positives), 1)
    chosen = oracles.easyhard(d, batch.positives & upper, batch.negatives & upper, near, far)
    pairs = [[a, p, 1] for a, (ps, _) in chosen.items() for p in ps]
    assert mined.pairs().tolist() == pairs + [[a, n, 0] for a, (_, ns) in chosen.items() for n in ns]


@pytest.mark.parametrize('make', [lambda m: Objective(TripletLoss(), m), lambda m: Objective(TripletLoss(miner=m))])
def test_loss_of_mined_triplets(library, make):
    batch = cases.classes()
    d = oracles.distances(*batch.columns, 'cosine')
    chosen = oracles.easyhard(d, batch.positives, batch.negatives, 'hard', 'hard')
    terms = [max(d[a, p] - d[a, n] + 1, 0) for a, (ps, ns) in chosen.items() for p in ps for n in ns]
    assert library.run(make(TripletEasyHardMiner()), batch)[0] == pytest.approx(np.mean(terms), rel=1e-6)


def test_loss_of_mined_pairs(library):
    batch = cases.views()
    d = oracles.distances(*batch.columns, 'cosine')
    upper = np.triu(np.ones_like(batch.positives), 1)
    chosen = oracles.easyhard(d, batch.positives & upper, batch.negatives & upper, 'hard', 'hard')
    terms = [d[a, p] for a, (ps, _) in chosen.items() for p in ps]
    terms += [max(1 - d[a, n], 0) for a, (_, ns) in chosen.items() for n in ns]
    objective = Objective(SiameseLoss(miner=SiameseEasyHardMiner()))
    assert library.run(objective, batch)[0] == pytest.approx(np.mean(terms), rel=1e-6)


@pytest.mark.parametrize('name', ['InfoNCELoss', 'MultiSimilarityLoss', 'ContrastiveLoss'])
def test_losses_on_pairs_take_the_chosen_pairs(library, name):
    batch = cases.classes()
    d = oracles.distances(*batch.columns, 'euclidean')
    chosen = oracles.easyhard(d, batch.positives, batch.negatives, 'easy', 'hard')
    near, far = [(a, p) for a, (ps, ns) in chosen.items() for p in ps if ns], []
    far = [(a, n) for a, (ps, ns) in chosen.items() for n in ns if ps]
    tuples = oracles.Tuples(near, far, [])
    s = 1 - oracles.distances(*batch.columns, 'cosine')
    kept = {a for a, _ in near}
    expected = {
        'InfoNCELoss': lambda: oracles.infonce(s, tuples, 0.07),
        'MultiSimilarityLoss': lambda: oracles.multi_similarity(s, tuples) * len(s) / len(kept),
        'ContrastiveLoss': lambda: oracles.contrastive(d, tuples),
    }[name]()
    value, _ = library.run(Objective(get(name), TripletEasyHardMiner('easy', 'hard', 'euclidean')), batch)
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('near', 'far'), [('semihard', 'semihard'), ('semihard', 'all'), ('all', 'semihard')])
def test_semihard_needs_one_to_be_measured_against(near, far):
    with pytest.raises(ArgumentError, match="take 'hard' or 'easy'"):
        TripletEasyHardMiner(near, far)


def test_unknown_strategy_suggests_the_nearest():
    with pytest.raises(ArgumentError, match=r"There is no neg_strategy 'hrad'. Did you mean 'hard'"):
        SiameseEasyHardMiner(neg_strategy='hrad')


def test_unknown_distance_suggests_the_nearest():
    with pytest.raises(ArgumentError, match="Did you mean 'euclidean'"):
        TripletEasyHardMiner(distance='euclid')
