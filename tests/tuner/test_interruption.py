"""Ctrl-C and SIGTERM, as real signals: the training is saved, says how to go on, and goes on as if nothing had been."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import BestModelCheckpoint, EarlyStopping, EvaluationCallback, TrainingCheckpoint
from finetuner.inference import encoder
from finetuner.tuner.callbacks.base import Callback
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 16, 'num_items_per_class': 4}


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C interrupts, also where the tests run in the background and inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Presses(Callback):
    """Sends this process a signal within an update, when some are done."""

    def __init__(self, number=signal.SIGINT, step=2):
        self.number, self.step = number, step

    def on_fit_begin(self, tuner):
        update = tuner.train_step

        def pressed(inputs, codes):
            if tuner.state.step == self.step:
                os.kill(os.getpid(), self.number)
            return update(inputs, codes)

        tuner.train_step = pressed


class Average(Callback):
    """Remembers the mean of all weights there were, and ends the training with it."""

    def __init__(self, press=False):
        self.press, self.sums, self.count = press, {}, np.zeros(1)

    def on_train_batch_end(self, tuner):
        weights = tuner.encoder.weights()
        self.sums = {name: self.sums.get(name, 0) + value for name, value in weights.items()}
        self.count = self.count + 1

    def arrays(self, tuner):
        return self.sums | {'count': self.count}

    def restore(self, tuner, arrays):
        self.sums = dict(arrays)
        self.count = self.sums.pop('count')

    def finish(self, tuner):
        self.last = tuner.encoder.weights()
        tuner.encoder.assign({name: np.float32(value / self.count[0]) for name, value in self.sums.items()})
        if self.press:
            os.kill(os.getpid(), signal.SIGINT)
        return True


@pytest.fixture(scope='module')
def whole(backend):
    """The weights after a training that was not interrupted."""
    return encoder(finetuner.fit(mlp(backend, noisy=True), clusters(), **ARGUMENTS, callbacks=[Average()])).weights()


def same(expected, model):
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def told(said):
    """The folder that a log says to resume from."""
    return re.search(r"resume='(.*?)'", ''.join(said.split('\n')))[1]


def test_ctrl_c_saves_without_a_checkpoint_and_says_how_to_go_on(backend, tmp_path, monkeypatch, said, whole):
    monkeypatch.setenv('FINETUNER_HOME', str(tmp_path))
    model = mlp(backend, noisy=True)
    assert finetuner.fit(model, clusters(), **ARGUMENTS, callbacks=[Presses(), Average()]) is model
    assert 'Interrupted and saved. To go on: fit(' in said()
    folder = told(said())
    assert Path(folder).is_relative_to(tmp_path)
    resumed = finetuner.fit(
        mlp(backend, noisy=True, seed=7), clusters(), **ARGUMENTS, callbacks=[Average()], resume=folder
    )
    same(whole, resumed)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


SIGTERM = """
import os, signal, sys
import finetuner
from tests.models import clusters, mlp
from tests.tuner.test_interruption import ARGUMENTS, Average, Presses

class Again(Presses):
    def on_keyboard_interrupt(self, tuner):
        os.kill(os.getpid(), signal.SIGTERM)

finetuner.fit(mlp(sys.argv[1], noisy=True), clusters(), **ARGUMENTS, callbacks=[Again(signal.SIGTERM), Average()])
print('went on')
"""


def test_sigterm_saves_and_then_ends_the_process(backend, tmp_path, whole):
    root = Path(finetuner.__file__).parent.parent
    variables = {'PYTHONPATH': str(root), 'FINETUNER_HOME': str(tmp_path), 'COLUMNS': '1000'}
    died = subprocess.run(
        [sys.executable, '-c', SIGTERM, backend], cwd=root, env=os.environ | variables, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGTERM, died.stderr
    assert 'Ended by SIGTERM and saved. To go on' in died.stdout
    assert 'went on' not in died.stdout
    again = mlp(backend, noisy=True, seed=7)
    same(whole, finetuner.fit(again, clusters(), **ARGUMENTS, callbacks=[Average()], resume=told(died.stdout)))


def test_interrupted_in_an_evaluation(backend, tmp_path):
    class Evaluation(EvaluationCallback):
        def measure(self, tuner):
            if self.press and tuner.state.epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)
            super().measure(tuner)

    def watching(name, press=False):
        evaluation = Evaluation(clusters(seed=2))
        evaluation.press = press
        stopping = EarlyStopping(monitor='map_at_r', min_delta=9, patience=2, baseline=0)
        best = BestModelCheckpoint(monitor='map_at_r', mode='min', save_dir=tmp_path / name)
        return [evaluation, TrainingCheckpoint(save_dir=tmp_path / name), stopping, best]

    arguments = {**ARGUMENTS, 'epochs': 4, 'eval_data': clusters(seed=2), 'return_history': True}
    model, before = finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=watching('whole'))
    assert len(before.epochs) == 2
    _, part = finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=watching('part', press=True))
    assert 'map_at_r' not in part.epochs[1]
    resumed, after = finetuner.fit(
        mlp(backend, seed=7), clusters(), **arguments, callbacks=watching('part'), resume=tmp_path / 'part'
    )
    same(encoder(model).weights(), resumed)
    for record in (*before.epochs, *after.epochs):
        del record['seconds']
    assert after == before
    best = [artifact.read(tmp_path / name / 'best_model_map_at_r')[0]['weights'] for name in ('whole', 'part')]
    for name, value in best[0].items():
        np.testing.assert_array_equal(best[1][name], value, err_msg=name)


def test_interrupted_when_the_last_weights_are_made(backend, tmp_path, whole):
    average, saving = Average(press=True), TrainingCheckpoint(save_dir=tmp_path)
    part = finetuner.fit(mlp(backend, noisy=True), clusters(), **ARGUMENTS, callbacks=[average, saving])
    same(average.last, part)
    again = {'callbacks': [Average(), saving], 'resume': tmp_path}
    same(whole, finetuner.fit(mlp(backend, noisy=True, seed=7), clusters(), **ARGUMENTS, **again))


def test_two_within_an_update_save_nothing_of_it(backend, tmp_path, said):
    class Twice(Presses):
        def on_fit_begin(self, tuner):
            update = tuner.train_step

            def pressed(inputs, codes):
                for _ in range(2 * (tuner.state.step == 3)):
                    os.kill(os.getpid(), signal.SIGINT)
                return update(inputs, codes)

            tuner.train_step = pressed

    callbacks = [Twice(), TrainingCheckpoint(save_dir=tmp_path)]
    finetuner.fit(mlp(backend), clusters(), **ARGUMENTS, callbacks=callbacks)
    assert [path.name for path in tmp_path.iterdir()] == ['saved_model_epoch_01']
    assert 'Interrupted. To go on from the last checkpoint' in said()
