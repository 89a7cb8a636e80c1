"""What importing costs, and that nothing is imported before it is needed."""

import json
from importlib import import_module

import pytest

import finetuner
from tests.fresh import run

FRAMEWORKS = ('torch', 'keras', 'tensorflow', 'jax', 'paddle', 'transformers', 'docarray', 'pandas', 'datasets')
LOADED = f"""
import json, sys
print(json.dumps([name for name in {FRAMEWORKS} if name in sys.modules]))
"""
FIT = """
import numpy as np
import finetuner
from tests.models import clusters, mlp
model = mlp('{backend}')
before = finetuner.embed(model, clusters()[0])
after = finetuner.embed(finetuner.fit(model, clusters(), epochs=1), clusters()[0])
assert before.shape == after.shape and not np.array_equal(before, after)
"""
# What may be loaded after training. `import keras` alone imports jax and pandas where they are installed.
KERAS = {'keras', 'jax', 'pandas'}
ALLOWED = {
    'torch': {'torch'},
    'keras-tensorflow': KERAS | {'tensorflow'},
    'keras-torch': KERAS | {'torch'},
    'keras-jax': KERAS,
    'paddle': {'paddle'},
}


def _loaded(output):
    return set(json.loads(output.strip().splitlines()[-1]))


def test_importing_imports_no_framework():
    assert _loaded(run('import finetuner' + LOADED).stdout) == set()


def test_importing_takes_less_than_300_ms_of_cpu_time():
    whole = 'import time\nimport finetuner\nprint(time.process_time())'
    seconds = min(float(run(whole).stdout) for _ in range(3))  # the least: what is left is not somebody else's work
    assert seconds < 0.3, f'{seconds:.3f} s, the start of Python included'


def test_using_numpy_only_parts_imports_no_framework():
    names = 'import finetuner\nfinetuner.fit, finetuner.evaluate, finetuner.callback.EvaluationCallback\n'
    assert _loaded(run(names + 'finetuner.losses.TripletLoss, finetuner.data.check' + LOADED).stdout) == set()


def test_training_imports_only_the_framework_of_the_model(backend):
    engine = {'KERAS_BACKEND': backend.removeprefix('keras-')} if backend.startswith('keras') else {}
    loaded = _loaded(run(FIT.format(backend=backend) + LOADED, **engine).stdout)
    assert loaded <= ALLOWED[backend]
    assert loaded & {'torch', 'keras', 'paddle'}


def test_dir_lists_every_public_name_and_each_can_be_had():
    assert set(finetuner.__all__) <= set(dir(finetuner))
    for name in finetuner.__all__:
        assert getattr(finetuner, name) is not None


@pytest.mark.parametrize(
    ('module', 'names'),
    [
        ('finetuner', 'fit embed encode evaluate save load history list_callbacks Document DocumentArray __version__'),
        ('finetuner.callback', 'BestModelCheckpoint EarlyStopping EvaluationCallback ProgressBarCallback EMA'),
        ('finetuner.callback', 'MLflowLogger TensorBoardLogger TrainingCheckpoint WandBLogger WiSEFTCallback'),
        ('finetuner.tuner.callback', 'BaseCallback BestModelCheckpoint TrainingCheckpoint'),
        ('finetuner.tuner.augmentation', 'vision_preprocessor'),
        ('finetuner.tuner.losses', 'SiameseLoss TripletLoss NTXentLoss get'),
        ('finetuner.data', 'check'),
    ],
)
def test_names_that_must_import(module, names):
    for name in names.split():
        assert getattr(import_module(module), name) is not None


@pytest.mark.backends('torch', 'keras-jax', 'paddle')
def test_the_tuners_of_the_original_import(request):
    from finetuner import tuner

    name = {'torch': 'PytorchTuner', 'keras-jax': 'KerasTuner', 'paddle': 'PaddleTuner'}
    assert getattr(tuner, name[request.config.getoption('--backend')]).__name__ == 'Tuner'


def test_all_callbacks_are_listed():
    from finetuner import callback

    found = finetuner.list_callbacks()
    assert set(found) == set(callback.__all__) - {'Callback', 'BaseCallback'}
    assert all(found[name] is getattr(callback, name) and found[name].__name__ == name for name in found)


def test_aliases_are_the_same_objects():
    import finetuner.callback
    import finetuner.tuner.callback
    import finetuner.tuner.callbacks
    import finetuner.tuner.losses

    assert finetuner.callback.EarlyStopping is finetuner.tuner.callbacks.EarlyStopping
    assert finetuner.tuner.callback.EarlyStopping is finetuner.tuner.callbacks.EarlyStopping
    assert finetuner.tuner.losses.TripletLoss is finetuner.losses.TripletLoss


@pytest.mark.parametrize(
    'module',
    ['finetuner', 'finetuner.callback', 'finetuner.data.augmentation', 'finetuner.tuner', 'finetuner.tuner.losses'],
)
def test_an_unknown_name_is_an_attribute_error(module):
    done = run(f'import {module}\n{module}.nothing', check=False)
    assert done.returncode == 1
    assert "has no attribute 'nothing'" in done.stderr
