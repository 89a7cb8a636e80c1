"""Tailor within `fit`: a general model goes in, the tuned embedding model made of it comes out."""

import numpy as np
import pytest

import finetuner as ft
from finetuner.callback import TrainingCheckpoint
from finetuner.errors import ArgumentError, ModelError
from finetuner.inference import encoder, leaves
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


def test_a_classifier_and_a_model_of_tokens_are_tailored_unasked(hands, case, caplog):
    # Whatever the general model is: what comes back gives (B, D), and the general model is as it was.
    general_model, inputs = case.build(), case.inputs()
    labels = [0, 0, 1, 1]
    before = hands.weights(general_model)
    if case.name in hands.AS_THEY_ARE:
        assert ft.fit(general_model, list(enumerate(labels)), **_quick(inputs)) is general_model
        return
    with caplog.at_level('INFO', 'finetuner'):
        tuned = ft.fit(general_model, list(enumerate(labels)), **_quick(inputs))
    assert tuned is not general_model and 'to_embedding_model=False' in caplog.text
    assert hands.call(tuned, inputs).ndim == 2
    after = hands.weights(general_model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert ft.fit(tuned, list(enumerate(labels)), **_quick(inputs)) is tuned


def _quick(inputs):
    # Items are numbers of rows, so that inputs of any form can be batches.
    def batch(items):
        return leaves(lambda x: x[list(items)], inputs)

    return {'epochs': 1, 'batch_size': 4, 'num_items_per_class': 2, 'collate_fn': batch, 'learning_rate': 1e-6}


def test_the_size_of_an_item_turns_it_on_too(backend):
    model = mlp(backend)
    tuned = ft.fit(model, clusters(), epochs=1, input_size=(10,))
    assert tuned is not model and ft.embed(tuned, clusters()[0]).shape == ft.embed(model, clusters()[0]).shape
    tuned = ft.fit(model, clusters(), epochs=1, input_size=(10,), input_dtype='float32', output_dim=3)
    assert ft.embed(tuned, clusters()[0]).shape[1] == 3


def test_the_seed_is_that_of_the_head_too(backend):
    vectors = [
        ft.embed(ft.fit(mlp(backend), clusters(), epochs=1, output_dim=4, seed=seed), clusters()[0])
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2])


def test_a_training_of_what_was_tailored_goes_on_where_it_stopped(backend, tmp_path):
    def tuned(**options):
        made = ft.fit(
            mlp(backend, (10, 64, 64, 5)), clusters(), epochs=2, freeze_layer=-1, output_dim=8,
            callbacks=[TrainingCheckpoint(save_dir=tmp_path / 'all', last_k_epochs=2)], **options,
        )  # fmt: skip
        return ft.embed(made, clusters()[0])

    whole = tuned()
    first = sorted((tmp_path / 'all').iterdir())[0]
    np.testing.assert_array_equal(tuned(resume=first), whole)


@pytest.mark.parametrize(
    'options, message',
    [
        ({'to_embedding_model': False, 'output_dim': 8}, 'output_dim'),
        ({'to_embedding_model': False, 'input_size': (10,)}, 'input_size'),
        ({'input_dtype': 'float32'}, 'give both'),
        ({'input_size': (11,)}, 'input_size'),
        ({'layer_name': 'nothing'}, 'no layer'),
        ({'freeze': True}, 'no head to train'),
    ],
)
def test_what_cannot_be_is_refused_before_the_training(backend, options, message):
    with pytest.raises((ArgumentError, ModelError), match=message):
        ft.fit(mlp(backend), clusters(), **options)
