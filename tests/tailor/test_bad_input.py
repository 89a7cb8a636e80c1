"""What people get wrong: each is refused with a sentence, before anything of the model is changed."""

import re

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, ModelError
from finetuner.inference import encoder
from tests.models import framework

pytestmark = pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
ROWS = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
FIRST, SECOND = 'block[1]', 'my layer*'


@pytest.fixture
def library(request):
    return framework(request.config.getoption('--backend'))


def named(library):
    """Three dense layers, two of which bear the names that patterns are made of."""
    if library == 'keras':
        import keras

        inputs = keras.Input((6,))
        names = [(8, FIRST), (8, SECOND), (3, 'scores')]
        x = inputs
        for width, name in names:
            x = keras.layers.Dense(width, name=name)(x)
        return keras.Model(inputs, x)
    nn = __import__(library).nn
    model = nn.Sequential()
    add = getattr(model, 'add_module', None) or model.add_sublayer
    for name, layer in [(FIRST, nn.Linear(6, 8)), (SECOND, nn.Linear(8, 8)), ('scores', nn.Linear(8, 3))]:
        add(name, layer)
    return model


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'layer_name': 'scoes'}, "There is no layer 'scoes'. Did you mean 'scores'?"),
        ({'layer_name': 2}, 'layer_name=2: expected the name or path of a layer'),
        ({'freeze': True}, 'no head to train: give output_dim=128 or a projection_head'),
        ({'freeze': 1}, 'freeze=1: expected True, or names'),
        ({'freeze': [1], 'output_dim': 2}, 'freeze=[1]: expected True, or names'),
        ({'freeze': 'nothing', 'output_dim': 2}, "there is no layer 'nothing'"),
        ({'freeze_layer': True}, 'freeze_layer=True: expected a number of blocks'),
        ({'freeze_layer': -99}, 'blocks before the cut'),
        ({'freeze_layer': 1.0}, 'freeze_layer=1.0: expected a number of blocks'),
        ({'output_dim': '128'}, "output_dim='128': expected a whole number"),
        ({'output_dim': 0}, 'output_dim=0: expected a whole number'),
        ({'projection_head': object()}, "expected 'linear', 'mlp', 'identity' or a module of"),
        ({'projection_head': len}, "expected 'linear', 'mlp', 'identity' or a module of"),
        ({'projection_head': 'line'}, "There is no head 'line'. Did you mean 'linear'?"),
        ({'normalize': 'no'}, "normalize='no': expected True or False"),
        ({'pooling': 'mean'}, 'nothing to pool'),
        ({'pooling': 3}, 'There is no pooling 3'),
        ({'pooling': {'name': 'gem', 'p': 0}}, 'pooling: p=0, expected a number of more than 0'),
        ({'pooling': {'name': 'gem', 'p': '3'}}, "pooling: p='3', expected a number"),
        ({'inputs': ROWS[:0]}, 'inputs has no items'),
        ({'inputs': 'abc'}, 'inputs=abc: expected a batch'),
        ({'inputs': [[1.0, 2.0]]}, 'inputs=[[1.0, 2.0]]: expected a batch'),
        ({'inputs': None, 'input_size': '6'}, "input_size='6'"),
        ({'inputs': None, 'input_size': (-1, 6)}, 'input_size=(-1, 6)'),
        ({'inputs': None, 'input_size': (6.5,)}, 'input_size=(6.5,)'),
        ({'inputs': None, 'input_size': 6, 'input_dtype': 'float33'}, "input_dtype='float33'"),
    ],
)
def test_it_is_refused_with_a_sentence_and_nothing_is_changed(options, said, library, hands):
    model = named(library)
    before, trained = hands.weights(model), hands.trainable(model)
    with pytest.raises(ArgumentError, match=re.escape(said)):
        finetuner.to_embedding_model(model, **{'inputs': ROWS, 'inplace': True, **options})
    assert hands.trainable(model) == trained
    assert all(np.array_equal(value, before[name]) for name, value in hands.weights(model).items())


def test_what_the_model_cannot_be_called_with_is_named(library, hands):
    for rows in (ROWS[:, :5], np.zeros((2, 3, 5), np.float32)):
        with pytest.raises(ModelError, match=r'cannot be called with .*input_size'):
            finetuner.display(named(library), inputs=rows)


def test_types_that_a_layer_cannot_take_are_named(library, hands):
    if library == 'keras':
        pytest.skip('Keras casts what it is given')
    models = {case.name: case for case in hands.CASES}
    for name, wrong in (('cnn', np.int64), ('lstm', np.float32)):
        case = models[name]
        with pytest.raises(ModelError, match=rf'{np.dtype(wrong)} .*input_dtype'):
            finetuner.display(case.build(), inputs=case.inputs().astype(wrong))


def test_names_like_patterns_are_names_first(library, hands):
    model = named(library)
    cut = finetuner.to_embedding_model(model, SECOND, inputs=ROWS, freeze=[FIRST], output_dim=2)
    assert hands.call(cut, ROWS).shape == (4, 2)
    trained = hands.trainable(cut)
    assert not any(FIRST in path for path in trained) and any(SECOND in path for path in trained)
    both = finetuner.to_embedding_model(model, SECOND, inputs=ROWS, freeze='block*', output_dim=2)
    assert sum(hands.weights(both)[path].size for path in hands.trainable(both)) == 72 + 18


def test_a_head_that_does_not_fit_or_is_a_class_is_refused(hands):
    case = hands.CASES[0]

    def made(head):
        return finetuner.to_embedding_model(case.build(), inputs=case.inputs(), projection_head=head)

    with pytest.raises(ArgumentError, match='this is a class, so make one'):
        made(type(hands.dense(case.width, 2)))
    with pytest.raises(ModelError, match='projection_head cannot follow'):
        made(_wide(hands))
    assert hands.call(made(hands.dense(case.width, 2)), case.inputs()).shape == (4, 2)


def _wide(hands):
    # It takes 5 numbers, and there are more.
    head = hands.dense(5, 2)
    if hasattr(head, 'built') and not head.built:
        head.build((None, 5))
    return head


def test_weights_that_are_no_numbers_are_cut_all_the_same(library, hands):
    model = named(library)
    weights = {name: np.full_like(value, np.nan) for name, value in encoder(model).weights().items()}
    encoder(model).assign(weights)
    cut = finetuner.to_embedding_model(model, SECOND, inputs=ROWS)
    assert np.isnan(hands.call(cut, ROWS)).all()


def test_a_model_without_weights_and_one_item_are_no_mistakes(library, hands):
    if library == 'keras':
        import keras

        plain = keras.Sequential([keras.Input((6,)), keras.layers.ReLU()])
    else:
        plain = __import__(library).nn.Sequential(__import__(library).nn.ReLU())
    assert hands.call(finetuner.to_embedding_model(plain, inputs=ROWS, output_dim=2), ROWS).shape == (4, 2)
    one = finetuner.to_embedding_model(named(library), inputs=ROWS[:1], projection_head='mlp', output_dim=2)
    assert hands.call(one, ROWS[:1]).shape == (1, 2)
