"""What comes with a batch besides its supervision: the vectors of a guide, and random numbers for miners that draw."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import finetuner
from finetuner.data.records import Records
from finetuner.errors import ArgumentError
from finetuner.losses import InfoNCELoss
from finetuner.losses.miners.base import Miner
from finetuner.losses.objective import Objective
from finetuner.tuner.loading import make_loader
from tests.models import clusters, mlp

X, LABELS = clusters()
NONE = dict.fromkeys(('num_items_per_class', 'preprocess_fn', 'collate_fn'))
SETTINGS = {'batch_size': 16, 'num_workers': 0, 'seed': 5, **NONE}


GUIDED = [0.5692068, 0.5579598]  # computed with PyTorch


@dataclass(frozen=True)
class Doubtful(Miner):
    """Leaves out the negatives that the guide finds similar."""

    guided: ClassVar[bool] = True

    def __call__(self, distances, relation):
        return relation._replace(negatives=relation.negatives & (relation.guide_similarity() < 0.2))


@dataclass(frozen=True)
class Draws(Miner):
    """Keeps the negatives of the anchors that win."""

    def __call__(self, distances, relation):
        return relation._replace(negatives=relation.negatives & (relation.lots[:, :1] < 0.5))

    def lots(self, layout):
        return 3


def losses(backend, data=(X, LABELS), **arguments):
    arguments = {'epochs': 2, 'batch_size': 16, 'seed': 5, **arguments}
    _, history = finetuner.fit(mlp(backend), data, **arguments, return_history=True)
    return [record['train_loss'] for record in history.epochs], [record.get('val_loss') for record in history.epochs]


@pytest.mark.backends('torch')
def test_a_model_a_function_and_an_array_are_one_guide(backend):
    model = mlp(backend, seed=3, noisy=True)
    vectors = finetuner.embed(model, X)
    plain, _ = losses(backend)
    expected, _ = losses(backend, guide=vectors, miner=Doubtful())
    assert np.abs(np.subtract(expected, plain)).min() > 1e-3
    for guide in (model, lambda contents: finetuner.embed(model, contents), vectors.tolist()):
        found, _ = losses(backend, guide=guide, miner=Doubtful())
        np.testing.assert_allclose(found, expected, 1e-6)


def test_a_guide_is_the_same_on_every_framework_and_keeps_its_mode_and_weights(backend):
    from finetuner.inference import encoder

    model = mlp(backend, seed=3, noisy=True)
    if hasattr(model, 'train'):
        model.train()
    before = encoder(model).weights()
    found, _ = losses(backend, guide=model, miner=Doubtful())
    np.testing.assert_allclose(found, GUIDED, 2e-5)
    assert getattr(model, 'training', True)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.backends('torch')
def test_the_guide_of_evaluation(backend):
    model, held_out = mlp(backend, seed=3), clusters(seed=2)
    vectors, others = finetuner.embed(model, X), finetuner.embed(model, held_out[0])
    arguments = {'miner': Doubtful(), 'eval_data': held_out}
    expected = losses(backend, guide=model, **arguments)
    np.testing.assert_allclose(losses(backend, guide=(vectors, others), **arguments), expected, 1e-6)
    assert losses(backend, guide=vectors, **arguments) == (pytest.approx(expected[0]), [None, None])


@pytest.mark.backends('torch')
def test_a_guide_for_pairs(backend):
    pairs = [(X[i], X[i + 1]) for i in range(0, 40, 2)]
    guide = finetuner.embed(mlp(backend, seed=3), pairs)
    (first, _), (second, _) = (losses(backend, pairs, miner=Doubtful(), guide=g) for g in (guide, mlp(backend, seed=3)))
    np.testing.assert_allclose(first, second, 1e-6)


@pytest.mark.backends('torch')
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'miner': Doubtful()}, r'Doubtful needs a guide: fit\(…, guide=model\)'),
        ({'guide': X}, 'No loss and no miner asks the guide'),
        ({'guide': X[:7], 'miner': Doubtful()}, r'shape \(7, 10\): expected a vector for each item, \(40, G\)'),
        ({'guide': X[:, 0], 'miner': Doubtful()}, r'shape \(40,\)'),
        ({'guide': X * np.nan, 'miner': Doubtful()}, 'NaN'),
        ({'guide': 'model', 'miner': Doubtful()}, 'expected a model, a function'),
        ({'guide': lambda contents: X[:2], 'miner': Doubtful()}, r'\(2, 10\) for 40 contents: expected \(40, G\)'),
    ],
)
def test_a_guide_that_cannot_be_is_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        losses('torch', **arguments)


def loader(miner, **settings):
    records = Records('class', X, [f'item {i}' for i in range(40)], labels=LABELS.tolist())
    return make_loader(records, Objective(InfoNCELoss(), miner), **SETTINGS | settings)


def test_lots_are_a_function_of_seed_epoch_and_batch():
    def lots(epoch, start=0, **settings):
        return [codes['lots'] for _, codes in loader(Draws(), **settings).epoch(epoch, start)]

    first = lots(0)
    assert [(batch.shape, batch.dtype.name) for batch in first] == [((16, 3), 'float32')] * 3
    assert all((batch >= 0).all() and (batch < 1).all() for batch in first)
    np.testing.assert_array_equal(first, lots(0))
    np.testing.assert_array_equal(first, lots(0, num_workers=2))
    np.testing.assert_array_equal(first[1:], lots(0, 1))
    different = [*first, *lots(1), *lots(0, seed=6)]
    assert len({batch.tobytes() for batch in different}) == len(different)
    assert 'lots' not in next(iter(loader(None).epoch(0)))[1]


def test_every_framework_draws_the_same(backend):
    found, _ = losses(backend, miner=Draws())
    np.testing.assert_allclose(found, [1.83053, 1.125899], 2e-5)  # computed with PyTorch


def test_a_guide_is_nothing_where_there_is_nobody():
    batches = loader(None)
    batches.dataset.guide = np.ones((40, 2), np.float32)
    codes = batches.dataset.codes(np.array([3, -1]))
    np.testing.assert_array_equal(codes['guide'], [[1, 1], [0, 0]])
    assert codes['guide'].dtype == np.float32
