"""Every miner on batches that break formulas, on every kind of data, and with a memory."""

import numpy as np
import pytest

from finetuner.losses.memory import CrossBatchMemory
from finetuner.losses.names import MINERS, find, get
from finetuner.losses.objective import Objective
from finetuner.losses.registry import resolve
from finetuner.typing import Layout
from tests.losses import cases
from tests.losses.test_nasty import BATCHES, LABELS, batch_of

OPTIONS = {'UniformHistogramMiner': {'num_bins': 10, 'pos_per_bin': 2, 'neg_per_bin': 2}}
NAMES = [name for name in MINERS if ':' not in MINERS[name]]
WITHIN = ('EmbeddingsAlreadyPackagedAsTriplets', 'SiameseEasyHardMiner')


def miner_of(name):
    return get(name, 'miner', **OPTIONS.get(name, {}))


def ready(batch, miner):
    """The batch with lots and a guide, where the miner needs them."""
    codes = dict(batch.codes)
    n = len(batch.embeddings)
    if miner.guided:
        codes['guide'] = cases.vectors(n, 3, seed=9)
    if miner.lots(batch.layout):
        codes['lots'] = np.random.default_rng(0).random((n, miner.lots(batch.layout)), np.float32)
    return batch._replace(codes=codes)


def value_of(library, objective, batch):
    if library.name == 'numpy':  # without central differences
        return float(objective(batch.embeddings, batch.codes, batch.layout))
    value, slopes = library.run(objective, batch)
    assert np.isfinite(slopes[0]).all()
    return value


@pytest.mark.backends('numpy', 'torch', 'keras-torch', 'paddle')
@pytest.mark.parametrize('batch', BATCHES)
def test_numbers_come_out(library, batch):
    check(library, batch, ['ContrastiveLoss', 'TripletMarginLoss'])


@pytest.mark.backends('keras-tensorflow', 'keras-jax')  # which take seconds for a batch
@pytest.mark.parametrize('batch', ['usual', 'a zero vector', 'all equal, no labels', 'one item', 'all are nobody'])
def test_numbers_come_out_of_some(library, batch):
    check(library, batch, ['ContrastiveLoss'])


def check(library, batch, losses):
    for name in NAMES:
        miner = miner_of(name)
        for loss in losses:
            value = value_of(library, Objective(get(loss), miner), ready(BATCHES[batch], miner))
            assert np.isfinite(value) and value >= 0, name


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'UniformHistogramMiner'])  # draws for the batch
def test_nobody_changes_nothing(library, name):
    miner = miner_of(name)
    batch = ready(BATCHES['some are nobody'], miner)
    x = batch.embeddings[:-3]
    without = batch_of(x, LABELS['usual'])
    without = without._replace(codes={key: code[:-3] for key, code in batch.codes.items()}, layout=Layout(5, 1, 7, 8))
    objective = Objective(get('TripletMarginLoss', margin=1.0), miner)
    assert value_of(library, objective, batch) == pytest.approx(value_of(library, objective, without), rel=1e-6)


@pytest.mark.parametrize('name', [name for name in NAMES if not find(name, 'miner').packaged])
def test_sessions_and_pairs_can_be_mined(library, name):
    for kind, batch in {'session': cases.sessions(), 'pair': cases.pairs()}.items():
        if kind == 'session' or name not in WITHIN:
            loss = get('TripletMarginLoss', margin=1.5)
            options = OPTIONS.get(name, {})
            objective = resolve(loss, name, miner_options=options, kind=kind, width=batch.layout.width)
            assert value_of(library, objective, ready(batch, objective.miner)) > 0


@pytest.mark.backends('numpy', 'torch', 'keras-torch', 'paddle')
@pytest.mark.parametrize('name', NAMES)
def test_a_memory_can_be_mined(library, name):
    miner = miner_of(name)
    batch = ready(cases.classes(), miner)
    objective = Objective(CrossBatchMemory(get('TripletMarginLoss', margin=1.5), 31), miner)
    empty = objective.memory(5, batch.codes, batch.layout)
    codes = {key: library.native(code) for key, code in batch.codes.items()}
    memory = {key: library.native(part) for key, part in empty.items()}
    before = objective(library.native(batch.embeddings), codes, batch.layout, memory=memory)
    others = {**codes, 'item': library.native(batch.codes['item'] + 20)}
    memory = objective.remember(memory, library.native(cases.vectors(11, 5, seed=2)), others, batch.layout)
    after = objective(library.native(batch.embeddings), codes, batch.layout, memory=memory)
    assert np.isfinite(float(before)) and np.isfinite(float(after))
    plain = Objective(get('TripletMarginLoss', margin=1.5), miner)
    assert float(before) == pytest.approx(value_of(library, plain, batch), rel=1e-5)  # it is empty
    if name != 'EmbeddingsAlreadyPackagedAsTriplets':
        assert float(after) != float(before)
