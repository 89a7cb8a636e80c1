"""Saving and loading models: whole where the framework allows it, weights into a given model elsewhere."""

import numpy as np
import pytest

import finetuner
from finetuner import artifact
from finetuner.callback import BestModelCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
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
