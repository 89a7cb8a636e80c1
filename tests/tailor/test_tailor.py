"""What every tailored model promises, whatever its framework and however it was cut.

`hands` is the module `models_<framework>`. Beside `CASES` it has, on models that are tailored or not:
`call(model, inputs, training=False) -> array`, `activation(model, inputs, case) -> array` (by a hook of the framework,
in evaluation mode), `weights(model) -> {path: array}` and `statistics(model) -> {path: array}`, `trainable(model) ->
set of paths`, `reached(model, inputs) -> set of paths` with a slope from the sum of squares of the output in training
mode, `train(model, inputs)`: three steps of SGD, `reloaded(model, fresh, folder)`: the model's weights saved in the
framework's own way and loaded into `fresh`, and `dense(width_in, width_out)`: a module. The paths of a tailored model
may have something before the paths of the general one, and the paths of the head may be anything.
"""

import json

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.inference import leaves
from finetuner.tailor.base import Arguments, Recipe, apply, plan, tailor
from finetuner.tailor.kernels import kernels
from finetuner.tailor.layers import PARAMETER
from tests.tailor.case import Case

pytestmark = pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')


def layers_of(model, inputs):
    return tailor(model).trace(model, inputs)


def planned(model, inputs, **options):
    worker = tailor(model)
    return plan(worker.trace(model, inputs), Arguments(**options), worker.channels_first).recipe


def general(path, paths):
    """The path in the general model of a path in the tailored one; None if it is the head's."""
    found = [p for p in paths if path == p or path.endswith(f'.{p}')]
    return max(found, key=len) if found else None


def used(model, case, hands):
    """The weights that train and that these inputs come to."""
    return {path for path in hands.trainable(model) if general(path, case.idle) is None}


def test_the_list_of_layers_is_complete_and_leaves_the_model_alone(case, hands):
    model, inputs = case.build(), case.inputs()
    before = {**hands.weights(model), **hands.statistics(model)}
    layers = layers_of(model, inputs)
    after = {**hands.weights(model), **hands.statistics(model)}
    assert layers[-1].path == '' and layers[-1].parameters == sum(w.size for w in hands.weights(model).values())
    assert before.keys() == after.keys() and all(np.array_equal(before[k], after[k]) for k in before)
    assert len({(x.path, x.call) for x in layers}) == len(layers)
    assert any(x.path == case.path and x.embeds for x in layers)


def test_the_cut_gives_what_the_layer_gave(case, hands):
    model, inputs = case.build(), case.inputs()
    expected = hands.activation(model, inputs, case)
    recipe = planned(model, inputs, layer_name=case.layer)
    assert (recipe.at, recipe.call) == (case.path, case.call)
    cut = apply(model, recipe._replace(pooling=None), inputs)
    assert cut.way == case.way
    np.testing.assert_allclose(hands.call(cut.model, inputs), expected, rtol=1e-6, atol=1e-6)
    one = leaves(lambda x: x[:1], inputs)  # another number of items
    np.testing.assert_allclose(hands.call(cut.model, one), expected[:1], rtol=1e-5, atol=1e-5)


def test_what_was_cut_is_cut_again(case, hands):
    model, inputs = case.build(), case.inputs()
    whole = layers_of(model, inputs)
    cut = apply(model, planned(model, inputs, layer_name=case.layer)._replace(pooling=None), inputs).model
    left = layers_of(cut, inputs)
    often = {x.path for x in whole if x.call > 1}
    early = next(
        (x for x in left if x.embeds and x.path and general(x.path, {y.path for y in whole}) not in often), None
    )
    if early is None:
        pytest.skip('in a graph, the calls that are left are counted anew')
    at = general(early.path, {x.path for x in whole})
    expected = apply(model, Recipe(at, early.call), inputs).model
    again = apply(cut, Recipe(early.path, early.call), inputs).model
    np.testing.assert_allclose(hands.call(again, inputs), hands.call(expected, inputs), rtol=1e-6, atol=1e-6)
    assert {general(p, hands.weights(model)) for p in hands.weights(again)} == {
        general(p, hands.weights(model)) for p in hands.weights(expected)
    }


def test_the_last_layer_of_what_was_cut_is_listed_and_can_be_the_last_again(case, hands):
    model, inputs = case.build(), case.inputs()
    cut = apply(model, planned(model, inputs, layer_name=case.layer)._replace(pooling=None), inputs).model
    paths = {x.path for x in layers_of(model, inputs)}
    last = [x for x in layers_of(cut, inputs) if x.path and general(x.path, paths) == case.path and x.embeds]
    if case.path and not last and case.main is not Case._field_defaults['main']:
        pytest.skip('the cut is at a layer within it, which made the main one of its tensors')
    assert bool(last) == bool(case.path)
    for layer in last[-1:]:
        again = apply(cut, Recipe(layer.path, layer.call), inputs).model
        np.testing.assert_allclose(hands.call(again, inputs), hands.call(cut, inputs), rtol=1e-6, atol=1e-6)


def test_it_embeds_and_weights_before_the_cut_are_unchanged(case, hands):
    model, inputs = case.build(), case.inputs()
    before = hands.weights(model)
    cut = apply(model, planned(model, inputs, layer_name=case.layer), inputs)
    assert hands.call(cut.model, inputs).shape == (4, case.width)
    for path, value in hands.weights(cut.model).items():
        np.testing.assert_array_equal(value, before[general(path, before)])
    hands.train(cut.model, inputs)
    assert all(np.array_equal(value, before[path]) for path, value in hands.weights(model).items())


def test_the_slope_reaches_all_that_is_left_and_nothing_else_is_trained(case, hands):
    model, inputs = case.build(), case.inputs()
    cut = apply(model, planned(model, inputs, layer_name=case.layer, output_dim=5), inputs)
    assert hands.call(cut.model, inputs).shape == (4, 5)
    assert hands.reached(cut.model, inputs) == used(cut.model, case, hands)


def test_frozen_is_exactly_what_was_asked_statistics_too(case, hands):
    model, inputs = case.build(), case.inputs()
    heavy = [x.path for x in layers_of(model, inputs) if x.parameters and x.path and x.kind != PARAMETER]
    recipe = planned(model, inputs, layer_name=case.layer, freeze=[heavy[0]], output_dim=5)
    cut = apply(model, recipe, inputs)
    paths = hands.weights(model)
    frozen = {p for p in hands.weights(cut.model) if (g := general(p, paths)) and _within(g, heavy[0])}
    assert frozen and hands.trainable(cut.model) == set(hands.weights(cut.model)) - frozen
    assert hands.reached(cut.model, inputs) == used(cut.model, case, hands)
    before = {**hands.weights(cut.model), **hands.statistics(cut.model)}
    hands.train(cut.model, inputs)
    after = {**hands.weights(cut.model), **hands.statistics(cut.model)}
    still = {p for p in before if _within(general(p, {**paths, **hands.statistics(model)}) or '', heavy[0])}
    assert frozen <= still and all(np.array_equal(before[p], after[p]) for p in still)


def _within(path, block):
    return path == block or path.startswith(f'{block}.')


def test_freezing_all_trains_the_head_alone(case, hands):
    model, inputs = case.build(), case.inputs()
    cut = apply(model, planned(model, inputs, layer_name=case.layer, freeze=True, output_dim=5), inputs)
    trained = hands.trainable(cut.model)
    before = {**hands.weights(cut.model), **hands.statistics(cut.model)}
    hands.train(cut.model, inputs)
    after = {**hands.weights(cut.model), **hands.statistics(cut.model)}
    assert {p for p in before if not np.array_equal(before[p], after[p])} <= trained
    assert sum(before[p].size for p in trained) == case.width * 5 + 5


def test_a_recipe_as_json_makes_the_same_model_again(case, hands, tmp_path):
    model, inputs = case.build(), case.inputs()
    recipe = planned(model, inputs, layer_name=case.layer, output_dim=5, normalize=True)
    first = apply(model, recipe, inputs).model
    hands.train(first, inputs)
    again = apply(case.build(), Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))), inputs).model
    again = hands.reloaded(first, again, tmp_path)
    vectors = hands.call(again, inputs)
    np.testing.assert_allclose(vectors, hands.call(first, inputs), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_the_head_has_the_same_weights_everywhere(hands):
    case = hands.CASES[0]
    model, inputs = case.build(), case.inputs()
    width = case.width
    body = sum(w.size for w in hands.weights(apply(model, planned(model, inputs), inputs).model).values())
    for options, size in [
        ({'output_dim': 8}, width * 8 + 8),
        ({'projection_head': 'identity'}, width * width + width),
        ({'projection_head': 'mlp', 'output_dim': 8}, width * width + 2 * width + width * 8 + 16),
    ]:
        cut = apply(model, planned(model, inputs, **options), inputs)
        assert sum(w.size for w in hands.weights(cut.model).values()) == body + size


def test_a_head_that_starts_as_the_identity_changes_nothing(hands):
    case = hands.CASES[0]
    model, inputs = case.build(), case.inputs()
    plain = apply(model, planned(model, inputs), inputs).model
    cut = apply(model, planned(model, inputs, projection_head='identity'), inputs).model
    np.testing.assert_allclose(hands.call(cut, inputs), hands.call(plain, inputs), rtol=1e-6, atol=1e-6)


def test_heads_start_from_the_same_numbers_in_every_framework(hands):
    case = hands.CASES[0]
    model, inputs = case.build(), case.inputs()
    head = (('linear', case.width, 6), ('linear', 6, 5, 'unbiased'))
    recipe = planned(model, inputs)._replace(head=head)
    body = hands.call(apply(model, recipe._replace(head=()), inputs).model, inputs)
    for seed in (1, 2):
        first, second = kernels(head, seed)
        vectors = hands.call(apply(model, recipe, inputs, seed=seed).model, inputs)
        np.testing.assert_allclose(vectors, body @ first @ second, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(kernels(head, 1)[0], kernels(head, 2)[0])


def test_a_module_of_ones_own_is_a_head(hands):
    case = hands.CASES[0]
    model, inputs = case.build(), case.inputs()
    head = hands.dense(case.width, 7)
    recipe = planned(model, inputs, projection_head=head)
    cut = apply(model, recipe, inputs, projection_head=head)
    assert hands.call(cut.model, inputs).shape == (4, 7)
    with pytest.raises(ArgumentError, match='projection_head'):
        apply(model, recipe, inputs)
