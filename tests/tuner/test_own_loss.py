"""Losses that people bring along: what is refused, and what a frozen or plain one does."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.losses import get
from finetuner.losses.miners import DistanceWeightedMiner
from tests.models import clusters, framework, mlp


def linear(backend):
    if framework(backend) == 'torch':
        import torch

        return torch.nn.Linear(32, 1)
    if framework(backend) == 'paddle':
        import paddle

        return paddle.nn.Linear(32, 1)
    import keras

    layer = keras.layers.Dense(1)
    layer.build((None, 32))
    return layer


def frozen(layer):
    if hasattr(layer, 'trainable_weights'):
        layer.trainable = False
        return layer
    for weight in layer.parameters():
        if hasattr(weight, 'requires_grad_'):
            weight.requires_grad_(False)
        weight.stop_gradient = True
    return layer


@pytest.mark.parametrize('name', ['CLIPLoss', 'TripletMarginLoss'])
def test_the_module_of_a_loss_is_refused(backend, name):
    module = get(name).module(framework(backend))
    with pytest.raises(ArgumentError, match=f"Here give the loss itself: loss='{name}'"):
        finetuner.fit(mlp(backend), clusters(), loss=module, epochs=1)


def test_a_module_whose_weights_nobody_would_train_is_refused(backend):
    with pytest.raises(ArgumentError, match='has weights of its own, and nobody would train them. Freeze them'):
        finetuner.fit(mlp(backend), clusters(), loss=linear(backend), epochs=1)
    with pytest.raises(ArgumentError, match='loss=Linear|loss=Dense|miner=Linear|miner=Dense'):
        finetuner.fit(mlp(backend), clusters(), miner=linear(backend), epochs=1)


def test_a_frozen_module_is_a_function_like_others(backend):
    from finetuner.losses.registry import make

    layer = frozen(linear(backend))
    assert make(layer) is layer


@pytest.mark.parametrize(
    ('give', 'came'), [(lambda a: 1.0, 'float'), (lambda a: a, r'of shape \(16, 32\)'), (lambda a: None, 'NoneType')]
)
def test_a_loss_must_give_a_scalar_tensor(backend, give, came):
    def mine(anchors, candidates, relation):
        return give(anchors)

    with pytest.raises(ArgumentError, match=f'loss=mine must give a scalar tensor of the framework.*, got .*{came}'):
        finetuner.fit(mlp(backend), clusters(), loss=mine, epochs=1, batch_size=16)


def test_a_scalar_of_ones_own_trains(backend):
    from finetuner.dispatch import get_namespace

    def mine(anchors, candidates, relation):
        return get_namespace(anchors).mean(anchors * anchors)

    model = mlp(backend)
    before = {name: value.copy() for name, value in encoder(model).weights().items()}
    finetuner.fit(model, clusters(), loss=mine, epochs=1, batch_size=16)
    assert any(np.abs(value - before[name]).max() > 0 for name, value in encoder(model).weights().items())


def test_the_miner_of_a_loss_may_draw_in_a_module(backend):
    x, labels = clusters()
    module = get('TripletLoss', miner=DistanceWeightedMiner()).module(framework(backend), most=7)
    native = encoder(mlp(backend)).native
    assert np.isfinite(float(module(native(x), labels)))
