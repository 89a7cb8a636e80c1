"""Tailor within `fit`: a general model goes in, the tuned embedding model made of it comes out."""

import numpy as np
import pytest

import finetuner as ft
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from tests.models import clusters, mlp


def test_the_lines_of_the_design(backend):
    general_model = mlp(backend, (10, 64, 64, 5))
    train_data = clusters()
    before = encoder(general_model).weights()

    embed_model = ft.fit(general_model,
                         train_data,
                         freeze_layer=-1,
                         output_dim=128)  # fmt: skip

    assert embed_model is not general_model
    assert ft.embed(embed_model, train_data[0]).shape == (len(train_data[0]), 128)
    after = encoder(general_model).weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert ft.history(embed_model).epochs
    assert ft.evaluate(embed_model, train_data)['map_at_r'] > 0.5


def test_what_is_frozen_stays_and_the_rest_learns(backend):
    general_model = mlp(backend, (10, 64, 64, 5))
    kernels = [w for w in encoder(general_model).weights().values() if w.ndim == 2]
    tuned = ft.fit(general_model, clusters(), epochs=1, freeze_layer=-1, output_dim=16)
    found = [w for w in encoder(tuned).weights().values() if w.ndim == 2]
    same = [any(w.shape == k.shape and np.array_equal(w, k) for w in found) for k in kernels]
    assert same[0]
    assert not all(same)


def test_without_its_arguments_a_model_is_tuned_in_place(backend):
    model = mlp(backend)
    assert ft.fit(model, clusters(), epochs=1) is model
    assert ft.fit(model, clusters(), epochs=1, to_embedding_model=False) is model


def test_arguments_that_contradict(backend):
    with pytest.raises(ArgumentError, match='output_dim'):
        ft.fit(mlp(backend), clusters(), to_embedding_model=False, output_dim=8)
