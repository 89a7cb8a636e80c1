"""What only Keras has: nested and pretrained models, masks, saving, and flags that the user sees."""

import gc

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, ModelError
from finetuner.tailor.base import Arguments, apply, plan, tailor
from tests.fresh import run

pytestmark = pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
LOAD = """
import sys, finetuner, numpy as np
folder = sys.argv[1]
np.save(f'{folder}/vectors.npy', finetuner.embed(finetuner.load(f'{folder}/saved'), np.load(f'{folder}/images.npy')))
"""


def cut(model, inputs, **options):
    worker = tailor(model)
    recipe = plan(worker.trace(model, inputs), Arguments(**options), worker.channels_first).recipe
    return apply(model, recipe, inputs)


@pytest.fixture
def cases(hands):
    return {case.name: case for case in hands.ALL}


def test_a_frozen_copy_leaves_the_flags_and_statistics_of_the_model(cases, hands):
    case = cases['cnn']
    model, inputs = case.build(), case.inputs()
    model.get_layer('one_bn').trainable = False
    flags = {layer.name: layer.trainable for layer in model.layers}
    before = hands.statistics(model)
    made = cut(model, inputs, freeze=['one_conv', 'two_*'], output_dim=4).model
    assert {layer.name: layer.trainable for layer in model.layers} == flags
    assert not any(made.get_layer(name).trainable for name in ('one_conv', 'one_bn', 'two_conv', 'two_bn'))
    assert hands.trainable(made) == {'projection.kernel', 'projection.bias'}
    hands.train(made, inputs)
    assert all(np.array_equal(value, before[path]) for path, value in hands.statistics(model).items())
    assert all(np.array_equal(value, before[path]) for path, value in hands.statistics(made).items())


def test_a_compiled_and_trained_model_is_copied_without_its_training(cases, hands):
    for name in ('mlp', 'subclassed'):
        case = cases[name]
        model, inputs = case.build(), case.inputs()
        hands.train(model, inputs) if name == 'mlp' else model.compile('adam', 'mse')
        made = tailor(model).copy(model)
        assert not made.compiled
        np.testing.assert_array_equal(hands.call(made, inputs), hands.call(model, inputs))
        assert not {id(v) for v in made.variables} & {id(v) for v in model.variables}


def test_masks_of_embeddings_reach_the_pooling(cases, hands):
    case = cases['lstm']
    model, ids = case.build(), case.inputs()
    tokens = hands.activation(model, ids, case)
    kept = (ids != 0)[..., None]
    expected = np.where(kept, tokens, 0).sum(1) / kept.sum(1)
    np.testing.assert_allclose(hands.call(cut(model, ids, layer_name='both').model, ids), expected, atol=1e-6)


@pytest.mark.parametrize('name', ['subclassed', 'block in a graph'])
@pytest.mark.parametrize('pooling', ['mean', 'max', 'gem', 'attention', 'cls'])
def test_the_input_named_attention_mask_reaches_the_pooling(cases, hands, name, pooling):
    case = cases[name]
    model, inputs = case.build(), case.inputs()
    made = cut(model, inputs, layer_name=case.layer, pooling=pooling).model
    vectors = hands.call(made, inputs)
    short = {key: x[1:2, :4] for key, x in inputs.items()}  # the second item has four tokens
    np.testing.assert_allclose(hands.call(made, short), vectors[1:2], atol=1e-5)
    if pooling in ('gem', 'attention'):
        assert hands.reached(made, inputs) == hands.trainable(made)


@pytest.mark.parametrize('name', ['cnn', 'nested', 'inside a block', 'block in a graph'])
def test_a_tailored_model_is_saved_and_loaded_as_any_keras_model(cases, hands, name, tmp_path):
    import keras

    case = cases[name]
    model, inputs = case.build(), case.inputs()
    pooling = 'gem' if 'block' in name else None
    made = cut(model, inputs, layer_name=case.layer, output_dim=5, normalize=True, pooling=pooling).model
    made.save(tmp_path / 'model.keras')
    again = keras.models.load_model(tmp_path / 'model.keras')
    np.testing.assert_allclose(hands.call(again, inputs), hands.call(made, inputs), atol=1e-6)
    assert hands.weights(again).keys() == hands.weights(made).keys()
    made.summary(print_fn=lambda *_, **__: None)


def test_a_tailored_model_is_loaded_where_nothing_was_tailored(cases, tmp_path):
    case = cases['cnn inside']
    model, images = case.build(), case.inputs()
    made = finetuner.to_embedding_model(model, case.layer, pooling='gem', output_dim=5, normalize=True)
    finetuner.save(made, tmp_path / 'saved')
    np.save(tmp_path / 'images.npy', images)
    run(LOAD, str(tmp_path))
    np.testing.assert_allclose(np.load(tmp_path / 'vectors.npy'), finetuner.embed(made, images), atol=1e-6)


@pytest.mark.parametrize('name', ['mlp', 'cnn', 'cnn inside', 'nested', 'shared'])
def test_weights_that_were_cut_off_leave_the_memory(cases, name):
    import keras

    def alive():
        gc.collect()
        return {id(x) for x in gc.get_objects() if keras.Variable in type(x).__mro__}

    case = cases[name]
    before = alive()
    made = finetuner.to_embedding_model(case.build(), case.layer, inputs=case.inputs(), output_dim=5)
    assert alive() - before <= {id(v) for v in made.variables}


@pytest.mark.parametrize('name', ['nested', 'shared', 'subclassed', 'block in a graph'])
def test_it_embeds_and_is_fitted(cases, hands, name):
    case = cases[name]
    model, inputs = case.build(), case.inputs()
    made = cut(model, inputs, layer_name=case.layer, output_dim=4).model
    if isinstance(inputs, list):
        inputs = dict(zip(('left', 'right'), inputs, strict=True))
    items = list(inputs)
    if isinstance(inputs, dict):
        items = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
    vectors = finetuner.embed(made, items)
    np.testing.assert_allclose(vectors, hands.call(made, inputs), atol=1e-5)
    before = hands.weights(made)
    data = [(item, i % 2) for i, item in enumerate(items)]
    finetuner.fit(made, data, epochs=1, batch_size=4, learning_rate=0.01)
    assert any(not np.array_equal(value, before[path]) for path, value in hands.weights(made).items())


@pytest.mark.backends('keras-tensorflow', 'keras-torch')  # on jax each layer is compiled by itself
def test_models_of_keras_applications_are_cut_before_their_classifier(hands):
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=7)
    inputs = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype('float32')
    found = cut(model, inputs, freeze_layer=-1, output_dim=8)
    assert found.way == 'graph'
    assert hands.call(found.model, inputs).shape == (2, 8)
    assert found.model.layers[-2].name == 'global_average_pooling2d' or 'pool' in found.model.layers[-2].name


def test_lists_are_the_same_on_every_engine(cases):
    rows = {}
    for name in ('lstm', 'nested', 'subclassed'):
        model = cases[name].build()
        found = tailor(model).trace(model, cases[name].inputs())
        rows[name] = [(x.name, x.path, x.shape, x.parameters) for x in found]
    assert [r[1].rstrip('_0123456789') for r in rows['lstm']] == [
        'words',
        'both.forward_lstm',
        'both.backward_lstm',
        'both',
        'last',
        'classifier',
        '',
    ]
    assert rows['lstm'][3][2:] == ((None, 6, 12), 720)
    assert [r[1] for r in rows['nested'][:-1]] == [
        'first',
        'middle.inner.a',
        'middle.inner.b',
        'middle.inner',
        'middle.skip',
        'middle',
        'head',
    ]
    assert [r[1] for r in rows['subclassed'][:8]] == [
        'token',
        'scale',
        'words',
        'block_0.gain',
        'block_0.norm',
        'block_0.up',
        'block_0.down',
        'block_0.drop',
    ]


def test_a_dict_of_outputs_ends_where_its_main_tensor_is_made(cases, hands):
    case = cases['subclassed']
    model, inputs = case.build(), case.inputs()
    found = tailor(model).cut(model, '', 1, inputs)
    assert 'classifier.kernel' not in hands.weights(found.model)
    np.testing.assert_allclose(hands.call(found.model, inputs), hands.call(model, inputs), atol=1e-6)


def test_what_keras_cannot_do_is_refused(cases, hands):
    case = cases['shared']
    model, inputs = case.build(), case.inputs()
    with pytest.raises(ArgumentError, match=r"tower.*runs 2 times.*'tower#1' or 'tower#2'"):
        cut(model, inputs, layer_name='tower')
    with pytest.raises(ModelError, match=r'float32 \(4, 7\).*input_size'):
        tailor(model).trace(model, [inputs[0][:, :7], inputs[1]])
    blocks = cases['subclassed'].build()
    with pytest.raises(ArgumentError, match=r"means 3 layers: 'block_0.norm', 'block_1.norm' and 'block_2.norm'"):
        cut(blocks, cases['subclassed'].inputs(), layer_name='norm')
    with pytest.raises(ModelError, match=r"no layer 'block_3.up'.*'block_2.up'"):
        tailor(blocks).freeze(blocks, ['block_3.up'])


def test_a_tower_is_cut_in_its_second_call(hands):
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    tower = keras.Model(x, layers.Dense(5, name='b')(layers.Dense(7, name='a')(x)), name='tower')
    left, right = keras.Input((6,)), keras.Input((6,))
    model = keras.Model([left, right], layers.Dense(2, name='logits')(tower(right) + tower(left)))
    inputs = [np.random.default_rng(i).standard_normal((3, 6)).astype('float32') for i in (0, 1)]
    for call, side in ((1, 1), (2, 0)):
        found = cut(model, inputs, layer_name=f'tower.a#{call}')
        kernel, bias = tower.get_layer('a').get_weights()
        np.testing.assert_allclose(hands.call(found.model, inputs), inputs[side] @ kernel + bias, atol=1e-5)


def test_subclassed_models_of_many_forms(hands):
    import keras
    from keras import layers, ops

    class Deep(layers.Layer):
        def __init__(self, depth, **kwargs):
            super().__init__(**kwargs)
            self.inner = Deep(depth - 1, name=f'deep{depth - 1}') if depth else layers.Dense(6, name='leaf')
            self.after = layers.Dense(6, name='after')

        def call(self, x):
            return self.after(ops.relu(self.inner(x)))

    class Net(keras.Model):
        """Heads before bodies, a nested graph, a loop over a list, an input that is a dict, weights that are tied."""

        def __init__(self, widths):
            super().__init__()
            self.head = layers.Dense(2)
            x = keras.Input((6,))
            self.body = keras.Sequential(
                [x, layers.Dense(6, name='one'), layers.BatchNormalization(name='two')], name='body'
            )
            self.table = {'rows': [layers.Dense(n) for n in widths]}
            self.deep = Deep(2, name='deep')
            self.words = layers.Embedding(6, 6, name='words')
            self.words.build(())

        def call(self, batch, training=None):
            x = self.body(batch['x'])
            for row in self.table['rows']:
                x = ops.tanh(row(x))
            x = self.deep(x @ ops.transpose(ops.convert_to_tensor(self.words.embeddings)))
            return self.head(x + self.words(batch['ids']))

    keras.utils.set_random_seed(0)
    model = Net(range(5, 7))
    inputs = {'x': np.random.default_rng(0).standard_normal((4, 6)).astype('float32'), 'ids': np.arange(4)}
    items = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
    worker = tailor(model)
    paths = [x.path for x in worker.trace(model, inputs)]
    assert {'body', 'body.two', 'deep.deep1.deep0.leaf', 'deep.deep1.deep0.after', 'words'} <= set(paths)
    for path, words in (('body.one', False), ('deep.deep1.deep0.leaf', True), ('deep', True)):
        found = cut(model, inputs, layer_name=path, freeze=['body'], output_dim=3)
        assert found.way == 'wrapper'
        assert any('words' in name for name in hands.weights(found.model)) == words
        assert hands.reached(found.model, inputs) == hands.trainable(found.model)
        again = cut(found.model, inputs, layer_name='projection')  # a tailored model is a model
        np.testing.assert_allclose(hands.call(again.model, inputs), hands.call(found.model, inputs), atol=1e-6)
        np.testing.assert_allclose(finetuner.embed(found.model, items), hands.call(found.model, inputs), atol=1e-5)


def test_a_model_that_was_never_called_is_tailored(hands):
    import keras
    from keras import layers

    model = keras.Sequential([layers.Dense(6, activation='relu'), layers.Dense(3, name='classifier')])
    inputs = np.ones((4, 5), 'float32')
    assert tailor(model).sample(model) is None
    found = cut(model, inputs)
    assert found.way == 'structural' and hands.call(found.model, inputs[:3]).shape == (3, 6)


def test_the_sample_of_a_model_fits_it(cases, hands):
    for case in hands.CASES:
        model = case.build()
        inputs = tailor(model).sample(model)
        assert (inputs is None) == case.name.startswith(('subclassed', 'inside'))
        if inputs is not None:
            assert tailor(model).trace(model, inputs)


def test_functional_models_with_a_call_of_their_own_are_no_graphs(hands):
    import keras
    from keras import layers

    class Own(keras.Model):
        def __init__(self):
            x = keras.Input((6,))
            super().__init__(x, layers.Dense(3, name='classifier')(layers.Dense(5, name='body')(x)))

        def call(self, inputs, training=None, mask=None):
            return super().call(2 * inputs, training=training, mask=mask)

    model, inputs = Own(), np.ones((4, 6), 'float32')
    found = cut(model, inputs)
    kernel, bias = model.get_layer('body').get_weights()
    assert found.way == 'wrapper'
    np.testing.assert_allclose(hands.call(found.model, inputs), 2 * inputs @ kernel + bias, atol=1e-5)
    vectors = finetuner.embed(found.model, inputs)
    np.testing.assert_allclose(vectors, 2 * inputs @ kernel + bias, atol=1e-5)


def test_half_precision_is_pooled_in_full(hands):
    import keras
    from keras import layers

    x = keras.Input((4, 6))
    model = keras.Model(x, layers.Dense(8, dtype='mixed_float16')(x))
    found = cut(model, np.ones((2, 4, 6), 'float32'), pooling='gem', output_dim=3)
    assert str(hands.call(found.model, np.ones((2, 4, 6), 'float32')).dtype) == 'float32'
    assert {v.dtype for v in found.model.trainable_variables} == {'float32'}


@pytest.mark.parametrize('name', ['cnn', 'mlp'])
def test_a_head_may_have_the_name_of_a_layer(cases, hands, name):
    import keras

    case = cases[name]
    model, inputs = case.build(), case.inputs()
    head = keras.layers.Dense(3, name='hidden' if name == 'mlp' else 'sum')
    worker = tailor(model)
    recipe = plan(worker.trace(model, inputs), Arguments(projection_head=head)).recipe
    made = apply(model, recipe, inputs, projection_head=head).model
    assert hands.call(made, inputs).shape == (4, 3)
    assert hands.reached(made, inputs) == hands.trainable(made)


def test_what_a_layer_does_to_its_tensor_in_training_alone_is_not_cut_off():
    import keras

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.seed = keras.layers.Dense(64), keras.random.SeedGenerator(1)

        def call(self, x, training=None):
            x = self.dense(x)
            return {'last_hidden_state': keras.random.dropout(x, 0.5, seed=self.seed) if training else x}

    x = np.ones((4, 4), np.float32)
    model = finetuner.to_embedding_model(Net(), inputs=x)
    assert (keras.ops.convert_to_numpy(model(x, training=True)) == 0).any()
    assert not (keras.ops.convert_to_numpy(model(x, training=False)) == 0).any()


@pytest.mark.parametrize('nested', [True, False])
def test_frozen_norms_stand_still_however_deep(nested, hands, tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    norms = [
        keras.layers.SpectralNormalization(keras.layers.Conv2D(8, 3), name='spectral'),
        keras.layers.BatchNormalization(name='batch'),
    ]
    inside = keras.Sequential([keras.Input((6, 6, 3)), *norms], name='inside')
    middle = keras.Sequential([keras.Input((6, 6, 3)), inside], name='middle')
    inputs = keras.Input((6, 6, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name='pooled')(middle(inputs))
    general = keras.Model(inputs, keras.layers.Dense(3, name='scores')(pooled))
    x = np.random.default_rng(0).standard_normal((4, 6, 6, 3)).astype(np.float32)
    frozen = ['middle'] if nested else ['spectral', 'batch']
    model = finetuner.to_embedding_model(general, 'pooled', inputs=x, freeze=frozen, output_dim=2)
    model.save(tmp_path / 'model.keras')
    for tailored in (model, keras.saving.load_model(tmp_path / 'model.keras')):
        before = {**hands.weights(tailored), **hands.statistics(tailored)}
        one = hands.call(tailored, x[:1], training=True)
        np.testing.assert_allclose(one, hands.call(tailored, x, training=True)[:1], atol=1e-6)
        hands.train(tailored, x)
        after = {**hands.weights(tailored), **hands.statistics(tailored)}
        still = {name for name in before if np.array_equal(before[name], after[name])}
        assert before.keys() - still == {'projection.kernel', 'projection.bias'}
        assert all(any(norm in name for name in still) for norm in ('spectral', 'batch'))
    before = {**hands.weights(model), **hands.statistics(model)}
    finetuner.unfreeze(model)
    hands.train(model, x)
    after = {**hands.weights(model), **hands.statistics(model)}
    assert not [name for name in before if np.array_equal(before[name], after[name])]


def test_a_recipe_finds_layers_that_have_other_numbers_now(hands, tmp_path):
    import json

    import keras

    from finetuner.tailor import Recipe, rebuild, recipe_of

    code = """
def build():
    import keras
    inside = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(8)])
    rest = [keras.layers.Dense(8), keras.layers.Dense(8), keras.layers.Dense(3, activation='softmax')]
    return keras.Sequential([keras.Input((6,)), inside, *rest])
"""
    space = {}
    exec(code, space)
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    general = space['build']()
    third = general.layers[1].name
    model = finetuner.to_embedding_model(general, third, inputs=x, freeze_layer=-1, output_dim=2)
    recipe = Recipe.from_dict(json.loads(json.dumps(recipe_of(model).to_dict())))
    again = rebuild(space['build'](), recipe, x)
    assert len(again.weights) == len(model.weights) == 8
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(hands.call(again, x), hands.call(model, x), atol=1e-6)
    assert [v.trainable for v in again.weights] == [v.trainable for v in model.weights]
    np.savez(tmp_path / 'weights.npz', *model.get_weights())
    np.save(tmp_path / 'vectors.npy', hands.call(model, x))
    (tmp_path / 'recipe.json').write_text(json.dumps(recipe.to_dict()))
    run(
        f"""
import json
from pathlib import Path
import numpy as np
import keras
from finetuner.tailor import Recipe, rebuild
{code}
folder = Path({str(tmp_path)!r})
x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
_ = [keras.layers.Dense(2) for _ in range(2)]
model = rebuild(build(), Recipe.from_dict(json.loads((folder / 'recipe.json').read_text())), x)
model.set_weights(list(np.load(folder / 'weights.npz').values()))
vectors = keras.ops.convert_to_numpy(model(x, training=False))
np.testing.assert_allclose(vectors, np.load(folder / 'vectors.npy'), atol=1e-6)
""",
        KERAS_BACKEND=keras.backend.backend(),
    )
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.ReLU()])
    with pytest.raises(ModelError, match='names the layer .* a Dense; this model has none'):
        rebuild(other, recipe, x)


def test_ways_that_hang_on_values_are_cut_or_refused_in_words():
    import keras

    class Early(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.scores = (keras.layers.Dense(n, name=f'n{n}') for n in (8, 9, 3))

        def call(self, x):
            y = self.first(x)
            if keras.ops.max(y) > 1e9:
                return keras.ops.softmax(self.scores(y))
            return keras.ops.softmax(self.scores(self.second(y)))

    class Loops(Early):
        def call(self, x):
            y = self.first(x)
            y = keras.ops.cond(keras.ops.sum(y) > 1e9, lambda: y, lambda: keras.ops.tanh(self.second(y))[:, :8])
            return keras.ops.softmax(self.scores(y))

    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    data = (np.concatenate([x] * 4), np.arange(16) % 2)
    for general in (Early(), Loops()):
        before = finetuner.to_embedding_model(general, 'n8', inputs=x, output_dim=2)
        finetuner.fit(before, data, epochs=1)
        assert finetuner.embed(before, x).shape == (4, 2)
    engine = keras.backend.backend()
    after = finetuner.to_embedding_model(Early(), 'n9', inputs=x, output_dim=2)
    for use in (lambda: finetuner.embed(after, x), lambda: finetuner.fit(after, data, epochs=1)):
        if engine == 'torch':
            use()
            continue
        with pytest.raises(ModelError, match=f'{engine} cannot compile .*keras.ops.where or keras.ops.cond'):
            use()
    if engine == 'jax':
        with pytest.raises(ModelError, match='n9 runs within keras.ops.cond or a loop'):
            finetuner.to_embedding_model(Loops(), 'n9', inputs=x)
        return
    inside = finetuner.to_embedding_model(Loops(), 'n9', inputs=x)
    if engine == 'torch':
        assert finetuner.embed(inside, x).shape == (4, 9)
    else:
        with pytest.raises(ModelError, match='ends within a branch'):
            finetuner.embed(inside, x)
