"""What people call: lists, tables, errors, and models that are used on."""

import copy
import io
import json

import numpy as np
import pytest
from rich.console import Console

import finetuner
from finetuner.errors import ArgumentError, CheckpointError, ModelError
from finetuner.inference import encoder
from finetuner.tailor import Recipe, rebuild, recipe_of, summary
from finetuner.tailor.needed import as_needed, lack
from finetuner.tailor.table import table
from finetuner.tailor.tailoring import few

pytestmark = pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')


@pytest.fixture
def mlp(hands):
    case = hands.CASES[0]
    return case.build(), case.inputs()


def printed(layers, **options):
    out = io.StringIO()
    Console(file=out, width=200).print(table(layers, **options))
    return out.getvalue()


def test_a_summary_is_data_and_its_table_shows_every_name(case):
    model, inputs = case.build(), case.inputs()
    layers = summary(model, inputs=inputs)
    text = printed(layers, unfold=True)
    assert all(layer.name in text and layer.path in text for layer in layers)
    assert f'{layers[-1].parameters:,}' in text
    folded = printed(layers, unfold=False)
    assert len(folded.splitlines()) <= len(text.splitlines()) + 1
    json.dumps(layers)


def test_it_embeds_data_and_says_how_it_was_made(mlp, hands):
    model, inputs = mlp
    tailored = finetuner.to_embedding_model(model, inputs=inputs, output_dim=6, normalize=True)
    vectors = finetuner.embed(tailored, inputs)
    assert vectors.shape == (len(inputs), 6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    recipe = Recipe.from_dict(json.loads(json.dumps(recipe_of(tailored).to_dict())))
    assert finetuner.embed(rebuild(model, recipe, inputs), inputs).shape == vectors.shape
    finetuner.display(tailored, inputs=inputs)


def test_it_learns(mlp):
    model, inputs = mlp
    labels = np.arange(len(inputs)) % 2
    tailored = finetuner.to_embedding_model(model, inputs=inputs, freeze_layer=-1, output_dim=6)
    data = (np.concatenate([inputs] * 4), np.concatenate([labels] * 4))
    before = finetuner.embed(tailored, inputs)
    assert finetuner.fit(tailored, data, epochs=1, device='cpu') is tailored
    assert not np.array_equal(finetuner.embed(tailored, inputs), before)


def test_the_shape_of_one_item_is_enough(mlp):
    model, inputs = mlp
    layers = summary(model, inputs.shape[1:], 'float32')
    assert [x[:5] for x in layers] == [x[:5] for x in summary(model, inputs=inputs)]


def test_one_item_is_enough_and_many_cost_no_more(mlp):
    model, inputs = mlp
    expected = summary(model, inputs=inputs)
    assert summary(model, inputs=inputs[:1]) == expected
    assert summary(model, inputs=np.concatenate([inputs] * 5)) == expected
    assert few({'a': np.zeros((9, 2)), 'b': 3.0})['a'].shape == (4, 2)


def test_what_cannot_be_is_refused_with_what_to_write(mlp, hands):
    model, inputs = mlp
    names = [layer.name for layer in summary(model, inputs=inputs)]

    def refused(message, **options):
        with pytest.raises(ArgumentError, match=message):
            finetuner.to_embedding_model(model, **{'inputs': inputs, **options})

    refused(r'no layer.*Did you mean', layer_name=f'{names[0]}0')
    refused('no layer', freeze=['nothing'])
    refused('no head to train', freeze=True)
    refused('not both', input_size=(3,))
    refused('give both, or neither', inputs=None, input_dtype='int64')
    refused('from -', freeze_layer=9)
    refused("no argument 'layername'.*layer_name", layername='x')
    with pytest.raises(ModelError, match='input_size'):
        finetuner.to_embedding_model(model, inputs=inputs[:, :1, :1])


def test_a_classifier_lacks_something_and_an_embedding_model_nothing(mlp):
    model, inputs = mlp
    found = lack(model, inputs)
    assert found.sure and 'classification head' in found.why
    tailored = finetuner.to_embedding_model(model, inputs=inputs)
    assert lack(tailored, inputs) is None


def test_it_is_tailored_when_asked_for_or_needed(mlp, hands):
    model, inputs = mlp
    assert as_needed(model, inputs, False) is model
    made = as_needed(model, inputs)
    assert made is not model and as_needed(made, inputs) is made
    assert hands.call(as_needed(made, inputs, output_dim=4), inputs).shape == (4, 4)
    assert as_needed(made, inputs, freeze=False, freeze_layer=None) is made
    assert as_needed(made, inputs, freeze=[]) is made
    with pytest.raises(ArgumentError, match='expected True, False or None'):
        as_needed(made, inputs, 'yes')
    assert as_needed(made, inputs, True) is not made
    with pytest.raises(ArgumentError, match=r"to_embedding_model=False.*'output_dim'"):
        as_needed(model, inputs, False, output_dim=4)


def test_what_was_attached_is_not_cut_off_again(mlp, hands):
    model, inputs = mlp
    tailored = finetuner.to_embedding_model(model, inputs=inputs, output_dim=10)
    vectors = hands.call(tailored, inputs)
    again = as_needed(tailored, inputs, True, freeze_layer=1)
    np.testing.assert_allclose(hands.call(again, inputs), vectors, rtol=1e-6, atol=1e-6)
    assert len(hands.trainable(again)) < len(hands.trainable(tailored))


@pytest.mark.backends('torch', 'paddle')
def test_a_copy_knows_how_it_was_made(mlp, hands, tmp_path):
    model, inputs = mlp
    tailored = finetuner.to_embedding_model(model, inputs=inputs, output_dim=10)
    twin = copy.deepcopy(tailored)
    assert recipe_of(twin) == recipe_of(tailored) and lack(twin, inputs) is None
    again = finetuner.load(finetuner.save(twin, tmp_path / 'model'), model)
    np.testing.assert_allclose(hands.call(again, inputs), hands.call(tailored, inputs), rtol=1e-6, atol=1e-6)


@pytest.mark.backends('torch', 'paddle')
def test_what_was_tailored_twice_is_loaded_into_what_it_was_made_of(mlp, hands, tmp_path):
    model, inputs = mlp
    once = finetuner.to_embedding_model(model, inputs=inputs, output_dim=10)
    twice = finetuner.to_embedding_model(once, inputs=inputs, output_dim=6, seed=7)
    folder = finetuner.save(twice, tmp_path / 'model')
    for given in (model, once, twice):
        loaded = finetuner.load(folder, given)
        np.testing.assert_allclose(hands.call(loaded, inputs), hands.call(twice, inputs), rtol=1e-6, atol=1e-6)


def test_an_error_leaves_the_model_as_it_was_also_in_place(mlp, hands):
    model, inputs = mlp
    before = hands.trainable(model)
    with pytest.raises(ModelError, match='projection_head cannot follow'):
        finetuner.to_embedding_model(
            model, inputs=inputs, freeze=True, inplace=True, projection_head=hands.dense(999, 3)
        )
    assert hands.trainable(model) == before


def test_its_weights_are_saved_and_loaded(mlp, tmp_path):
    model, inputs = mlp
    tailored = finetuner.to_embedding_model(model, inputs=inputs, freeze_layer=1, output_dim=6)
    vectors = finetuner.embed(tailored, inputs)
    finetuner.save(tailored, tmp_path / 'model')
    again = rebuild(model, recipe_of(tailored), inputs, seed=1)
    assert not np.array_equal(finetuner.embed(again, inputs), vectors)
    np.testing.assert_array_equal(finetuner.embed(finetuner.load(tmp_path / 'model', again), inputs), vectors)


def test_it_is_saved_and_loaded_whole_or_into_the_general_model(case, hands, tmp_path):
    inputs = case.inputs()
    tailored = finetuner.to_embedding_model(case.build(), case.layer, inputs=inputs, freeze=True, output_dim=6, seed=3)
    vectors, trained = hands.call(tailored, inputs), hands.trainable(tailored)
    folder = finetuner.save(tailored, tmp_path / 'model')
    again = finetuner.load(folder, case.build())
    np.testing.assert_allclose(hands.call(again, inputs), vectors, rtol=1e-6, atol=1e-6)
    assert recipe_of(again) == recipe_of(tailored) and len(hands.trainable(again)) == len(trained)
    facts = encoder(tailored).facts()
    if not facts['architecture'] and not facts['tailored']['general']['architecture']:
        with pytest.raises(CheckpointError, match='build the general model'):
            finetuner.load(folder)
        return
    whole = finetuner.load(folder)
    np.testing.assert_allclose(hands.call(whole, inputs), vectors, rtol=1e-6, atol=1e-6)
    assert recipe_of(whole) == recipe_of(tailored) and hands.trainable(whole) == trained
    assert lack(whole, inputs) is None


def test_the_weights_are_shared_when_asked_for(mlp, hands):
    model, inputs = mlp
    tailored = finetuner.to_embedding_model(model, inputs=inputs, output_dim=6, inplace=True)
    before = hands.weights(model)
    hands.train(tailored, inputs)
    after = hands.weights(model)
    assert any(not np.array_equal(before[path], after[path]) for path in before)
