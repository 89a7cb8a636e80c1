"""A compiled training comes to the same weights, and leaves a model that is not compiled."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, ModelError
from finetuner.inference import encoder
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4}
COMPILED = ('torch', 'keras-tensorflow', 'keras-jax', 'paddle')


@pytest.mark.backends(*COMPILED)
def test_it_comes_to_the_same_weights(backend, monkeypatch):
    if backend == 'torch':
        from torch._inductor import config

        monkeypatch.setattr(config, 'compile_threads', 1)  # more are processes that stay
    noisy = backend != 'keras-tensorflow'  # whose compiler draws its dropout in another way
    whole = finetuner.fit(mlp(backend, noisy=noisy), clusters(), **ARGUMENTS)
    model = mlp(backend, noisy=noisy)
    names = list(encoder(model).weights())
    assert finetuner.fit(model, clusters(), **ARGUMENTS, compile=True) is model
    assert list(encoder(model).weights()) == names
    for name, value in encoder(whole).weights().items():
        np.testing.assert_allclose(encoder(model).weights()[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert 'forward' not in vars(model)


@pytest.mark.backends('keras-torch')
def test_keras_on_torch_compiles_nothing(backend):
    with pytest.raises(ArgumentError, match='compile=True: Keras on torch compiles nothing.*KERAS_BACKEND=tensorflow'):
        finetuner.fit(mlp(backend), clusters(), **ARGUMENTS, compile=True)


@pytest.mark.backends('torch')
def test_what_cannot_be_compiled_is_refused(backend, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, 'cxx', ('no-such-compiler',))
    with pytest.raises(ModelError, match=r'torch.compile cannot compile Sequential.*Leave compile=True out.*g\+\+'):
        finetuner.fit(mlp(backend, (10, 7, 3)), clusters(), **ARGUMENTS, compile=True)
    with pytest.raises(ArgumentError, match="compile='yes': expected True or False"):
        finetuner.fit(mlp(backend), clusters(), **ARGUMENTS, compile='yes')
