"""A training with everything in play at once goes on, from within an update, as if it had never stopped."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import EMA, Callback, TrainingCheckpoint
from finetuner.errors import CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, mlp

ARGUMENTS = {
    'epochs': 2,
    'batch_size': 60,
    'num_items_per_class': 10,
    'accumulate': 2,
    'loss': 'ProxyAnchorLoss',
    'loss_optimizer_options': {'learning_rate': 0.05},
    'scheduler': 'cosine',
    'scheduler_options': {'num_warmup_steps': 4},
    'layer_wise_lr_decay': 0.9,
    'return_history': True,
}


class Stops(Callback):
    def on_train_batch_end(self, tuner):
        if tuner.state.step == 9:
            assert tuner.state.pending == 1  # between the two batches of an update
            raise KeyboardInterrupt


class Learned(Callback):
    def on_fit_end(self, tuner):
        self.values = tuner.learned()


FROZEN = {'freeze': True, 'output_dim': 8, 'projection_head': 'mlp', 'cache_activations': True}


def test_accumulation_warm_up_averages_learned_proxies_and_the_guard(backend, tmp_path):
    check(backend, tmp_path)


@pytest.mark.backends('torch', 'paddle')
def test_the_same_with_activations_that_are_computed_once(backend, tmp_path):
    check(backend, tmp_path, seed=0, **FROZEN, layer_wise_lr_decay=None)
    with pytest.raises(CheckpointError, match='has other frozen weights than the model, whose activations'):
        check(backend, tmp_path, seed=7, **FROZEN, layer_wise_lr_decay=None)


def check(backend, tmp_path, *, seed=7, **options):
    data = clusters(6, 60)

    def fit(model, *callbacks, **arguments):
        proxies = Learned()
        every = [EMA(decay=0.5), proxies, *callbacks]
        model, history = finetuner.fit(model, data, callbacks=every, **ARGUMENTS | options | arguments)
        return encoder(model).weights(), getattr(proxies, 'values', {}), history

    weights, proxies, history = fit(mlp(backend, noisy=True))
    assert history.verdict['word'] != 'none'
    fit(mlp(backend, noisy=True), Stops(), TrainingCheckpoint(save_dir=tmp_path))
    again, learned, after = fit(mlp(backend, noisy=True, seed=seed), resume=tmp_path)
    for name, value in weights.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    np.testing.assert_array_equal(learned['classes'], proxies['classes'])
    timeless = [[{k: v for k, v in row.items() if k != 'seconds'} for row in one.epochs] for one in (history, after)]
    assert timeless[0] == timeless[1]
    assert (after.verdict, after.final) == (history.verdict, history.final)
