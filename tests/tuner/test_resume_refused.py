"""A checkpoint is of one model: what was tailored, frozen or adapted in another way is not resumed."""

import copy

import numpy as np
import pytest

import finetuner
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import CheckpointError
from finetuner.inference import ORIGIN, encoder
from tests.models import clusters, cnn, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4}


def layer(model, place):
    """The name of one of the layers with weights."""
    return [layer.name for layer in finetuner.tailor.summary(model, (10,)) if layer.parameters and layer.path][place]


def trained(model, folder=None, *, data=None, **arguments):
    """The model after a training that writes checkpoints to a folder, or goes on from one."""
    callbacks = [TrainingCheckpoint(save_dir=folder)] if folder else []
    return finetuner.fit(model, data or clusters(), **ARGUMENTS | arguments, callbacks=callbacks)


def test_weights_of_the_same_form_are_not_taken_for_each_other(backend, tmp_path):
    def frozen(place):
        model = mlp(backend, (10, 16, 16, 16))
        return finetuner.freeze(model, layer(model, place), input_size=(10,))

    trained(frozen(1), tmp_path)
    with pytest.raises(CheckpointError, match=r'of other weights.*frozen then, model now.*model then, frozen now'):
        trained(frozen(2), resume=tmp_path)
    trained(frozen(1), resume=tmp_path)


def test_another_layer_frozen_while_tailoring(backend, tmp_path):
    model = mlp(backend, (10, 16, 16, 16))
    first, second = layer(model, 1), layer(model, 2)
    whole = trained(model, freeze=[first], output_dim=4)
    trained(model, tmp_path, freeze=[first], output_dim=4)
    with pytest.raises(CheckpointError, match='with frozen=.*this one has frozen='):
        trained(model, freeze=[second], output_dim=4, resume=tmp_path)
    again = mlp(backend, (10, 16, 16, 16), seed=7)
    resumed = trained(again, freeze=[layer(again, 1)], output_dim=4, resume=tmp_path)
    for ours, theirs in zip(encoder(resumed).weights().values(), encoder(whole).weights().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_pooling(backend, tmp_path):
    model, rng = cnn(backend, (1, 4, 4), side=8), np.random.default_rng(0)
    data = rng.standard_normal((40, 8, 8)).astype(np.float32), np.arange(40) % 5
    layers = finetuner.tailor.summary(model, (8, 8))
    last = [layer.name for layer in layers if layer.parameters and len(layer.shape) == 4][-1]
    options = {'data': data, 'layer_name': last, 'output_dim': 4}
    trained(model, tmp_path, pooling='mean', **options)
    with pytest.raises(CheckpointError, match="pooling={'name': 'mean'.*this one has pooling={'name': 'max'"):
        trained(model, pooling='max', resume=tmp_path, **options)
    trained(model, pooling='mean', resume=tmp_path, **options)


def test_another_head_on_the_same_weights(backend, tmp_path):
    trained(mlp(backend), tmp_path)
    start = finetuner.to_embedding_model(mlp(backend), inputs=clusters()[0], normalize=True)
    with pytest.raises(CheckpointError, match=r"head=\[\], this one has head=\[\['normalize'\]\]"):
        trained(start, resume=tmp_path)


@pytest.mark.backends('torch', 'paddle')
def test_a_model_that_has_lost_its_origin_can_be_resumed(backend, tmp_path):
    start = finetuner.to_embedding_model(mlp(backend), inputs=clusters()[0], output_dim=4)
    lost = copy.deepcopy(start)
    del vars(lost)[ORIGIN]
    trained(lost, tmp_path, to_embedding_model=False)
    trained(start, resume=tmp_path)


@pytest.mark.backends('torch')
def test_other_adapters(backend, tmp_path):
    pytest.importorskip('peft')
    trained(mlp(backend), tmp_path, adapter='lora', adapter_options={'alpha': 16})
    with pytest.raises(CheckpointError, match="adapter=.*'alpha': 16.*this one has adapter=.*'alpha': 64"):
        trained(mlp(backend), adapter='lora', adapter_options={'alpha': 64}, resume=tmp_path)
    trained(mlp(backend), adapter='lora', adapter_options={'alpha': 16}, resume=tmp_path)
