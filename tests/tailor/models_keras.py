"""General models in Keras, for all its engines, and how the tests look into them."""

import keras
import numpy as np
from keras import layers, ops

from finetuner.backends.keras.calls import main, spread
from finetuner.backends.keras.encoder import Shell
from tests.tailor.case import Case


def _seeded(build):
    def built():
        keras.utils.set_random_seed(0)
        return build()

    return built


def _floats(*shape):
    return lambda: np.random.default_rng(0).standard_normal((4, *shape)).astype('float32')


def _ids(length=6, high=20):
    ids = np.random.default_rng(0).integers(1, high, (4, length)).astype('int32')
    ids[1, 4:] = ids[3, 2:] = 0
    return ids


def _dict():
    ids = _ids()
    return {'input_ids': ids, 'attention_mask': (ids != 0).astype('int32')}


def mlp():
    return keras.Sequential(
        [
            keras.Input((4, 5)),
            layers.Flatten(name='flat'),
            layers.Dense(32, activation='relu', name='hidden'),
            layers.Dropout(0.2),
            layers.Dense(10, name='classifier'),
        ]
    )


def embedder():
    return keras.Sequential([keras.Input((20,)), layers.Dense(16, activation='relu'), layers.Dense(8)])


def _conv(x, n, name):
    x = layers.Conv2D(n, 3, padding='same', use_bias=False, name=f'{name}_conv')(x)
    return layers.ReLU(name=f'{name}_relu')(layers.BatchNormalization(name=f'{name}_bn')(x))


def cnn():
    inputs = keras.Input((8, 8, 3))
    x = _conv(inputs, 8, 'one')
    x = layers.Add(name='sum')([x, _conv(x, 8, 'two')])
    x = layers.GlobalAveragePooling2D(name='pool')(ops.relu(x))
    return keras.Model(inputs, layers.Dense(10, activation='softmax', name='predictions')(x))


def nested():
    inside = keras.Input((12,))
    inner = keras.Model(
        inside, layers.Dense(12, name='b')(layers.Dense(16, activation='tanh', name='a')(inside)), name='inner'
    )
    between = keras.Input((12,))
    middle = keras.Model(between, layers.Add(name='skip')([inner(between), between]), name='middle')
    outside = keras.Input((20,))
    x = middle(layers.Dense(12, name='first')(outside))
    return keras.Model(outside, layers.Dense(5, name='head')(ops.tanh(x)))


def lstm():
    return keras.Sequential(
        [
            keras.Input((None,), dtype='int32'),
            layers.Embedding(20, 8, mask_zero=True, name='words'),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True), name='both'),
            layers.LSTM(7, name='last'),
            layers.Dense(5, name='classifier'),
        ]
    )


def shared():
    left, right = keras.Input((10,), name='left'), keras.Input((10,), name='right')
    tower = layers.Dense(8, activation='tanh', name='tower')
    both = layers.Concatenate(name='both')([tower(left), tower(right)])
    return keras.Model([left, right], layers.Dense(3, name='classifier')(both))


@keras.saving.register_keras_serializable('tests')
class Block(layers.Layer):
    """A layer of layers, with a weight of its own."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.norm = layers.LayerNormalization(name='norm')
        self.up = layers.Dense(2 * width, activation='gelu', name='up')
        self.down = layers.Dense(width, name='down')
        self.drop = layers.Dropout(0.1, name='drop')

    def build(self, shape):
        self.gain = self.add_weight(shape=(self.width,), initializer='ones', name='gain')
        self.norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 2 * self.width))

    def call(self, x):
        return x + self.drop(self.down(self.up(self.norm(x)))) * self.gain

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable('tests')
class Encoder(keras.Model):
    """Tokens, blocks, and a head that is registered before them; gives a dict."""

    def __init__(self, size=20, width=8, **kwargs):
        super().__init__(**kwargs)
        self.scores = layers.Dense(3, name='classifier')
        self.words = layers.Embedding(size, width, name='words')
        self.blocks = [Block(width, name=f'block_{i}') for i in range(3)]
        self.token = self.add_weight(shape=(1, 1, width), initializer='random_normal', name='token')
        self.scale = self.add_weight(shape=(), initializer='ones', name='scale')

    def call(self, input_ids, attention_mask=None):
        x = self.words(input_ids) + self.token
        for block in self.blocks:
            x = block(x)
        weight = ops.ones_like(x[..., :1]) if attention_mask is None else ops.cast(attention_mask, x.dtype)[..., None]
        pooled = ops.sum(x * weight, axis=1) / ops.sum(weight, axis=1)
        return {'last_hidden_state': x, 'logits': self.scores(pooled) * self.scale}


def encoder():
    model = Encoder(name='encoder')
    model(**{name: ops.convert_to_tensor(x) for name, x in _dict().items()})
    return model


def mixed():
    ids = keras.Input((None,), dtype='int32', name='input_ids')
    mask = keras.Input((None,), dtype='int32', name='attention_mask')
    x = layers.Embedding(20, 8, name='words')(ids)
    x = Block(8, name='second')(Block(8, name='first')(x))
    weight = ops.expand_dims(ops.cast(mask, 'float32'), -1)
    pooled = ops.sum(x * weight, axis=1) / ops.sum(weight, axis=1)
    scores = layers.Dense(3, name='classifier')(pooled)
    return keras.Model({'input_ids': ids, 'attention_mask': mask}, scores)


ALL = [
    Case('mlp', _seeded(mlp), _floats(4, 5), None, 'hidden', 'structural', 32),
    Case('whole', _seeded(embedder), _floats(20), None, '', 'whole', 8),
    Case('cnn', _seeded(cnn), _floats(8, 8, 3), None, 'pool', 'graph', 8),
    Case('cnn inside', _seeded(cnn), _floats(8, 8, 3), 'two_bn', 'two_bn', 'graph', 8),
    Case('nested', _seeded(nested), _floats(20), 'a', 'middle.inner.a', 'graph', 16),
    Case('lstm', _seeded(lstm), _ids, 'both', 'both', 'structural', 12),
    Case('shared', _seeded(shared), lambda: [_floats(10)(), 1 - _floats(10)()], 'tower#2', 'tower', 'graph', 8, call=2),
    Case('subclassed', _seeded(encoder), _dict, 'block_2', 'block_2', 'wrapper', 8),
    Case('inside a block', _seeded(encoder), _dict, 'block_1.up', 'block_1.up', 'wrapper', 16),
    Case('block in a graph', _seeded(mixed), _dict, 'second.up', 'second.up', 'wrapper', 16),
]
# An LSTM is compiled by jax whenever it runs outside of a training; test_keras.py has one test with it.
CASES = [case for case in ALL if case.name != 'lstm' or keras.backend.backend() != 'jax']


def call(model, inputs, training=False):
    args, kwargs = spread(model, inputs)
    return ops.convert_to_numpy(main(model(*args, training=training, **kwargs)))


def _layers(model, path=''):
    """Every layer by its path; a layer in two places is in the first."""
    found, seen = {}, set()

    def walk(layer, path):
        seen.add(id(layer))
        found[path] = layer
        for child in layer._flatten_layers(include_self=False, recursive=False):
            if id(child) not in seen:
                walk(child, f'{path}.{child.name}' if path else child.name)

    walk(model, path)
    return found


def activation(model, inputs, case):
    layer = _layers(model)[case.path]
    if layer is model:
        return call(model, inputs)
    outputs, own = [], layer.call

    def recorded(*args, **kwargs):
        outputs.append(own(*args, **kwargs))
        return outputs[-1]

    layer.call = recorded
    call(model, inputs)
    del layer.call
    return ops.convert_to_numpy(case.main(outputs[case.call - 1]))


def _variables(model, store):
    found = {}
    for path, layer in _layers(model).items():
        found |= {id(v): (f'{path}.{v.name}'.lstrip('.'), v) for v in getattr(layer, store) if id(v) not in found}
    return dict(found.values())


def weights(model):
    return {path: np.array(ops.convert_to_numpy(v)) for path, v in _variables(model, '_trainable_variables').items()}


def statistics(model):
    found = _variables(model, '_non_trainable_variables')
    return {path: np.array(ops.convert_to_numpy(v)) for path, v in found.items()}


def trainable(model):
    trained = {id(v) for v in model.trainable_variables}
    return {path for path, v in _variables(model, '_trainable_variables').items() if id(v) in trained}


class Squares(Shell):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y_pred))


def _fitted(model, inputs, steps):
    shell = Squares(model)
    shell.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    for _ in range(steps):
        shell.train_on_batch(inputs, np.zeros((4, 1), 'float32'))


def train(model, inputs):
    _fitted(model, inputs, 3)


def reached(model, inputs):
    before = weights(model)
    statistical = statistics(model)
    _fitted(model, inputs, 1)
    moved = {path for path, value in weights(model).items() if not np.array_equal(value, before[path])}
    for path, v in {
        **_variables(model, '_trainable_variables'),
        **_variables(model, '_non_trainable_variables'),
    }.items():
        v.assign({**before, **statistical}[path])
    return moved


def reloaded(model, fresh, folder):
    path = str(folder / 'saved.weights.h5')
    model.save_weights(path)
    fresh.load_weights(path)
    return fresh


def dense(width_in, width_out):
    layer = layers.Dense(width_out)
    layer.build((None, width_in))
    return layer


AS_THEY_ARE = {'nested', 'whole'}
"""The cases that `fit` does not tailor unasked: their heads are not certain to be any."""
