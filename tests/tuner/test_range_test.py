"""The range test: which rate it takes, the same on every framework, and that nothing of it stays."""

import os
import random
import signal

import numpy as np
import pytest

import finetuner
from finetuner.callback import GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.tuner import range_test
from finetuner.tuner.course import course
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 16, 'num_items_per_class': 4, 'return_history': True}


def same(ours, theirs):
    for (name, a), b in zip(encoder(ours).weights().items(), encoder(theirs).weights().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_nothing_stays_but_the_rate_and_a_resumed_training_knows_it(backend, tmp_path, monkeypatch):
    # Dropout, statistics, what a loss learns, a memory of batches and slopes that wait for an update: all is undone.
    arguments = ARGUMENTS | {'accumulate': 2, 'loss': 'ProxyAnchorLoss', 'layer_wise_lr_decay': 0.5}
    random.seed(1)
    chance = random.getstate(), np.random.get_state()[1].copy()
    saving = TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2)
    sought, history = finetuner.fit(
        mlp(backend, noisy=True), clusters(), learning_rate='find', **arguments, callbacks=[saving]
    )
    assert random.getstate() == chance[0] and (np.random.get_state()[1] == chance[1]).all()
    rate, usual = history.found['learning_rate'], history.found['usual']
    assert usual == 1e-3 and len(history.found['rates']) == len(history.found['losses']) >= 10
    given, other = finetuner.fit(mlp(backend, noisy=True), clusters(), learning_rate=rate, **arguments)
    same(sought, given)
    assert [epoch['train_loss'] for epoch in other.epochs] == [epoch['train_loss'] for epoch in history.epochs]
    assert other.found == {}
    monkeypatch.setattr(range_test, 'find', None)
    resumed, after = finetuner.fit(
        mlp(backend, noisy=True, seed=7), clusters(), learning_rate='find', **arguments,
        resume=tmp_path / 'saved_model_epoch_01',
    )  # fmt: skip
    same(sought, resumed)
    assert after.found == history.found


def test_every_framework_finds_the_same_rate(backend):
    _, history = finetuner.fit(mlp(backend), clusters(), learning_rate='find', **ARGUMENTS | {'epochs': 1})
    rates = history.found['rates']
    assert len(rates) == 50 and rates[0] == 1e-6
    assert history.found['losses'][0] == pytest.approx(2.536614, rel=1e-4)
    place = np.searchsorted(rates, 0.00754)
    assert rates[place - 1] <= history.found['learning_rate'] <= rates[place + 1]


def test_ctrl_c_leaves_the_model_as_it_was(backend, monkeypatch):
    model = mlp(backend, noisy=True)
    before, seen = encoder(model).weights(), []

    def pressed(losses):
        seen.append(losses[-1])
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return False

    monkeypatch.setattr(range_test, 'diverges', pressed)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            finetuner.fit(model, clusters(), learning_rate='find', **ARGUMENTS)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert len(seen) == 3
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


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


RATES = np.geomspace(1e-6, 0.1, 100).tolist()


def seen(loss, noise=0.0):
    """The losses at the rates, with noise, and smoothed."""
    chance = np.random.default_rng(0).standard_normal(len(RATES))
    losses = [loss(np.log10(rate)) + noise * by for rate, by in zip(RATES, chance, strict=True)]
    return RATES, losses, range_test.smoothed(RATES, losses)


def test_good_rates_end_where_the_loss_is_lowest():
    # Down from 1e-4 to 1e-3 in a line, then up.
    low, high = range_test.good(*seen(lambda x: 4 - min(max(x + 4, 0), 1) * 3 + max(x + 2.5, 0) * 5, noise=0.1))
    assert 4e-4 < low < 9e-4 < high < 2.5e-3


def test_chance_alone_is_no_fall():
    assert range_test.good(*seen(lambda x: 2.0, noise=0.3)) is None
    assert range_test.good(*seen(lambda x: x)) is None  # it only rises
    assert range_test.good(RATES, [np.nan], range_test.smoothed(RATES, [np.nan])) is None


def test_what_is_not_finite_in_the_end_changes_nothing_before():
    losses = seen(lambda x: 4 - min(max(x + 4, 0), 1) * 3)[1][:70]
    found = [range_test.good(RATES, end, range_test.smoothed(RATES, end)) for end in (losses, [*losses, np.inf])]
    assert found[0] == pytest.approx(found[1], rel=0.2)


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
