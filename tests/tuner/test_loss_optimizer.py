"""What a loss learns has an optimizer of its own, which does the same on every framework and is resumed exactly."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.tuner.callbacks.base import Callback
from tests.models import clusters, mlp

ARGUMENTS = {'loss': 'ArcFaceLoss', 'epochs': 2, 'batch_size': 10, 'num_items_per_class': 2}

OPTIMIZERS = {
    'default': {},
    'Adam': {
        'loss_optimizer': 'Adam',
        'loss_optimizer_options': {'learning_rate': 0.05, 'epsilon': 0.01, 'beta_1': 0.8, 'weight_decay': 0.1},
    },
    'AdamW': {'loss_optimizer': 'adamw', 'loss_optimizer_options': {'weight_decay': 0.5, 'beta_2': 0.9}},
    'SGD': {
        'loss_optimizer': 'SGD',
        'loss_optimizer_options': {'learning_rate': 0.5, 'momentum': 0.9, 'weight_decay': 0.1},
    },
    'plain SGD': {'loss_optimizer': 'SGD'},
}
# The loss of the last batch and the sum of the absolute values of the classes then; computed with PyTorch.
FIGURES = {
    'default': [10.31563, 23.0043],
    'Adam': [9.585196, 15.60529],
    'AdamW': [10.29529, 22.43578],
    'SGD': [12.46063, 13.68176],
    'plain SGD': [11.12872, 22.96295],
}


class Watches(Callback):
    """Keeps what was learned and the rates, batch by batch."""

    def __init__(self, stop=None):
        self.rates, self.learned, self.losses, self.stop = [], [], [], stop

    def on_train_batch_begin(self, tuner):
        self.rates.append(dict(tuner.state.learning_rates))

    def on_train_batch_end(self, tuner):
        self.learned.append(tuner.learned())
        self.losses.append(tuner.state.current_loss)
        if tuner.state.step == self.stop:
            raise KeyboardInterrupt


def trained(backend, stop=None, callbacks=(), seed=0, **arguments):
    watching = Watches(stop)
    finetuner.fit(mlp(backend, seed=seed), clusters(), **ARGUMENTS | arguments, callbacks=[watching, *callbacks])
    return watching


@pytest.mark.parametrize('name', list(OPTIMIZERS))
def test_an_optimizer_does_the_same_on_every_framework(backend, name):
    watching = trained(backend, **OPTIMIZERS[name])
    found = watching.losses[-1], np.abs(watching.learned[-1]['classes']).sum()
    np.testing.assert_allclose(found, FIGURES[name], rtol=1e-5)


@pytest.mark.parametrize('name', ['AdamW', 'SGD'])
def test_it_is_resumed_to_the_bit(backend, tmp_path, name):
    options = OPTIMIZERS[name]
    whole = trained(backend, **options)
    trained(backend, 3, [TrainingCheckpoint(save_dir=tmp_path)], **options)
    resumed = trained(backend, seed=7, resume=tmp_path, **options)
    np.testing.assert_array_equal(resumed.learned[-1]['classes'], whole.learned[-1]['classes'])
    with pytest.raises(CheckpointError, match='loss_optimizer='):
        trained(backend, resume=tmp_path)


def test_its_rate_is_its_own_and_has_the_shape_of_the_models(backend):
    rates = trained(backend, learning_rate=1e-3, loss_optimizer_options={'learning_rate': 0.5}).rates
    assert [set(rate) for rate in rates] == [{'model', 'loss'}] * 8
    np.testing.assert_allclose([rate['loss'] / rate['model'] for rate in rates], 500)
    assert rates[0]['loss'] == 0.5 > rates[-1]['loss']
    assert set(trained(backend, loss='InfoNCELoss').rates[0]) == {'model'}


def test_an_optimizer_of_your_own_trains_the_model_alone(backend):
    def configure(model):
        if backend == 'torch':
            import torch

            return torch.optim.SGD(model.parameters(), lr=1e-30)
        if backend == 'paddle':
            import paddle

            return paddle.optimizer.SGD(1e-30, parameters=model.parameters())
        import keras

        return keras.optimizers.SGD(1e-30, loss_scale_factor=64.0)

    model = mlp(backend)
    before = finetuner.embed(model, clusters()[0])
    watching = Watches()
    finetuner.fit(model, clusters(), **ARGUMENTS, configure_optimizer=configure, callbacks=[watching])
    np.testing.assert_allclose(finetuner.embed(model, clusters()[0]), before, atol=1e-6)
    classes = np.stack([learned['classes'] for learned in watching.learned])
    assert np.abs(np.diff(classes, axis=0)).max((1, 2)).min() > 1e-4
    assert [rate['model'] for rate in watching.rates] == [pytest.approx(1e-30)] * 8
    assert watching.rates[0]['loss'] == 0.01 > watching.rates[-1]['loss']


@pytest.mark.backends('torch')
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'loss_optimizer': 'AdaW'}, "no loss_optimizer 'AdaW'.*AdamW"),
        ({'loss_optimizer_options': {'momentum': 0.9}}, 'AdamW has no option .momentum.'),
        ({'loss_optimizer': 'SGD', 'loss_optimizer_options': {'momentun': 0.9}}, 'momentum'),
        ({'loss_optimizer_options': {'learning_rate': 0}}, 'learning_rate must be a positive number, got 0'),
        ({'loss_optimizer_options': {'beta_1': 1}}, 'beta_1 must be a finite number of at least 0 and below 1, got 1'),
        ({'loss_optimizer_options': {'weight_decay': '1'}}, 'at least 0'),
        ({'loss': 'InfoNCELoss', 'loss_optimizer': 'SGD'}, 'InfoNCELoss.* learns nothing'),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        trained('torch', **arguments)
