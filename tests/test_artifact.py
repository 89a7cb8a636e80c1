"""Saving and loading models: whole where the framework allows it, weights into a given model elsewhere."""

import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import BestModelCheckpoint
from finetuner.errors import ArgumentError, CheckpointError, StorageError
from tests.disks import on_a_small_disk
from tests.fresh import run
from tests.models import clusters, framework, mlp


def test_save_and_load(backend, tmp_path):
    model = mlp(backend, noisy=True)
    finetuner.fit(model, clusters(), epochs=1)
    vectors = finetuner.embed(model, clusters()[0])
    path = finetuner.save(model, tmp_path / 'model')
    if framework(backend) == 'keras':
        restored = finetuner.load(path)
        assert type(restored).__name__ == 'Sequential'
    else:
        with pytest.raises(CheckpointError, match=r'weights of Sequential and not its architecture: build the model'):
            finetuner.load(path)
        restored = finetuner.load(path, mlp(backend, noisy=True, seed=5))
    np.testing.assert_allclose(finetuner.embed(restored, clusters()[0]), vectors, atol=1e-6)
    finetuner.save(model, path)  # a second time, in its place


def test_a_saved_model_is_checked(backend, tmp_path):
    path = finetuner.save(mlp(backend), tmp_path / 'model')
    with pytest.raises(CheckpointError, match='of another model'):
        finetuner.load(path, mlp(backend, (10, 32, 32)))
    with pytest.raises(CheckpointError, match='There is no folder'):
        finetuner.load(tmp_path / 'none', mlp(backend))
    weights = path / 'weights.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1] + b'!')
    with pytest.raises(CheckpointError, match='is damaged'):
        finetuner.load(path, mlp(backend))


def test_the_best_model_is_loaded_like_a_saved_one(backend, tmp_path):
    model = mlp(backend)
    best = BestModelCheckpoint(monitor='train_loss', save_dir=tmp_path)
    finetuner.fit(model, clusters(), epochs=1, callbacks=[best])
    path = tmp_path / 'best_model_train_loss'
    restored = finetuner.load(path, None if framework(backend) == 'keras' else mlp(backend, seed=5))
    np.testing.assert_allclose(
        finetuner.embed(restored, clusters()[0]), finetuner.embed(model, clusters()[0]), atol=1e-6
    )


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
def test_keras_models_of_own_classes(backend, tmp_path):
    keras = pytest.importorskip('keras')

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(4)

        def call(self, x):
            return self.layer(x)

    model = Own()
    finetuner.fit(model, clusters(), epochs=1)  # builds it
    vectors = finetuner.embed(model, clusters()[0])
    path = finetuner.save(model, tmp_path / 'model')
    with pytest.raises(CheckpointError, match=r"Could not locate class 'Own'. Build it"):
        finetuner.load(path)
    other = Own()
    with pytest.raises(CheckpointError, match='has no weights yet: call it once'):
        finetuner.load(path, other)
    finetuner.embed(other, clusters()[0][:2])
    np.testing.assert_allclose(finetuner.embed(finetuner.load(path, other), clusters()[0]), vectors, atol=1e-6)


def test_what_is_not_ours_is_not_overwritten(tmp_path):
    (tmp_path / 'mine.txt').write_text('precious')
    with pytest.raises(ArgumentError, match='was not written by Finetuner'):
        artifact.write(tmp_path, {}, {})
    assert (tmp_path / 'mine.txt').read_text() == 'precious'


def test_an_artifact_comes_back_as_it_was(tmp_path):
    arrays = {'weights': {'a': np.arange(3), 'b': np.float32([[1, 2]]).T}}
    artifact.write(tmp_path / 'deep' / 'folder', arrays, {'facts': {'one': np.float32(1)}})
    back, facts = artifact.read(tmp_path / 'deep' / 'folder')
    np.testing.assert_array_equal(back['weights']['a'], arrays['weights']['a'])
    np.testing.assert_array_equal(back['weights']['b'], arrays['weights']['b'])
    assert facts == {'facts': {'one': 1}}
    assert [path.name for path in (tmp_path / 'deep').iterdir()] == ['folder']


def test_a_failed_write_leaves_the_old_one(tmp_path):
    artifact.write(tmp_path / 'folder', {}, {'facts': 1})
    with pytest.raises(TypeError):
        artifact.write(tmp_path / 'folder', {}, {'facts': object()})
    assert artifact.read(tmp_path / 'folder')[1] == {'facts': 1}
    assert [path.name for path in tmp_path.iterdir()] == ['folder']


ARRAYS = {'weights': {'a': np.arange(3), 'b': np.ones((2, 2), np.float32)}, 'empty': {}}


def test_every_flipped_bit_is_found(tmp_path):
    folder = artifact.write(tmp_path / 'folder', ARRAYS, {'facts': {'one': 1}})
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[place // 8] ^= 1 << place % 8
            path.write_bytes(flipped)
            with pytest.raises(CheckpointError, match=r'is damaged|is missing'):
                artifact.read(folder)
        path.write_bytes(whole)
    artifact.read(folder)


@pytest.mark.parametrize('name', ['weights.safetensors', 'facts.json', artifact.MANIFEST])
def test_a_file_that_is_cut_empty_or_gone(tmp_path, name):
    folder = artifact.write(tmp_path / 'folder', ARRAYS, {'facts': {'one': 1}})
    path = folder / name
    for content in (path.read_bytes()[:-1], b''):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f'{name} is damaged'):
            artifact.read(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=f'{name}'):
        artifact.read(folder)
    path.mkdir()
    with pytest.raises(CheckpointError, match=f'{name}'):
        artifact.read(folder)


@pytest.mark.parametrize('manifest', ['[]', '{}', 'null', '{"sha256": [1]}', '{"sha256": {"facts.json": 3}}'])
def test_a_manifest_that_says_nothing(tmp_path, manifest):
    folder = artifact.write(tmp_path / 'folder', ARRAYS, {'facts': {'one': 1}})
    (folder / artifact.MANIFEST).write_text(manifest)
    with pytest.raises(CheckpointError, match='is damaged'):
        artifact.read(folder)
    with pytest.raises(CheckpointError, match='There is no folder'):
        artifact.read(folder / 'facts.json')


def test_what_somebody_adds_is_not_read(tmp_path):
    folder = artifact.write(tmp_path / 'folder', ARRAYS, {'facts': {'one': 1}})
    (folder / 'more.safetensors').write_text('none')
    assert artifact.read(folder)[0].keys() == {'weights', 'empty'}


def test_interrupted_at_any_moment_the_old_or_the_new_one_is_whole(tmp_path):
    """A timer interrupts where Ctrl-C would; each time a little later."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    folder, known = tmp_path / 'folder', 0
    artifact.write(folder, {'weights': {'a': np.zeros(50_000)}}, {'facts': 0})
    before = signal.signal(signal.SIGALRM, interrupt)
    finished = 0
    try:
        for turn in range(1, 200):
            try:
                signal.setitimer(signal.ITIMER_REAL, turn * 1e-4)
                artifact.write(folder, {'weights': {'a': np.full(50_000, turn)}}, {'facts': turn})
                signal.setitimer(signal.ITIMER_REAL, 0)
                finished += 1
            except KeyboardInterrupt:
                pass
            arrays, facts = artifact.read(folder)
            assert facts['facts'] in (known, turn)
            known = facts['facts']
            np.testing.assert_array_equal(arrays['weights']['a'], np.full(50_000, known))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert 0 < finished < 199
    artifact.write(folder, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ['folder']


BETWEEN = """
import os, signal, sys
from pathlib import Path
from finetuner import artifact

def pressed(event, arguments):
    if event == 'os.rename' and os.fspath(arguments[0]).endswith('.writing'):
        os.kill(os.getpid(), signal.SIGINT)

folder = artifact.write(Path(sys.argv[1]) / 'folder', {}, {'facts': 1})
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(pressed)
try:
    artifact.write(folder, {}, {'facts': 2})
except KeyboardInterrupt:
    assert artifact.read(folder)[1] == {'facts': 1}
    assert [path.name for path in folder.parent.iterdir()] == ['folder']
    print('whole')
"""


def test_interrupted_where_the_new_one_takes_the_place_of_the_old_one(tmp_path):
    assert run(BETWEEN, str(tmp_path)).stdout == 'whole\n'


def test_what_a_killed_process_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (tmp_path / f'.folder.{pid}.writing').mkdir()
    artifact.write(tmp_path / 'folder', {}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'.folder.{os.getppid()}.writing', 'folder']


FULL = """
import numpy as np, sys
from pathlib import Path
from finetuner import artifact
from finetuner.errors import StorageError

home = Path(sys.argv[1])
old = artifact.write(home / 'folder', {'weights': {'a': np.zeros(1000)}}, {'facts': 1})
try:
    artifact.write(home / 'folder', {'weights': {'a': np.zeros(1_000_000)}}, {'facts': 2})
except StorageError as error:
    print(error.errno, error)
assert artifact.read(old)[1] == {'facts': 1}
assert [path.name for path in home.iterdir()] == ['folder']
"""


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    with artifact.whole_file(path) as fresh:
        fresh.write_text('old')
        assert not path.exists()
    with pytest.raises(RuntimeError), artifact.whole_file(path) as fresh:
        fresh.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old' and list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_one_and_no_debris(tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    printed = on_a_small_disk(FULL, disk)
    assert printed.startswith(f'28 {disk}/folder could not be written: No space left on device. It needs 8.0 MB')
    assert '1.0 MB are free there' in printed


def test_a_file_that_may_not_be_so_large(tmp_path):
    artifact.write(tmp_path / 'folder', {}, {'facts': 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageError, match=r'folder could not be written: File too large. It needs 0\.8 MB'):
            artifact.write(tmp_path / 'folder', {'weights': {'a': np.zeros(100_000)}}, {'facts': 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert artifact.read(tmp_path / 'folder')[1] == {'facts': 1}
    assert [path.name for path in tmp_path.iterdir()] == ['folder']
