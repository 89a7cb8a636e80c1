"""Losses as native modules: values, learned parameters, memory, saving, and training loops of every framework."""

import copy
import pickle

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.miners import TripletMarginMiner
from finetuner.losses.objective import Objective
from finetuner.losses.relation import Relation, same_class
from finetuner.typing import Layout
from tests.gradients import native
from tests.losses import cases
from tests.models import framework

DIM, N_CLASSES = 6, 4
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])
VECTORS = cases.vectors(8, DIM)
CODES = {'item': np.arange(8, dtype=np.int32), 'label': LABELS.astype(np.int32)[:, None]}
LAYOUT = Layout(8, 1, 1, N_CLASSES)

SEVERAL = ('MultipleLosses', {'losses': ['ArcFaceLoss', 'InfoNCELoss']})
NAMED = [
    ('InfoNCELoss', {}),
    ('TripletMarginLoss', {'margin': 0.5}),
    ('ArcFaceLoss', {}),
    ('SoftTripleLoss', {'centers_per_class': 2}),
    SEVERAL,
    ('MatryoshkaLoss', {'loss': SEVERAL, 'dims': (6, 3)}),
    ('RegularizedLoss', {'loss': 'ArcFaceLoss', 'weight_regularizer': 'LpRegularizer'}),
]


def made(backend, loss, dim=DIM, n_classes=N_CLASSES, **options):
    loss = get(loss[0], **loss[1]) if isinstance(loss, tuple) else get(loss)
    return loss.module(framework(backend), dim, n_classes, **options)


def tensors(backend, x=VECTORS, labels=LABELS):
    return native(backend, x), native(backend, labels)


def called(backend, module, *arguments, training=False):
    """The value; in training mode, what a Keras layer is told with the call."""
    if backend.startswith('keras'):
        return float(module(*arguments, training=training))
    module.train() if training else module.eval()
    return float(module(*arguments))


@pytest.mark.parametrize('loss', NAMED, ids=[f'{name} {i}' for i, (name, _) in enumerate(NAMED)])
def test_its_value_is_the_losss(backend, loss):
    objective = Objective(get(loss[0], **loss[1]))
    expected = objective(VECTORS, CODES, LAYOUT, objective.parameters(DIM, N_CLASSES))
    module = made(backend, loss)
    assert called(backend, module, *tensors(backend), training=True) == pytest.approx(float(expected), rel=1e-5)
    assert called(backend, module, tensors(backend)[0], LABELS[:, None]) == pytest.approx(float(expected), rel=1e-5)


def state(backend, module):
    """What it learns and remembers, by name."""
    if backend.startswith('keras'):
        return {v.name: np.array(v.numpy() if hasattr(v, 'numpy') else v) for v in module.weights}
    return {name: np.array(value.detach().numpy()) for name, value in module.state_dict().items()}


def test_what_is_learned_belongs_to_it(backend):
    module = made(backend, ('MultipleLosses', {'losses': ['ArcFaceLoss', 'SoftTripleLoss']}))
    assert {name: value.shape for name, value in state(backend, module).items()} == {
        'classes_0': (4, 6),
        'classes_1': (40, 6),
    }
    trained = module.trainable_weights if backend.startswith('keras') else list(module.parameters())
    assert len(trained) == 2
    means = np.eye(4, 6, dtype=np.float32)
    np.testing.assert_allclose(state(backend, made(backend, 'ArcFaceLoss', means=means))['classes'], means, atol=1e-6)
    assert not state(backend, made(backend, 'InfoNCELoss'))


def test_a_miner_narrows(backend):
    miner = TripletMarginMiner(type_of_triplets='hard')
    mined = called(backend, made(backend, 'TripletMarginLoss', miner=miner), *tensors(backend))
    expected = Objective(get('TripletMarginLoss'), miner)(VECTORS, CODES, LAYOUT)
    assert mined == pytest.approx(float(expected), rel=1e-5)
    assert mined != pytest.approx(called(backend, made(backend, 'TripletMarginLoss'), *tensors(backend)), rel=1e-3)


@pytest.mark.parametrize('miner', ['DistanceWeightedMiner', 'UniformHistogramMiner'])
def test_a_miner_draws_from_the_generator_of_the_framework(backend, miner):
    # Triplets in which no negative is far, and enough of them to draw others each time.
    x, labels = native(backend, cases.vectors(24, DIM)), native(backend, np.repeat(np.arange(4), 6))
    module = made(backend, 'TripletLoss', miner=miner)
    values = {round(called(backend, module, x, labels, training=True), 6) for _ in range(5)}
    assert len(values) > 1 and np.isfinite(list(values)).all()


def test_anchors_candidates_and_their_relation(backend):
    eye = np.eye(4, dtype=bool)
    relation = Relation(native(backend, eye), native(backend, ~eye), 1)
    a, b = native(backend, VECTORS[:4]), native(backend, VECTORS[4:])
    for loss in ('InfoNCELoss', ('MatryoshkaLoss', {'loss': 'InfoNCELoss', 'dims': (6, 3)})):
        expected = get(*loss[:1], **loss[1]) if isinstance(loss, tuple) else get(loss)
        value = expected(VECTORS[:4], VECTORS[4:], Relation(eye, ~eye, 1))
        assert called(backend, made(backend, loss), a, b, relation) == pytest.approx(float(value), rel=1e-5)
    x, y = tensors(backend)
    module = made(backend, 'TripletMarginLoss', miner=TripletMarginMiner(type_of_triplets='hard'))
    with_labels = called(backend, module, x, y)
    assert called(backend, module, x, x, same_class(y, like=x)) == pytest.approx(with_labels, rel=1e-5)


def test_scores(backend):
    score = np.array([0.1, 0.9, 0.5, 0.3], np.float32)
    expected = get('CoSENTLoss')(VECTORS[:4], VECTORS[4:], score)
    module = made(backend, 'CoSENTLoss')
    found = called(backend, module, native(backend, VECTORS[:4]), native(backend, VECTORS[4:]), native(backend, score))
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_several_labels_of_an_item(backend):
    label = np.array([[0, 1], [1, -1], [0, -1], [2, 3]], np.int32)
    objective = Objective(get('ArcFaceLoss'))
    codes = {'item': np.arange(4, dtype=np.int32), 'label': label}
    expected = objective(VECTORS[:4], codes, Layout(4, 1, 2, N_CLASSES), objective.parameters(DIM, N_CLASSES))
    found = called(backend, made(backend, 'ArcFaceLoss'), native(backend, VECTORS[:4]), native(backend, label))
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_names_as_labels_where_nothing_is_learned_of_classes(backend):
    module = made(backend, 'InfoNCELoss', dim=None, n_classes=None)
    x, y = tensors(backend)
    if not backend.startswith('keras'):  # whose layers take tensors
        assert called(backend, module, x, list('aabbccdd')) == pytest.approx(called(backend, module, x, y))


def test_a_memory_grows_in_training_and_is_read_in_evaluation(backend):
    module = made(backend, ('CrossBatchMemory', {'loss': 'InfoNCELoss', 'memory_size': 20}), n_classes=None)
    plain = called(backend, made(backend, 'InfoNCELoss'), *tensors(backend))
    assert called(backend, module, *tensors(backend)) == pytest.approx(plain, rel=1e-5)
    assert called(backend, module, *tensors(backend), training=True) == pytest.approx(plain, rel=1e-5)
    second = called(backend, module, *tensors(backend))
    assert second != pytest.approx(plain, rel=1e-3)
    assert called(backend, module, *tensors(backend)) == pytest.approx(second, rel=1e-6)
    for _ in range(2):
        called(backend, module, *tensors(backend), training=True)
    memory = state(backend, module)
    assert sorted(memory['memory_item'].tolist()) == list(range(4, 24)) and memory['memory_seen'].tolist() == [24]
    # Every earlier embedding is there once for each time it was seen, without slope.
    x, y = np.concatenate([VECTORS] * 3), np.concatenate([LABELS] * 3)
    rows = {'item': np.arange(24, 32, dtype=np.int32), 'label': CODES['label']}
    order = memory['memory_item'][8:]  # the batch takes its part of memory_size
    past = {'embedding': x[order], 'item': order, 'label': y[order].astype(np.int32)[:, None]}
    expected = Objective(module_loss(module))(VECTORS, rows, LAYOUT, {}, past)
    assert called(backend, module, *tensors(backend)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.backends('torch')
@pytest.mark.parametrize('size', [4, 8, 10, 30])
def test_a_memory_holds_what_the_peers_holds(size):
    import torch
    from pytorch_metric_learning import losses as theirs

    module = made('torch', ('CrossBatchMemory', {'loss': 'ContrastiveLoss', 'memory_size': size}), n_classes=None)
    peer = theirs.CrossBatchMemory(theirs.ContrastiveLoss(), DIM, memory_size=size)
    random = np.random.default_rng(0)
    for step in range(5):
        x = torch.tensor(cases.vectors(4, DIM, seed=step))
        y = torch.tensor(random.integers(0, 3, 4))
        assert called('torch', module, x, y, training=True) == pytest.approx(float(peer(x, y)), rel=1e-5), step


def test_a_miner_by_its_class(backend):
    by_name = called(backend, made(backend, 'TripletMarginLoss', miner='BatchHardMiner'), *tensors(backend))
    miner = type(get('BatchHardMiner', 'miner'))
    assert called(backend, made(backend, 'TripletMarginLoss', miner=miner), *tensors(backend)) == by_name


def test_how_many_others_of_a_class_is_kept(backend):
    x, y = native(backend, VECTORS), native(backend, np.array([0, 0, 0, 0, 1, 1, 1, -1]))
    with pytest.raises(ArgumentError, match='has 3 others of its class, and most=2 was promised'):
        made(backend, 'TripletMarginLoss', most=2)(x, y)
    free = called(backend, made(backend, 'TripletMarginLoss'), x, y)
    for most in (3, 7):
        assert called(backend, made(backend, 'TripletMarginLoss', most=most), x, y) == pytest.approx(free, rel=1e-6)
    several = native(backend, np.array([[0, 1], [0, 1], [1, -1], [2, 3], [2, 3], [3, 2], [4, 5], [6, 7]]))
    made(backend, 'TripletMarginLoss', most=2)(x, several)
    with pytest.raises(ArgumentError, match='has 2 others of its class, and most=1 was promised'):
        made(backend, 'TripletMarginLoss', most=1)(x, several)


def module_loss(module):
    return module.function.loss if hasattr(module, 'function') else module.loss


@pytest.mark.parametrize(
    ('loss', 'options', 'message'),
    [
        ('ArcFaceLoss', {'dim': None}, 'ArcFaceLoss needs the size of the embeddings'),
        ('ArcFaceLoss', {'n_classes': None}, 'ArcFaceLoss learns something of each class'),
        (('CrossBatchMemory', {'loss': 'InfoNCELoss'}), {'dim': None}, 'CrossBatchMemory needs the size'),
        (('MatryoshkaLoss', {'loss': 'InfoNCELoss', 'dims': [9]}), {}, 'have 6 numbers only'),
        ('ArcFaceLoss', {'miner': 'TripletMarginMiner'}, 'has nothing to choose from'),
        ('CoSENTLoss', {'miner': 'TripletMarginMiner'}, 'has nothing to choose from'),
        ('InfoNCELoss', {'miner': 'TripletMargin'}, "Did you mean 'TripletMarginMiner'"),
        ('InfoNCELoss', {'miner': 5}, 'miner=5 is no miner'),
        ('InfoNCELoss', {'miner': get('InfoNCELoss')}, 'is no miner'),
        ('InfoNCELoss', {'n_classes': 0}, 'n_classes=0: expected a whole number from 1'),
        ('ArcFaceLoss', {'n_classes': -1}, 'n_classes=-1: expected a whole number from 1'),
        ('ArcFaceLoss', {'dim': '3'}, "dim='3': expected a whole number from 1"),
        ('InfoNCELoss', {'most': 0}, 'most=0: expected a whole number from 1'),
        ('InfoNCELoss', {'most': -1}, 'most=-1: expected a whole number from 1'),
        ('InfoNCELoss', {'most': True}, 'most=True: expected a whole number from 1'),
        ('ArcFaceLoss', {'means': np.eye(3, 6)}, r'of shape \(3, 6\): expected numbers of shape \(C, D\), \(4, 6\)'),
        ('ArcFaceLoss', {'means': 'zeros'}, 'expected numbers of shape'),
    ],
)
def test_what_cannot_be_is_refused(backend, loss, options, message):
    with pytest.raises(ArgumentError, match=message):
        made(backend, loss, **options)


def test_what_cannot_be_called_is_refused(backend):
    x, y = tensors(backend)
    arc = made(backend, 'ArcFaceLoss', n_classes=3)
    with pytest.raises(ArgumentError, match='A label is 3: with 3 classes they go from 0 to 2'):
        arc(x, y)
    with pytest.raises(ArgumentError, match='There are 8 embeddings and 3 labels'):
        arc(x, y[:3])
    if not backend.startswith('keras'):  # whose layers take tensors
        with pytest.raises(ArgumentError, match=r"\['a', 'b', 'c'\]…: ArcFaceLoss learns or remembers classes"):
            arc(x, list('abcdefgh'))
    with pytest.raises(ArgumentError, match='A label is 9: with 3 classes they go from 0 to 2'):
        arc(x, native(backend, np.array([0, 5, 7, 9, 0, 0, 0, 0], np.float32)))
    with pytest.raises(ArgumentError, match=r'labels have the shape \(\)' if backend == 'torch' else 'labels|shape'):
        arc(x, native(backend, np.array(1)))
    with pytest.raises(ArgumentError, match='memory_size=4, and a batch has 8 candidates'):
        made(backend, ('CrossBatchMemory', {'loss': 'InfoNCELoss', 'memory_size': 4}))(x, y)
    with pytest.raises(ArgumentError, match='CrossBatchMemory takes one label of each item'):
        made(backend, ('CrossBatchMemory', {'loss': 'InfoNCELoss'}))(x, native(backend, np.stack([LABELS] * 2, axis=1)))
    with pytest.raises(ArgumentError, match=r'ArcFaceLoss goes by labels: call module\(embeddings, labels\)'):
        arc(x, x, same_class(y, like=x))
    with pytest.raises(ArgumentError, match=r'CoSENTLoss expects scores: call module\(anchors, candidates, scores\)'):
        made(backend, 'CoSENTLoss')(x, y)


def test_there_are_three_frameworks():
    with pytest.raises(ArgumentError, match="framework='tensorflow'. Known are: keras, paddle, torch"):
        get('InfoNCELoss').module('tensorflow')


@pytest.mark.backends('torch', 'paddle')
def test_half_precision_is_for_the_model_alone(backend):
    x, y = tensors(backend)
    if backend == 'torch':
        import torch

        context, x = torch.autocast('cpu', torch.bfloat16), x.bfloat16()
    else:
        from finetuner.backends.paddle import paddle

        context, x = paddle.amp.auto_cast(dtype='bfloat16', level='O1'), x.astype('bfloat16')
    module = made(backend, SEVERAL)
    expected = called(backend, module, x.float() if backend == 'torch' else x.astype('float32'), y)
    with context:
        assert called(backend, module, x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.backends('torch')
def test_a_torch_module_is_saved_copied_and_compiled(tmp_path):
    import torch

    for loss in (SEVERAL, ('CrossBatchMemory', {'loss': 'InfoNCELoss', 'memory_size': 20})):
        x, y = tensors('torch')
        module, other = made('torch', loss), made('torch', loss)
        optimizer = torch.optim.SGD([*module.parameters(), torch.nn.Parameter(torch.zeros(1))], 0.1)
        x.requires_grad_()
        module(x, y).backward()
        optimizer.step()
        torch.save(module.state_dict(), tmp_path / 'module.pt')
        other.load_state_dict(torch.load(tmp_path / 'module.pt', weights_only=True))
        value = called('torch', module, x, y)
        for same in (other, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            assert called('torch', same, x, y) == value
        assert 'InfoNCELoss' in repr(module)
    module = made('torch', SEVERAL).eval()
    compiled = torch.compile(module, fullgraph=True, backend='eager')
    assert float(compiled(x, y)) == pytest.approx(float(module(x, y)))


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
@pytest.mark.parametrize(
    ('loss', 'options'),
    [
        (SEVERAL, {}),
        (('CrossBatchMemory', {'loss': 'InfoNCELoss', 'memory_size': 20}), {}),
        ('TripletMarginLoss', {'miner': 'TripletMarginMiner'}),
    ],
)
def test_a_keras_layer_is_part_of_a_model_and_saved_with_it(tmp_path, loss, options):
    import keras

    def model():
        inputs, labels = keras.Input((DIM,)), keras.Input((), dtype='int32')
        return keras.Model([inputs, labels], made('keras', loss, **options)(inputs, labels))

    def added():
        inputs, labels = keras.Input((DIM,)), keras.Input((), dtype='int32')
        layer, vectors = made('keras', loss, **options), keras.layers.Dense(DIM)(inputs)

        class Model(keras.Model):
            def call(self, both, training=False):
                self.add_loss(self.layer(self.body(both[0]), both[1], training=training))
                return both[0]

        whole = Model()
        whole.body, whole.layer = keras.Model(inputs, vectors), layer
        del labels
        return whole

    first = model()
    first.save(tmp_path / 'model.keras')
    again = keras.models.load_model(tmp_path / 'model.keras')
    data = (VECTORS, LABELS.astype(np.int32))
    assert float(again(data)) == pytest.approx(float(first(data)), rel=1e-6)
    keras.utils.set_random_seed(0)  # from some weights a few steps are too few
    second = added()
    second.compile(keras.optimizers.Adam(0.02))
    losses = second.fit(data, batch_size=8, epochs=60, verbose=0).history['loss']
    assert losses[-1] < losses[0] or 'CrossBatchMemory' in loss


@pytest.mark.backends('keras-tensorflow')
def test_triplets_in_a_batch_of_unknown_size_need_a_bound():
    import keras

    layer = made('keras', 'TripletMarginLoss', miner=TripletMarginMiner(distance='sqeuclidean'))

    class Model(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return layer(y_pred, y)

        def call(self, inputs):
            return self.body(inputs)

    model = Model()
    model.body = keras.layers.Dense(DIM)
    model.compile()
    with pytest.raises(ArgumentError, match=r'module\(…, most=3\)'):
        model.fit(VECTORS, LABELS, verbose=0)


@pytest.mark.backends('paddle')
def test_a_paddle_layer_is_saved(tmp_path):
    from finetuner.backends.paddle import paddle

    for loss in (SEVERAL, ('CrossBatchMemory', {'loss': 'InfoNCELoss', 'memory_size': 20})):
        x, y = tensors('paddle')
        module, other = made('paddle', loss), made('paddle', loss)
        x.stop_gradient = False
        module(x, y).backward()
        optimizer = paddle.optimizer.SGD(0.1, [*module.parameters(), paddle.create_parameter([1], 'float32')])
        optimizer.step()
        paddle.save(module.state_dict(), str(tmp_path / 'module.pdparams'))
        other.set_state_dict(paddle.load(str(tmp_path / 'module.pdparams')))
        assert called('paddle', other, x, y) == called('paddle', module, x, y)
        assert 'InfoNCELoss' in repr(module)
