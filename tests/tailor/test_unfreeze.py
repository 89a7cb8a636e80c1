"""What `unfreeze` promises: what was frozen is as it was before, for as much of it as the paths mean."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError
from finetuner.tailor.base import tailor
from finetuner.tailor.layers import PARAMETER, inside

pytestmark = pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')


@pytest.fixture
def normed(hands):
    """A case with statistics."""
    return next(case for case in hands.CASES if hands.statistics(case.build()) and case.name.startswith('cnn'))


def everything(hands, model):
    return {**hands.weights(model), **hands.statistics(model)}


def switch(model, path, trained):
    """Freeze a weight in the framework's own words, or let it train."""
    if hasattr(model, 'named_sublayers'):
        dict(model.named_parameters())[path].stop_gradient = not trained
    elif hasattr(model, 'weights'):
        from finetuner.backends.keras.places import paths

        paths(model)[path].trainable = trained
    else:
        dict(model.named_parameters())[path].requires_grad_(trained)


def test_a_part_of_what_is_frozen_trains_again(case, hands):
    model, inputs = case.build(), case.inputs()
    worker = tailor(model)
    rows = [x for x in worker.trace(model, inputs) if x.parameters and x.path]
    all_of_it = hands.trainable(model)
    worker.freeze(model, [''])
    assert hands.trainable(model) == set()
    for row in (rows[0], rows[-1]):
        worker.unfreeze(model, [row.path])
        part = {path for path in all_of_it if inside(path, row.path)}
        assert part and hands.trainable(model) == part
        assert {x.path for x in worker.trace(model, inputs) if x.path and x.trainable} >= {row.path}
        worker.freeze(model, [row.path])
        assert hands.trainable(model) == set()
    worker.unfreeze(model, [''])
    assert hands.trainable(model) == all_of_it


def test_every_weight_of_a_tailored_model_can_be_unfrozen_by_name(case, hands):
    model, inputs = case.build(), case.inputs()
    tailored = finetuner.to_embedding_model(model, case.layer, inputs=inputs, output_dim=3)
    trained = hands.trainable(tailored)
    rows = [x for x in finetuner.tailor.summary(tailored, inputs=inputs) if x.parameters and x.path]
    layers = [x.path for x in rows if x.kind != PARAMETER]
    leaves = [x for x in rows if not any(path.startswith(f'{x.path}.') for path in layers)]
    finetuner.freeze(tailored)
    finetuner.unfreeze(tailored, [x.path for x in leaves], inputs=inputs)
    missed = trained - hands.trainable(tailored)
    assert not [path for path in missed if not any(idle in path for idle in case.idle)]


def test_training_is_what_it_would_have_been(normed, hands):
    model, twin, inputs = normed.build(), normed.build(), normed.inputs()
    worker = tailor(model)
    worker.freeze(model, [''])
    worker.freeze(model, [''])  # twice is once
    before = everything(hands, model)
    for path, value in everything(hands, twin).items():
        np.testing.assert_array_equal(before[path], value)
    worker.unfreeze(model, [''])
    hands.train(model, inputs)
    hands.train(twin, inputs)
    after, expected = everything(hands, model), everything(hands, twin)
    assert any(not np.array_equal(after[path], before[path]) for path in hands.statistics(model))
    for path, value in expected.items():
        np.testing.assert_allclose(after[path], value, rtol=1e-6, err_msg=path)


def test_statistics_move_where_it_is_unfrozen_and_nowhere_else(normed, hands):
    model, inputs = normed.build(), normed.inputs()
    worker = tailor(model)
    norms = [x.path for x in worker.trace(model, inputs) if 'norm' in x.kind.lower()]
    worker.freeze(model, [''])
    worker.unfreeze(model, [norms[-1]])
    before = everything(hands, model)
    hands.train(model, inputs)
    after = everything(hands, model)
    changed = {path for path in before if not np.array_equal(after[path], before[path])}
    expected = {path for path in before if inside(path, norms[-1])}
    assert changed == {path for path in expected if 'num_batches' not in path or path in changed}
    assert changed & set(hands.statistics(model)) and changed & set(hands.weights(model))


def test_what_did_not_train_before_does_not_train_after(normed, hands):
    model, inputs = normed.build(), normed.inputs()
    worker = tailor(model)
    fixed = next(iter(hands.trainable(model)))
    switch(model, fixed, False)
    trained = hands.trainable(model)
    rows = [x.path for x in worker.trace(model, inputs) if x.parameters and x.path and x.kind != PARAMETER]
    worker.freeze(model, [next(path for path in rows if inside(fixed, path))])
    worker.freeze(model, [''])
    worker.unfreeze(model, [''])
    assert hands.trainable(model) == trained
    worker.unfreeze(model, [''])  # who froze it, and when, is not known any more
    assert hands.trainable(model) == trained | {fixed}


def test_a_copy_can_be_unfrozen(normed, hands):
    model = normed.build()
    worker = tailor(model)
    switch(model, next(iter(hands.trainable(model))), False)
    trained = hands.trainable(model)
    worker.freeze(model, [''])
    copy = worker.copy(model)
    worker.unfreeze(copy, [''])
    assert len(hands.trainable(copy)) == len(trained) > 0
    assert hands.trainable(model) == set()
    before = everything(hands, copy)
    hands.train(copy, normed.inputs())
    after = everything(hands, copy)
    assert any(not np.array_equal(after[path], before[path]) for path in hands.statistics(copy))


def test_names_and_patterns_of_layers(normed, hands):
    model, inputs = normed.build(), normed.inputs()
    layers = [x for x in finetuner.tailor.summary(model, inputs=inputs) if x.parameters and x.path]
    all_of_it = hands.trainable(model)
    assert finetuner.freeze(model) is model
    assert finetuner.unfreeze(model, layers[0].name, inputs=inputs) is model
    first = {path for path in all_of_it if inside(path, layers[0].path)}
    assert hands.trainable(model) == first
    norms = {x.path for x in layers if 'norm' in x.kind.lower()}
    finetuner.unfreeze(model, [f'*{layers[1].path}'], inputs=inputs)
    finetuner.unfreeze(model, sorted(norms), input_size=inputs.shape[1:], input_dtype='float32')
    wanted = {layers[0].path, layers[1].path, *norms}
    assert hands.trainable(model) == {path for path in all_of_it if any(inside(path, place) for place in wanted)}
    finetuner.freeze(model, [layers[0].path], inputs=inputs)
    assert not first & hands.trainable(model)
    assert finetuner.unfreeze(model, True) is model
    assert hands.trainable(model) == all_of_it


def test_a_name_that_means_nothing_is_refused(normed, hands):
    model, inputs = normed.build(), normed.inputs()
    finetuner.freeze(model)
    name = finetuner.tailor.summary(model, inputs=inputs)[0].name
    with pytest.raises(ArgumentError, match=f'unfreeze: there is no layer.*Did you mean.*{name}'):
        finetuner.unfreeze(model, [f'{name}x'], inputs=inputs)
    with pytest.raises(ArgumentError, match='names=False. Expected True, or names'):
        finetuner.unfreeze(model, False)
    with pytest.raises(ArgumentError, match=r"no argument 'input_sise'.*input_size"):
        finetuner.unfreeze(model, name, input_sise=(3,))
    assert hands.trainable(model) == set()


@pytest.mark.backends('torch', 'paddle')
def test_a_weight_that_two_layers_share(hands):
    model = hands.dense(4, 4)
    if hasattr(model, 'named_sublayers'):
        from finetuner.backends.paddle import paddle

        twice = paddle.nn.Sequential(model, hands.dense(4, 4))
    else:
        from torch import nn

        twice = nn.Sequential(model, hands.dense(4, 4))
    twice[1].weight = twice[0].weight
    trained = hands.trainable(twice)
    worker = tailor(twice)
    worker.freeze(twice, ['0'])
    worker.freeze(twice, ['1'])
    assert hands.trainable(twice) == set()
    worker.unfreeze(twice, ['0', '1'])
    assert hands.trainable(twice) == trained
