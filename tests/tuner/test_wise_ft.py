"""Between the weights from before a training and those after it."""

import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import EMA, Callback, EvaluationCallback, TrainingCheckpoint, WiSEFTCallback
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'guard': False}


class Watches(Callback):
    """Keeps the tuner, and the weights after the last epoch."""

    def on_epoch_end(self, tuner):
        self.tuner, self.weights = tuner, tuner.encoder.weights()


def fit(backend, *callbacks, model=None, **arguments):
    model = mlp(backend, noisy=True) if model is None else model
    return finetuner.fit(model, clusters(), callbacks=callbacks, **ARGUMENTS | arguments)


def between(before, after, alpha):
    floats = {name: value.dtype.kind == 'f' for name, value in after.items()}
    return {
        name: (1 - alpha) * before[name] + alpha * value if floats[name] else value for name, value in after.items()
    }


def same(found, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_weights_are_interpolated_and_resumed_from_within_an_epoch_too(backend, tmp_path):
    before, watches = encoder(mlp(backend, noisy=True)).weights(), Watches()
    ended = fit(backend, watches, WiSEFTCallback(), TrainingCheckpoint(save_dir=tmp_path, every_n_steps=3))
    found = encoder(ended).weights()
    for name, value in between(before, watches.weights, 0.4).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
    within = tmp_path / 'saved_model_epoch_02_step_000003'
    resumed = fit(backend, WiSEFTCallback(), model=mlp(backend, noisy=True, seed=7), resume=within)
    same(encoder(resumed).weights(), found)


def test_the_best_alpha_is_found_on_held_out_data(backend):
    held_out = clusters(seed=2)
    judge = EvaluationCallback(held_out, metrics=['map_at_r', 'hit_at_k'], limit=1, show=False)
    wise = WiSEFTCallback(alpha=[1, 0, 0.5], monitor='hit_at_1', show=False)
    watches = Watches()
    model, history = fit(backend, judge, watches, wise, return_history=True)
    assert list(wise.tried) == [0, 0.5, 1]
    assert wise.tried[0] == history.before['hit_at_k'] and wise.tried[1] == history.epochs[-1]['hit_at_k']
    assert wise.tried[wise.chosen] == max(wise.tried.values()) == history.after['hit_at_k']
    assert finetuner.evaluate(model, held_out, metrics=['hit_at_k'], limit=1)['hit_at_k'] == history.after['hit_at_k']
    # Of the same two, the worst; and of equal ones the largest.
    for options in ({'mode': 'min'}, {'alpha': [0, 0.001]}):
        other = WiSEFTCallback(**{'alpha': [0, 0.5, 1], 'monitor': 'hit_at_1', 'show': False} | options)
        other.restore(watches.tuner, encoder(mlp(backend, noisy=True)).weights())
        watches.tuner.encoder.assign(watches.weights)
        other.finish(watches.tuner)
        chosen = min if options == {'mode': 'min'} else max
        wanted = chosen(other.tried.values())
        assert other.chosen == max(alpha for alpha, value in other.tried.items() if value == wanted)


# What follows is the same code on every framework.


@pytest.mark.backends('torch')
def test_ctrl_c_in_between_leaves_the_weights_and_the_checkpoint_as_they_were(request, tmp_path):
    class Interrupted(EvaluationCallback):
        def values(self, tuner):
            if len(wise.tried) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().values(tuner)

    class Ends(Callback):
        def finish(self, tuner):
            averages.update(tuner.encoder.weights())
            return False

    averages = {}
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        judge, wise = Interrupted(clusters(seed=2), show=False), WiSEFTCallback(alpha=None, show=False)
        watches = Watches()
        model = fit(
            request.config.getoption('--backend'),
            judge,
            watches,
            EMA(decay=0.5),
            Ends(),
            wise,
            TrainingCheckpoint(save_dir=tmp_path),
        )
    finally:
        signal.signal(signal.SIGINT, kept)
    assert len(wise.tried) == 1
    saved, _ = artifact.read(tmp_path / 'saved_model_epoch_02')
    same(encoder(model).weights(), watches.weights)  # as if the end had not begun
    assert any(not np.array_equal(averages[name], value) for name, value in watches.weights.items())
    same(saved['weights'], watches.weights)


@pytest.mark.backends('torch')
def test_a_head_that_has_learned_nothing_is_refused_and_one_that_has_is_not(request):
    backend = request.config.getoption('--backend')
    with pytest.raises(ArgumentError, match=r"a new head \('linear', 32, 8\) has learned nothing"):
        fit(backend, WiSEFTCallback(), output_dim=8)
    headed = finetuner.to_embedding_model(mlp(backend), inputs=clusters()[0], output_dim=8)
    before, watches = encoder(headed).weights(), Watches()
    ended = encoder(fit(backend, watches, WiSEFTCallback(alpha=0.5), model=headed)).weights()
    for name, value in between(before, watches.weights, 0.5).items():
        np.testing.assert_allclose(ended[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.backends('torch')
def test_trained_anew_on_all_data_it_ends_at_the_alpha_that_was_chosen(request):
    many, wise = clusters(10, 40), WiSEFTCallback(alpha=[0.25, 0.5], show=False)
    model = mlp(request.config.getoption('--backend'))
    finetuner.fit(model, many, epochs=1, callbacks=[wise], refit=True)
    trained = mlp(request.config.getoption('--backend'))
    before = encoder(trained).weights()
    finetuner.fit(trained, many, epochs=1, guard=False)
    for name, value in between(before, encoder(trained).weights(), wise.chosen).items():
        np.testing.assert_allclose(encoder(model).weights()[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.backends('torch')
def test_adapters_are_refused(request):
    pytest.importorskip('peft')
    backend = request.config.getoption('--backend')
    with pytest.raises(ArgumentError, match='leave adapter out'):
        fit(backend, WiSEFTCallback(), model=mlp(backend), adapter='lora')


@pytest.mark.backends('torch')
def test_a_metric_that_nobody_measures_is_refused(request):
    backend = request.config.getoption('--backend')
    with pytest.raises(ArgumentError, match="chooses alpha by 'map_at_r', which.*Give eval_data"):
        fit(backend, WiSEFTCallback(alpha=None))
    with pytest.raises(ArgumentError, match="Did you mean 'map_at_r'"):
        fit(backend, WiSEFTCallback(alpha=None, monitor='map_at_q'), eval_data=clusters(seed=2))


def test_impossible_alphas_are_refused():
    for options, message in (
        ({'alpha': 1.2}, 'expected a number from 0 to 1'),
        ({'alpha': [0.1, 'much']}, 'expected a number from 0 to 1'),
        ({'alpha': []}, 'expected a number from 0 to 1'),
        ({'monitor': 'map_at_r'}, 'give several'),
        ({'mode': 'most'}, "mode='most' is unknown"),
    ):
        with pytest.raises(ArgumentError, match=message):
            WiSEFTCallback(**options)
    assert WiSEFTCallback(alpha=None).alphas == [i / 10 for i in range(11)]


def test_a_training_that_began_without_it_is_not_resumed_with_it():
    with pytest.raises(CheckpointError, match='must be there from the start'):
        WiSEFTCallback().restore(SimpleNamespace(state=SimpleNamespace(step=3)), {})
