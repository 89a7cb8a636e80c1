"""What cannot work is refused before anything is trained, with a sentence that says what to do."""

import types

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, DataError, ModelError
from finetuner.inference import encoder
from tests.models import clusters, framework, mlp

VECTORS, LABELS = clusters()
ITEMS = list(zip(VECTORS, LABELS.tolist(), strict=True))


def with_item(place, item):
    return [item if i == place else row for i, row in enumerate(ITEMS)]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'epoch': 3}, r"fit\(\) has no argument 'epoch'. Did you mean 'epochs'"),
        ({'loss': 'TripletLos'}, "no loss 'TripletLos'. Did you mean 'TripletLoss'"),
        ({'loss': 'tripletloss'}, "Did you mean 'TripletLoss'"),
        ({'loss': 'TripletLoss', 'loss_options': {'margn': 1}}, "no option 'margn'.*Did you mean 'margin'"),
        (
            {'loss': 'CoSENTLoss'},
            'CoSENTLoss needs scores in 2 columns; this data has class labels. Losses that fit: .*InfoNCE',
        ),
        ({'miner': 'HardMiner'}, "no miner 'HardMiner'"),
        ({'optimizer': 'AdamV'}, "no optimizer 'AdamV'. Did you mean 'Adam.*configure_optimizer"),
        ({'scheduler_step': 'step'}, "no scheduler_step 'step'"),
        ({'learning_rate': -1.0}, 'learning_rate must be a positive number, got -1.0'),
        ({'configure_optimizer': 'Adam'}, 'expected a function, lambda model'),
        ({'configure_optimizer': lambda model: None}, 'gave a NoneType: expected a .*Optimizer, or one and a sch'),
        ({'epochs': 0}, 'epochs=0: expected a whole number of at least 1'),
        ({'epochs': 2.5}, 'epochs=2.5: expected a whole number'),
        ({'seed': -1}, 'seed=-1: expected a whole number'),
        ({'learning_rate': '1e-3'}, "learning_rate='1e-3': expected a positive number, such as 1e-3, or 'find'"),
        ({'callbacks': finetuner.callback.Callback()}, r'expected a list, such as \[EarlyStopping'),
        ({'device': 'gpu'}, "device='gpu'"),
        ({'supervision': 'classes'}, "no supervision 'classes'"),
        ({'batch_size': 6, 'num_items_per_class': 4}, 'batch_size=6 has no room for 2 classes'),
        ({'batch_size': 0}, 'batch_size'),
        ({'num_workers': -1}, 'num_workers=-1'),
        ({'device': 'cuda'}, 'sees no GPU here. Use device="cpu"'),
    ],
)
def test_arguments(backend, arguments, message):
    model = mlp(backend)
    before = encoder(model).weights()
    with pytest.raises(ArgumentError, match=message):
        finetuner.fit(model, ITEMS, **arguments)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        ([], 'empty|no items'),
        ([(x, 1) for x in VECTORS], 'one class'),
        ([(x, i) for i, x in enumerate(VECTORS)], 'one item'),
        (with_item(3, (VECTORS[3], None)), 'row 3'),
        (with_item(3, (np.full(10, np.nan, np.float32), 0)), 'row 3.*NaN|NaN.*row 3'),
        (with_item(3, (VECTORS[3][:5], 0)), 'row 3'),
        (with_item(3, (np.array(['a'] * 10), 0)), 'row 3'),
        (with_item(3, ('text', 0)), 'row 3'),
        ('no/such/file.csv', 'no/such/file.csv'),
        (42, 'int'),
    ],
)
def test_data(backend, data, message):
    with pytest.raises(DataError, match=f'(?s){message}'):
        finetuner.fit(mlp(backend), data, epochs=1)


PAIRS = list(zip(VECTORS[:20], VECTORS[20:], strict=True))
SCORES = [(*pair, place / 20) for place, pair in enumerate(PAIRS)]


@pytest.mark.parametrize(
    ('data', 'eval_data', 'loss', 'message'),
    [
        (ITEMS, PAIRS, 'ArcFaceLoss', 'ArcFaceLoss needs class labels; this data has pairs without scores'),
        (ITEMS, SCORES, None, 'InfoNCELoss needs .*; this data has scores in 2 columns'),
        (SCORES, ITEMS, None, 'CoSENTLoss needs scores in 2 columns; this data has class labels'),
        (ITEMS, [(x, 1) for x in VECTORS], None, 'one class'),
        (ITEMS, [], None, 'empty'),
    ],
)
def test_data_that_the_loss_cannot_be_measured_on(backend, data, eval_data, loss, message):
    with pytest.raises((ArgumentError, DataError), match=f'^eval_data: .*{message}'):
        finetuner.fit(mlp(backend), data, eval_data, loss=loss)


def test_session_labels_that_are_no_grades(backend):
    docarray = pytest.importorskip('docarray')
    docs = docarray.DocumentArray([docarray.Document(id='root', tensor=VECTORS[0])])
    docs[0].matches = [
        docarray.Document(id=f'match{i}', tensor=VECTORS[i], tags={'finetuner_label': 2 - i}) for i in (1, 2)
    ]
    with pytest.raises(DataError, match=r'match2'):
        finetuner.fit(mlp(backend), docs)


def test_a_preprocess_fn_that_fails_names_the_item(backend):
    def fails(item):
        raise KeyError('pixels')

    with pytest.raises(DataError, match=r"preprocess_fn fails on row \d+: KeyError: 'pixels'"):
        finetuner.fit(mlp(backend), ITEMS, preprocess_fn=fails)


@pytest.mark.parametrize('thing', [None, 'resnet', np.zeros(3), object(), {'a': 1}])
def test_what_is_no_model(backend, thing):
    with pytest.raises(ModelError, match=r'expected a torch.nn.Module, a keras.Model or keras.Layer, or a paddle'):
        finetuner.fit(thing, ITEMS)


def test_a_keras_2_model(backend):
    old = types.new_class('Model', exec_body=lambda space: space.update(__module__='tf_keras.src.engine.training'))
    with pytest.raises(ModelError, match='Keras 2 model; Finetuner tunes Keras 3'):
        finetuner.fit(old(), ITEMS)


def test_a_model_that_gives_no_vectors(backend):
    model = _pairs(backend)
    with pytest.raises(ModelError, match=r'this one gives a tuple of 2.*pooling='):
        finetuner.fit(model, ITEMS, to_embedding_model=False)


def test_a_frozen_model(backend):
    model = mlp(backend)
    if framework(backend) == 'keras':
        model.trainable = False
    for parameter in model.parameters() if framework(backend) != 'keras' else ():
        if backend == 'torch':
            parameter.requires_grad_(False)
        else:
            parameter.stop_gradient = True
    with pytest.raises(ArgumentError, match='Every weight of the model is frozen'):
        finetuner.fit(model, ITEMS)


def _pairs(backend):
    """A model that gives two tensors."""
    if backend == 'torch':
        import torch

        class Pairs(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(10, 4)

            def forward(self, x):
                return self.layer(x), x

        return Pairs()
    if backend == 'paddle':
        import paddle

        class Pairs(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.layer = paddle.nn.Linear(10, 4)

            def forward(self, x):
                return self.layer(x), x

        return Pairs()
    import keras

    class Pairs(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(4)

        def call(self, x):
            return self.layer(x), x

    return Pairs()
