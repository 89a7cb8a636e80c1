"""The range test: which rate it takes, the same on every framework, and that nothing of it stays."""

import os
import random
import signal
from types import SimpleNamespace

import numpy as np
import pytest

import finetuner
from finetuner.callback import GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError, TrainingError
from finetuner.inference import encoder
from finetuner.tuner import range_test
from finetuner.tuner.course import course
from finetuner.tuner.schedule import Optimization
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 16, 'num_items_per_class': 4, 'return_history': True}
RATES = np.geomspace(1e-6, 0.1, 100).tolist()


def same(ours, theirs):
    for (name, a), b in zip(encoder(ours).weights().items(), encoder(theirs).weights().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_nothing_stays_but_the_rate(backend):
    # Dropout, statistics, what a loss learns, and slopes that wait for an update: all is undone.
    arguments = ARGUMENTS | {'accumulate': 2, 'loss': 'ProxyAnchorLoss'}
    start = mlp(backend, noisy=True)
    chance = random.getstate(), np.random.get_state()[1].copy()
    sought, history = finetuner.fit(start, clusters(), learning_rate='find', **arguments)
    assert random.getstate() == chance[0] and (np.random.get_state()[1] == chance[1]).all()
    rate, usual = history.found['learning_rate'], history.found['usual']
    assert rate != usual == 1e-3 and len(history.found['rates']) == len(history.found['losses']) >= 10
    given, other = finetuner.fit(mlp(backend, noisy=True), clusters(), learning_rate=rate, **arguments)
    same(sought, given)
    assert [epoch['train_loss'] for epoch in other.epochs] == [epoch['train_loss'] for epoch in history.epochs]
    assert other.found == {}


def test_every_framework_finds_the_same_and_ctrl_c_leaves_the_model_as_it_was(backend, monkeypatch):
    model, losses = mlp(backend), []
    if has_mode := hasattr(model, 'eval'):  # not in Keras
        model.eval()
    before = encoder(model).weights()

    def pressed(seen):
        losses[:] = seen
        if len(seen) == 50:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    monkeypatch.setattr(range_test, 'diverges', pressed)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            finetuner.fit(model, clusters(), learning_rate='find', **ARGUMENTS | {'epochs': 1})
    finally:
        signal.signal(signal.SIGINT, handler)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert not (has_mode and model.training)
    assert losses[0] == pytest.approx(2.536614, rel=1e-5)
    places = range(50)
    rates = np.geomspace(1e-6, 0.1, 50)
    assert range_test.good(places, losses, range_test.smoothed(rates, losses)) == pytest.approx((32, 46, 49), abs=1)


@pytest.mark.backends('torch')
def test_a_resumed_training_knows_the_rate(tmp_path, monkeypatch):
    saving = TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2)
    whole, history = finetuner.fit(mlp('torch'), clusters(), learning_rate='find', **ARGUMENTS, callbacks=[saving])
    monkeypatch.setattr(range_test, 'find', None)
    part = tmp_path / 'saved_model_epoch_01'
    resumed, after = finetuner.fit(mlp('torch', seed=7), clusters(), learning_rate='find', **ARGUMENTS, resume=part)
    same(whole, resumed)
    assert after.found == history.found
    with pytest.raises(CheckpointError, match='learning_rate='):
        finetuner.fit(mlp('torch'), clusters(), **ARGUMENTS, resume=part)


@pytest.mark.backends('torch')
def test_a_rate_is_looked_for_in_a_model_that_trains_as_it_is():
    with pytest.raises(ArgumentError, match='a callback has others train later: give learning_rate a number'):
        finetuner.fit(mlp('torch'), clusters(), learning_rate='find', callbacks=[GradualUnfreezing()], **ARGUMENTS)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'configure_optimizer': lambda model: model}, "makes the optimizer and its schedule: leave 'learning_rate'"),
        ({'head_learning_rate': 0.01}, 'head_learning_rate=0.01 is one for a part of it'),
        ({'learning_rate': 'fnd'}, "learning_rate='fnd': expected a positive number, such as 1e-3, or 'find'"),
    ],
)
def test_refused(arguments, said):
    names = (
        'optimizer', 'optimizer_options', 'configure_optimizer', 'scheduler', 'scheduler_options',
        'layer_wise_lr_decay', 'head_learning_rate',
    )  # fmt: skip
    with pytest.raises(ArgumentError, match=said):
        course('torch', **dict.fromkeys(names) | {'learning_rate': 'find', 'scheduler_step': 'batch'} | arguments)


def seen(loss, noise=0.0):
    """The losses at the rates, with noise, and smoothed."""
    chance = np.random.default_rng(0).standard_normal(len(RATES))
    losses = [loss(np.log10(rate)) + noise * by for rate, by in zip(RATES, chance, strict=True)]
    return RATES, losses, range_test.smoothed(RATES, losses)


def test_good_rates_are_where_most_of_the_fall_is():
    # Down from 1e-4 to 1e-3 in a line, then up.
    low, best, high = range_test.good(*seen(lambda x: 4 - min(max(x + 4, 0), 1) * 3 + max(x + 2.5, 0) * 5, noise=0.1))
    assert 2e-4 < low < 5e-4 and 9e-4 < best < 4e-3 and 4e-3 < high < 1e-2


@pytest.mark.parametrize(('usual', 'taken'), [(1e-5, 1), (1e-3, 1e-3), (1.0, 2)])
def test_a_usual_rate_that_is_good_stays(monkeypatch, usual, taken):
    rates, losses, smooth = seen(lambda x: 4 - min(max(x + 4, 0), 1) * 3 + max(x + 2.5, 0) * 5)
    monkeypatch.setattr(range_test, 'curve', lambda tuner, loader, rates: losses)
    monkeypatch.setattr(range_test, 'smoothed', lambda rates, losses: smooth)
    monkeypatch.setattr(range_test.np, 'geomspace', lambda *ends: rates)
    found = range_test.find(SimpleNamespace(optimization=Optimization(learning_rate=usual)), None, 100)
    low_best = (None, *range_test.good(rates, losses, smooth))
    assert found['learning_rate'] == pytest.approx(low_best[taken] if isinstance(taken, int) else taken, rel=0.01)


def test_chance_alone_is_no_fall():
    assert range_test.good(*seen(lambda x: 2.0, noise=0.3)) is None
    assert range_test.good(*seen(lambda x: x)) is None  # it only rises
    assert range_test.good(RATES, [np.nan], range_test.smoothed(RATES, [np.nan])) is None


def test_what_is_not_finite_in_the_end_changes_nothing_before():
    losses = seen(lambda x: 4 - min(max(x + 4, 0), 1) * 3)[1][:70]
    lowest = [range_test.good(RATES, end, range_test.smoothed(RATES, end))[0] for end in (losses, [*losses, np.inf])]
    assert lowest[0] == lowest[1]


def test_the_curve_is_drawn(tmp_path):
    pytest.importorskip('matplotlib')
    from finetuner.tuner.history import History

    rates, losses, smooth = seen(lambda x: -x, noise=0.1)
    history = History(
        {}, [], found={'learning_rate': 1e-2, 'usual': 1e-3, 'rates': rates, 'losses': losses, 'smooth': smooth}
    )
    assert history.plot_range_test(tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')
    assert '<svg' in history.plot_range_test(tmp_path / 'a.svg').read_text()
    with pytest.raises(ArgumentError, match=r"learning_rate='find'"):
        History({}, []).plot_range_test()


@pytest.mark.backends('torch')
def test_what_does_not_fit_into_memory_is_told_as_in_a_training(monkeypatch):
    from finetuner.backends.torch.tuner import Tuner

    def full(self, inputs, codes):
        raise MemoryError

    monkeypatch.setattr(Tuner, 'train_step', full)
    model = mlp('torch')
    before = encoder(model).weights()
    with pytest.raises(TrainingError, match='A batch of 20 items does not fit into memory'):
        finetuner.fit(model, clusters(), batch_size=20, num_items_per_class=4, learning_rate='find')
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])
