"""A training that is killed and resumed ends with the weights of one that was never interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import finetuner
from finetuner.callback import EarlyStopping, TrainingCheckpoint
from finetuner.errors import CheckpointError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.base import Callback
from tests.models import clusters, mlp

KILLED = """
import os, signal, sys
from tests.models import clusters, mlp
import finetuner
from finetuner.callback import Callback, TrainingCheckpoint

class Dies(Callback):
    def on_train_batch_end(self, tuner):
        if tuner.state.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

finetuner.fit(mlp(sys.argv[1], noisy=True), clusters(), epochs=4, batch_size=16, loss='ArcFaceLoss',
              callbacks=[Dies(), TrainingCheckpoint(save_dir=sys.argv[2])])
"""


def test_killed_in_an_epoch_and_resumed(backend, tmp_path):
    arguments = {'epochs': 4, 'batch_size': 16, 'loss': 'ArcFaceLoss'}
    whole = mlp(backend, noisy=True)
    _, history = finetuner.fit(whole, clusters(), **arguments, return_history=True)

    folder = tmp_path / 'checkpoints'
    root = Path(finetuner.__file__).parent.parent
    died = subprocess.run(
        [sys.executable, '-c', KILLED, backend, str(folder)], cwd=root, env=os.environ | {'PYTHONPATH': str(root)}
    )
    assert died.returncode == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == ['saved_model_epoch_02']

    resumed = mlp(backend, noisy=True, seed=7)
    _, later = finetuner.fit(resumed, clusters(), **arguments, resume=folder, return_history=True)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)
    losses = [record['train_loss'] for record in history.epochs]
    assert [record['train_loss'] for record in later.epochs] == losses


def test_interrupted_in_an_epoch_and_resumed(backend, tmp_path):
    class Interrupts(Callback):
        def on_train_batch_end(self, tuner):
            if tuner.state.step == 4:
                raise KeyboardInterrupt

    arguments = {'epochs': 2, 'batch_size': 16, 'num_items_per_class': 4}
    whole = finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments)
    saving = TrainingCheckpoint(save_dir=tmp_path)
    finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments, callbacks=[Interrupts(), saving])
    resumed = finetuner.fit(mlp(backend, noisy=True, seed=7), clusters(), **arguments, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


def _trained(backend, folder, **arguments):
    finetuner.fit(mlp(backend), clusters(), epochs=2, callbacks=[TrainingCheckpoint(save_dir=folder, **arguments)])


def test_a_flipped_bit_is_found_and_the_checkpoint_before_is_used(backend, tmp_path):
    _trained(backend, tmp_path, last_k_epochs=2)
    weights = tmp_path / 'saved_model_epoch_02' / 'weights.safetensors'
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    _, history = finetuner.fit(mlp(backend), clusters(), epochs=2, resume=tmp_path, return_history=True)
    assert [record['epoch'] for record in history.epochs] == [0, 1]
    (tmp_path / 'saved_model_epoch_01' / 'state.json').unlink()
    with pytest.raises(CheckpointError, match=r'state\.json is missing'):
        finetuner.fit(mlp(backend), clusters(), epochs=2, resume=tmp_path)


def test_a_folder_without_checkpoint_and_another_training_are_refused(backend, tmp_path):
    with pytest.raises(CheckpointError, match='has no checkpoint'):
        finetuner.fit(mlp(backend), clusters(), epochs=2, resume=tmp_path)
    with pytest.raises(CheckpointError, match='does not exist'):
        finetuner.fit(mlp(backend), clusters(), epochs=2, resume=tmp_path / 'none')
    _trained(backend, tmp_path)
    with pytest.raises(CheckpointError, match='seed=42, this one has seed=1'):
        finetuner.fit(mlp(backend), clusters(), epochs=2, seed=1, resume=tmp_path)
    with pytest.raises(CheckpointError, match='loss=InfoNCELoss.*this one has loss=TripletLoss'):
        finetuner.fit(mlp(backend), clusters(), epochs=2, loss='TripletLoss', resume=tmp_path)
    with pytest.raises(CheckpointError, match='of another model'):
        finetuner.fit(mlp(backend, (10, 32, 32)), clusters(), epochs=2, resume=tmp_path)


class StopsBefore(Callback):
    """Presses Ctrl-C in a hook of the second epoch."""

    def __init__(self, hook, batch=0):
        setattr(self, hook, lambda tuner: self.press(tuner, batch))

    def press(self, tuner, batch):
        if (tuner.state.epoch, tuner.state.batch_index) == (1, batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize('hook', ['on_train_batch_begin', 'on_train_batch_end', 'on_val_begin', 'on_val_batch_end'])
def test_an_interrupted_training_goes_on_with_the_same_history(backend, tmp_path, hook):
    arguments = {'epochs': 3, 'batch_size': 16, 'eval_data': clusters(seed=2), 'return_history': True}
    _, whole = finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments)
    saving = TrainingCheckpoint(save_dir=tmp_path)
    _, part = finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments, callbacks=[StopsBefore(hook), saving])
    assert len(part.epochs) == 1
    _, both = finetuner.fit(mlp(backend, noisy=True, seed=7), clusters(), **arguments, resume=tmp_path)
    for record in (*whole.epochs, *both.epochs):
        del record['seconds']
    assert both == whole


def test_interrupted_before_the_first_update_and_resumed(backend, tmp_path):
    class Presses(Callback):
        def on_train_batch_begin(self, tuner):
            raise KeyboardInterrupt

    arguments = {'epochs': 1, 'batch_size': 16}
    whole = finetuner.fit(mlp(backend), clusters(), **arguments)
    finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=[Presses(), TrainingCheckpoint(save_dir=tmp_path)])
    resumed = finetuner.fit(mlp(backend, seed=7), clusters(), **arguments, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests run in the background and inherit that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_within_an_update_waits_for_its_end(backend, tmp_path, ctrl_c):
    class Presses(Callback):
        def on_fit_begin(self, tuner):
            step = tuner.train_step

            def pressed(inputs, codes):
                if tuner.state.step == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                return step(inputs, codes)

            tuner.train_step = pressed

    arguments = {'epochs': 2, 'batch_size': 16, 'num_items_per_class': 4}
    whole = finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments)
    saving = TrainingCheckpoint(save_dir=tmp_path)
    finetuner.fit(mlp(backend, noisy=True), clusters(), **arguments, callbacks=[Presses(), saving])
    resumed = finetuner.fit(mlp(backend, noisy=True, seed=7), clusters(), **arguments, resume=tmp_path)
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value, err_msg=name)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_that_was_stopped_stays_stopped(backend, tmp_path):
    def epochs(**arguments):
        stopping = [
            EarlyStopping(monitor='train_loss', min_delta=100, patience=1),
            TrainingCheckpoint(save_dir=tmp_path),
        ]
        arguments |= {'epochs': 4, 'callbacks': stopping, 'return_history': True}
        return len(finetuner.fit(mlp(backend), clusters(), **arguments)[1].epochs)

    assert epochs() == epochs(resume=tmp_path) == 2


def test_callbacks_know_their_counters_when_others_join(backend, tmp_path):
    class Waits(EarlyStopping):
        def __eq__(self, other):  # as a dataclass would have it
            return isinstance(other, Waits)

    class Watches(Callback):
        def on_val_begin(self, tuner):
            batches.append(tuner.state.num_batches_val)

    def stopping(number):
        return EarlyStopping(monitor='train_loss', min_delta=100, patience=number)

    def epochs(*callbacks, **arguments):
        arguments |= {'epochs': 4, 'callbacks': callbacks, 'return_history': True}
        return len(finetuner.fit(mlp(backend), clusters(), **arguments)[1].epochs)

    batches = []
    waits = [Waits(monitor='train_loss', min_delta=100, patience=number) for number in (3, 2)]
    assert epochs(stopping(5), stopping(1), *waits, TrainingCheckpoint(save_dir=tmp_path)) == 2
    again = Watches(), stopping(5), *waits, stopping(1)
    assert epochs(*again, eval_data=clusters(seed=2), resume=tmp_path) == 2
    later = Watches(), stopping(5), stopping(5), *waits
    assert epochs(*later, eval_data=clusters(seed=2), resume=tmp_path) == 3
    assert batches == [1]


def test_a_scheduler_goes_on(backend, tmp_path):
    def configure(model):
        if backend == 'torch':
            import torch

            optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5], 0.1)
        if backend == 'paddle':
            import paddle

            scheduler = paddle.optimizer.lr.MultiStepDecay(1.0, [3, 5], 0.1)
            return paddle.optimizer.SGD(scheduler, parameters=model.parameters()), scheduler
        import keras

        return keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([2, 4], [1.0, 0.1, 0.01]))

    class Rates(Callback):
        def on_train_batch_begin(self, tuner):
            rates.append(next(iter(tuner.state.learning_rates.values())))

    rates = []
    arguments = {'epochs': 3, 'batch_size': 20, 'num_items_per_class': 4, 'configure_optimizer': configure}
    stops = [Rates(), StopsBefore('on_train_batch_end'), TrainingCheckpoint(save_dir=tmp_path)]
    finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=stops)
    finetuner.fit(mlp(backend), clusters(), **arguments, callbacks=[Rates()], resume=tmp_path)
    np.testing.assert_allclose(rates, [1, 1, 1, 0.1, 0.1, 0.01], rtol=1e-5)


def test_a_training_saves_where_a_longer_one_did(backend, tmp_path):
    finetuner.fit(mlp(backend), clusters(), epochs=3, callbacks=[TrainingCheckpoint(save_dir=tmp_path)])
    (tmp_path / 'saved_model_epoch_03.copy').mkdir()  # somebody's own
    finetuner.fit(mlp(backend), clusters(), epochs=2, callbacks=[TrainingCheckpoint(save_dir=tmp_path)])
    assert sorted(path.name[-7:] for path in tmp_path.iterdir()) == ['03.copy', 'poch_02']
    finetuner.fit(mlp(backend), clusters(), epochs=2, resume=tmp_path)
