"""A checkpoint that cannot be written, or read again, costs what is in it and not the training."""

import resource
import shutil

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import BestModelCheckpoint, Callback, HistoryLogger, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from tests.disks import on_a_small_disk
from tests.models import clusters, mlp


class Limit(Callback):
    """Lets no file grow beyond a size in some epochs, as a quota does."""

    def __init__(self, size, epochs):
        self.size, self.epochs = size, epochs
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_epoch_begin(self, tuner):
        size = self.size if tuner.state.epoch in self.epochs else self.before[0]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self.before[1]))

    def on_exception(self, tuner, exception):
        self.on_fit_end(tuner)

    def on_fit_end(self, tuner):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_the_training_goes_on_and_tries_again(backend, tmp_path, said):
    class Looks(Callback):
        def on_epoch_end(self, tuner):
            found.append(sorted(path.name for path in tmp_path.iterdir()))
            best.append(-tuner.state.counters['BestModelCheckpoint:0']['best'])

    def model(seed=0):
        return mlp(backend, (10, 512, 64), seed=seed)

    found, best, arguments = [], [], {'epochs': 3, 'return_history': True}
    saving = TrainingCheckpoint(save_dir=tmp_path), BestModelCheckpoint(save_dir=tmp_path, monitor='train_loss')
    trained, record = finetuner.fit(model(), clusters(), **arguments, callbacks=[Limit(100_000, {1}), *saving, Looks()])
    assert len(record.epochs) == 3
    assert found == [['best_model_train_loss', f'saved_model_epoch_0{n}'] for n in (1, 1, 3)]
    losses = [epoch['train_loss'] for epoch in record.epochs]
    assert best == [losses[0], losses[0], losses[2]] and losses[2] < losses[1] < losses[0]
    lines = said().splitlines()
    assert sum('saved_model_epoch_02 could not be written: File too large. It needs' in line for line in lines) == 1
    assert sum('The best model before it stays' in line for line in lines) == 1
    kept = finetuner.load(tmp_path / 'best_model_train_loss', model())
    _, after = finetuner.fit(model(seed=7), clusters(), **arguments, resume=tmp_path)
    assert after.epochs == record.epochs
    for name, value in encoder(trained).weights().items():
        np.testing.assert_array_equal(encoder(kept).weights()[name], value, err_msg=name)


FULL = """
import sys
from pathlib import Path
import finetuner
from finetuner.callback import Callback, HistoryLogger, TrainingCheckpoint
from tests.models import clusters, mlp

disk = Path(sys.argv[1])

class Fills(Callback):
    def on_epoch_begin(self, tuner):
        if tuner.state.epoch == 1:
            try:
                (disk / 'other').write_bytes(bytes(10**7))
            except OSError:
                pass
        if tuner.state.epoch == 2:
            (disk / 'other').unlink()

    def on_epoch_end(self, tuner):
        print('there:', *sorted(path.name for path in disk.iterdir()))

history = HistoryLogger(path=disk / 'history.csv')
finetuner.fit(mlp('torch'), clusters(), epochs=3, callbacks=[TrainingCheckpoint(save_dir=disk), history, Fills()])
assert len((disk / 'history.csv').read_text().splitlines()) == 4
finetuner.fit(mlp('torch', seed=7), clusters(), epochs=3, resume=disk)
"""


@pytest.mark.backends('torch')
def test_a_full_disk(backend, tmp_path):
    why = '; test_the_training_goes_on_and_tries_again has a limit'
    printed = on_a_small_disk(FULL, tmp_path, why, COLUMNS='1000')
    there = [line for line in printed.splitlines() if line.startswith('there:')]
    assert there == [
        'there: history.csv saved_model_epoch_01',
        'there: history.csv other saved_model_epoch_01',
        'there: history.csv saved_model_epoch_03',
    ]
    assert 'saved_model_epoch_02 could not be written: No space left on device. It needs' in printed
    assert 'The checkpoint before it stays' in printed
    assert 'history.csv is as it was' in printed


def test_without_room_an_interrupted_training_is_saved_elsewhere(backend, tmp_path, monkeypatch, said):
    class Stops(Callback):
        def on_train_batch_end(self, tuner):
            shutil.rmtree(tmp_path / 'gone')
            (tmp_path / 'gone').write_text('a file where the folder was')
            raise KeyboardInterrupt

    monkeypatch.setenv('FINETUNER_HOME', str(tmp_path / 'home'))
    (tmp_path / 'gone').mkdir()
    saving = TrainingCheckpoint(save_dir=tmp_path / 'gone')
    finetuner.fit(mlp(backend), clusters(), epochs=1, callbacks=[Stops(), saving])
    assert 'gone/saved_model_epoch_01 could not be written' in said()
    (folder,) = (tmp_path / 'home' / 'trainings').iterdir()
    assert f'saved. To go on: fit(…, resume={str(folder)!r})' in said()
    assert artifact.read(folder / 'saved_model_epoch_01')[1]['state']['step'] == 1


@pytest.mark.backends('torch')
@pytest.mark.parametrize('make', [TrainingCheckpoint, BestModelCheckpoint, HistoryLogger])
def test_a_folder_that_cannot_be_is_refused_before_the_training(backend, tmp_path, make):
    (tmp_path / 'file').write_text('')
    if make is HistoryLogger:
        callback = HistoryLogger(path=tmp_path / 'file' / 'history.csv')
    else:
        callback = make(
            save_dir=tmp_path / 'file' / 'run', **({} if make is TrainingCheckpoint else {'monitor': 'train_loss'})
        )
    model = mlp(backend)
    before = encoder(model).weights()
    with pytest.raises(ArgumentError, match=r'file is a file\. Name a folder that you may write to'):
        finetuner.fit(model, clusters(), epochs=1, callbacks=[callback])
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.backends('torch')
def test_every_damaged_file_of_a_checkpoint_is_found(backend, tmp_path, said):
    saving = TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2)
    finetuner.fit(mlp(backend), clusters(), epochs=2, loss='ArcFaceLoss', callbacks=[saving])
    last = tmp_path / 'saved_model_epoch_02'
    names = {path.name for path in last.iterdir()}
    kinds = ('callbacks', 'learned', 'memory', 'optimizer', 'weights')
    assert names == {f'{kind}.safetensors' for kind in kinds} | {'state.json', 'training.json', artifact.MANIFEST}
    for name in sorted(names):
        path = last / name
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], bytes([whole[0] ^ 1]) + whole[1:], None):
            path.unlink() if content is None else path.write_bytes(content)
            with pytest.raises(CheckpointError, match=name):
                artifact.read(last)
        path.write_bytes(whole)
    (last / artifact.MANIFEST).unlink()
    with pytest.raises(CheckpointError, match=rf"manifest\.json.*resume='{tmp_path}' takes the newest whole one"):
        finetuner.fit(mlp(backend), clusters(), epochs=2, loss='ArcFaceLoss', resume=last)
    finetuner.fit(mlp(backend), clusters(), epochs=2, loss='ArcFaceLoss', resume=tmp_path)
    assert 'Going on from' in said() and 'saved_model_epoch_01, after 1 updates' in said()
