"""What only PaddlePaddle has: statistics that are parameters, LSTMs that hold their cells, its models for images."""

import copy
import threading

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, ModelError
from finetuner.inference import encoder
from finetuner.losses import pooling as formulas
from finetuner.tailor import summary
from finetuner.tailor.base import tailor

pytestmark = pytest.mark.backends('paddle')


@pytest.fixture
def models():
    from tests.tailor import models_paddle

    return {case.name: case for case in models_paddle.CASES}


def tailored(case, **options):
    return finetuner.to_embedding_model(case.build(), case.layer, inputs=case.inputs(), **options)


def rows(model, inputs):
    return [(x.name, x.shape[1:], x.parameters) for x in tailor(model).trace(model, inputs)]


def test_the_lists_are_those_of_the_original(hands):
    nn = hands.nn

    class Last(nn.Layer):
        def forward(self, x):
            return x[0][:, -1]

    mlp = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 32))
    assert rows(mlp, np.zeros((2, 28, 28), np.float32))[:-1] == [
        ('flatten_1', (784,), 0),
        ('linear_2', (128,), 100480),
        ('relu_3', (128,), 0),
        ('linear_4', (32,), 4128),
    ]
    lstm = nn.Sequential(nn.Embedding(5000, 64), nn.LSTM(64, 64, direction='bidirectional'), Last(), nn.Linear(128, 32))
    assert rows(lstm, np.zeros((2, 10), np.int64))[:-1] == [
        ('embedding_1', (10, 64), 320000),
        ('lstm_2', (10, 128), 66560),
        ('last_3', (128,), 0),
        ('linear_4', (32,), 4128),
    ]


def test_vgg16_of_paddle_vision(hands):
    model = hands.vision('vgg16')()
    images = hands.floats(3, 32, 32)()[:2]
    found = rows(model, images)
    assert found[0] == ('conv2d_1', (64, 32, 32), 1792)
    assert [x for x in found if x[0].partition('_')[0] in ('adaptiveavgpool2d', 'linear')] == [
        ('adaptiveavgpool2d_32', (512, 7, 7), 0),
        ('linear_33', (4096,), 102764544),
        ('linear_36', (4096,), 16781312),
        ('linear_39', (1000,), 4097000),
    ]
    assert found[-1] == ('', (1000,), 138357544)
    cut = finetuner.to_embedding_model(model, 'linear_36', inputs=images, inplace=True)
    assert type(cut) is type(model) and cut.classifier[3].weight is model.classifier[3].weight
    assert finetuner.embed(cut, images).shape == (2, 4096)


def test_resnet18_of_paddle_vision(hands):
    model = hands.vision('resnet18')()
    images = hands.floats(3, 32, 32)()
    cut = finetuner.to_embedding_model(model, inputs=images, freeze_layer=3, output_dim=16)
    left = {name.split('.')[2] for name in hands.trainable(cut) if name.startswith('body.')}
    assert left == {'layer4'}
    before = hands.statistics(cut)
    finetuner.fit(cut, (np.concatenate([images] * 2), np.arange(8) % 2), epochs=1, device='cpu')
    after = hands.statistics(cut)
    moved = {name.split('.')[2] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {'layer4'}


def test_copies_and_modes_keep_what_is_frozen(models, hands):
    case = models['cnn']
    model = copy.deepcopy(tailored(case, freeze=['bn1'], output_dim=5))
    for _ in range(2):
        model.train()
        hands.call(model, case.inputs(), training=True)
    kept, general = hands.statistics(model), hands.statistics(case.build())
    assert np.array_equal(kept['body.model.bn1._mean'], general['bn1._mean'])
    assert not np.array_equal(kept['body.model.bn2._mean'], general['bn2._mean'])
    assert not any('bn1' in name for name in hands.trainable(model))


def test_the_model_given_stays_as_it_was(models, hands):
    from finetuner.backends.paddle import paddle

    case = models['cnn']
    model = case.build()
    model.train()
    model.conv1.eval()
    model.bn2.weight.stop_gradient = True
    layers = model.sublayers(include_self=True)

    def state():
        hooks = [(len(x._forward_pre_hooks), len(x._forward_post_hooks)) for x in layers]
        flags = [(p.stop_gradient, p.grad is None) for p in model.parameters()]
        return hooks, flags, [x.training for x in layers]

    before = state()
    paddle.seed(3)
    chance = paddle.rand([3]).numpy()
    paddle.seed(3)
    finetuner.to_embedding_model(model, inputs=case.inputs(), freeze=['conv1'])
    with pytest.raises(ModelError):
        summary(model, inputs=case.inputs()[:, :2])
    assert np.array_equal(paddle.rand([3]).numpy(), chance)
    assert state() == before


def test_frozen_flags_of_the_model_are_kept(models, hands):
    case = models['vgg']
    model = case.build()
    model[0][0][0].weight.stop_gradient = True
    cut = finetuner.to_embedding_model(model, inputs=case.inputs())
    assert cut[0][0][0].weight.stop_gradient and not cut[0][0][0].bias.stop_gradient


@pytest.mark.parametrize('decorated', [False, True])
def test_what_paddle_jit_has_compiled_is_seen_and_cut_as_well(models, hands, decorated):
    paddle, case = hands.paddle, models['cnn']

    class Decorated(hands.CNN):
        forward = paddle.jit.to_static(hands.CNN.forward)

    plain = case.build()
    model = hands.seeded(Decorated)() if decorated else paddle.jit.to_static(case.build())
    inputs = case.inputs()
    hands.call(model, inputs)
    assert rows(model, inputs)[:-1] == rows(plain, inputs)[:-1]
    assert type(model.forward) is not type(plain.forward)
    for inplace in (False, True):
        cut = finetuner.to_embedding_model(model, inputs=inputs, inplace=inplace)
        expected = hands.activation(plain, inputs, case).mean((2, 3))
        np.testing.assert_allclose(hands.call(cut, inputs), expected, atol=1e-6)
        assert hands.reached(cut, inputs) == hands.trainable(cut)


@pytest.mark.parametrize('kind', ['LSTM', 'GRU', 'SimpleRNN'])
def test_recurrent_layers_with_dropout_are_cut_and_keep_their_cells(kind, hands):
    nn, paddle = hands.nn, hands.paddle

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = getattr(nn, kind)(6, 8, num_layers=2, dropout=0.3), nn.Linear(8, 3)

        def forward(self, x):
            return self.out(self.rnn(x)[0].mean(1))

    paddle.seed(0)
    inputs = hands.floats(5, 6)()
    cut = finetuner.to_embedding_model(Net(), 'rnn', inputs=inputs)
    assert repr(cut).count('Cell(') == 2
    assert finetuner.embed(cut, inputs).shape == (4, 8)
    assert hands.reached(cut, inputs) == hands.trainable(cut)


def test_recurrent_layers_that_never_ran_are_placed_and_take_a_batch_in_chunks(hands):
    class Net(hands.nn.Layer):
        def __init__(self):
            super().__init__()
            self.rnn = hands.nn.LSTM(6, 8)

        def forward(self, x):
            return self.rnn(x)[0].mean(1)

    data = (np.concatenate([hands.floats(5, 6)()] * 2), np.arange(8) % 2)
    assert finetuner.embed(Net(), data[0]).shape == (8, 8)
    finetuner.fit(Net(), data, epochs=1, mini_batch_size=4, device='cpu')


@pytest.mark.parametrize('after', ['dropout', 'relu', 'again'])
def test_a_function_after_the_cut_does_not_run_though_it_changes_nothing_here(hands, after):
    nn, paddle = hands.nn, hands.paddle

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.body, self.act, self.out = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)
            self.body.weight.set_value(np.eye(4, dtype=np.float32))

        def forward(self, x):
            x = self.body(x) if after != 'again' else self.act(self.act(self.body(x)))
            if after == 'dropout':
                x = nn.functional.dropout(x, 0.5, training=self.training)
            if after == 'relu':
                x = nn.functional.relu(x)
            return self.out(x)

    inputs = np.abs(hands.floats(4)())
    cut = tailor(Net()).cut(Net(), 'act' if after == 'again' else 'body', 1, inputs)
    assert cut.way == 'wrapper'
    x = paddle.to_tensor(inputs)
    assert np.array_equal(cut.model(x).numpy(), cut.model.model.body(x).numpy())


def test_what_is_added_is_in_the_mode_of_the_model(models):
    case = models['cnn']
    for train in (True, False):
        model = case.build()
        (model.train if train else model.eval)()
        cut = finetuner.to_embedding_model(model, inputs=case.inputs(), projection_head='mlp', output_dim=5)
        assert {layer.training for layer in cut.sublayers(include_self=True)} == {train}


@pytest.mark.parametrize(
    'pooling', ['mean', 'max', 'cls', 'gem', 'attention', {'name': 'gem', 'p': 2.0, 'learn': False}]
)
def test_pooling_is_that_of_numpy_and_what_it_learns_is_trained(models, hands, pooling):
    case = models['text']
    inputs = case.inputs()
    model = tailored(case, pooling=pooling)
    x, mask = hands.activation(case.build(), inputs, case), inputs['attention_mask']
    options = pooling if isinstance(pooling, dict) else {'name': pooling}
    expected = {
        'mean': lambda: formulas.mean(x, mask=mask),
        'max': lambda: formulas.max(x, mask=mask),
        'cls': lambda: formulas.cls(x),
        'gem': lambda: formulas.gem(x, options.get('p', 3.0), mask=mask),
        'attention': lambda: formulas.attention(x, np.zeros(16, np.float32), mask=mask),
    }[options['name']]()
    np.testing.assert_allclose(hands.call(model, inputs), expected, rtol=1e-5, atol=1e-6)
    learned = {name for name in hands.trainable(model) if name.startswith('pool.')}
    assert learned == {'gem': {'pool.p'}, 'attention': {'pool.query'}}.get(
        pooling if isinstance(pooling, str) else '', set()
    )
    assert hands.reached(model, inputs) == hands.trainable(model)


def test_it_can_be_called_in_all_ways_the_model_can(models):
    from finetuner.backends.paddle import paddle

    case = models['pair']
    model = tailored(case, output_dim=5)
    model.eval()
    left, right = (paddle.to_tensor(x) for x in case.inputs().values())
    assert np.array_equal(model(left, right).numpy(), model(left=left, right=right).numpy())
    assert encoder(model).embed([left, right]).shape == (4, 5)
    case = models['tower']
    assert encoder(tailored(case, output_dim=5)).embed(case.inputs()).shape == (4, 5)


def test_a_tailored_model_is_tailored_again(models, hands):
    case = models['tower']
    once = tailored(case, output_dim=5)
    twice = finetuner.to_embedding_model(once, 'body.model.blocks.layers.0', inputs=case.inputs())
    expected = hands.activation(case.build(), case.inputs(), models['tower block']).mean(1)
    np.testing.assert_allclose(hands.call(twice, case.inputs()), expected, atol=1e-5)


def test_it_prints_and_changes_its_precision(models):
    case = models['cnn']
    double = finetuner.to_embedding_model(case.build().to(dtype='float64'), inputs=case.inputs(), output_dim=5)
    model = tailored(case, output_dim=5).to(dtype='float64')
    for x in (double, model):
        assert str(encoder(x).forward(case.inputs()).dtype) == 'paddle.float64'
    assert 'Linear(in_features=16, out_features=5' in repr(model) and "ends at 'bn2'" in repr(model)


def test_hooks_of_the_users_own_stay(models):
    case = models['cnn']
    model, heard = case.build(), []
    model.conv1.register_forward_post_hook(lambda layer, args, output: heard.append(output.shape))
    summary(model, inputs=case.inputs())
    cut = finetuner.to_embedding_model(model, inputs=case.inputs(), inplace=True)
    before = len(heard)
    encoder(cut).embed(case.inputs())
    assert len(heard) == before + 1


def test_two_threads_may_use_one_model(models, hands):
    case = models['tower block']
    model, inputs = tailored(case, output_dim=5), case.inputs()
    expected = hands.call(model, inputs)
    results = []

    def work():
        results.extend(np.abs(encoder(model).embed(inputs) - expected).max() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60 and max(results) < 1e-6


def test_parameters_in_a_list_are_dropped_one_by_one(hands):
    nn = hands.nn

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.all = nn.ParameterList([self.create_parameter([4, 8]), self.create_parameter([8, 3])])
            self.act = nn.Tanh()

        def forward(self, x):
            return self.act(x @ self.all[0]) @ self.all[1]

    cut = finetuner.to_embedding_model(Net(), 'act', input_size=(4,))
    assert hands.trainable(cut) == {'model.all.0'}


def test_another_way_through_the_model_is_an_error(hands):
    nn, paddle = hands.nn, hands.paddle

    class Skips(nn.Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(4, 8)

        def forward(self, x):
            x = self.a(x).abs()
            return nn.functional.relu(self.b(x) if x.sum() < 1e6 else self.c(x))

    class Returns(Skips):
        def forward(self, x):
            x = self.a(x).abs()
            x = self.b(x if x.sum() < 1e6 else self.c(x)[:, :4])
            return self.c(x[:, :4])

    for kind, message in ((Skips, 'ended before call 1 of b'), (Returns, 'was cut off')):
        model = finetuner.to_embedding_model(kind(), 'b', input_size=(4,))
        assert model(paddle.ones([2, 4])).shape == [2, 8]
        with pytest.raises(ModelError, match=f'{message}.*another way'):
            model(paddle.full([2, 4], 1e30))


def test_what_cannot_be_cut_or_called_is_refused(models, hands):
    nn = hands.nn

    class Both(nn.Layer):
        def forward(self, x):
            return {'a': x, 'b': x}

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.both, self.last = nn.Linear(4, 8), Both(), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.both(self.first(x))['a'])

    with pytest.raises(ArgumentError, match=r"both_2 is no tensor.*'linear_1'"):
        finetuner.to_embedding_model(Net(), 'both', input_size=(4,))
    inputs = np.zeros((2, 4), np.float32)
    with pytest.raises(ModelError, match='gives a dict and no tensor'):
        tailor(Net()).cut(Net(), 'both', 1, inputs)
    with pytest.raises(ModelError, match='ran 1 times'):
        tailor(Net()).cut(Net(), 'first', 2, inputs)
    with pytest.raises(ArgumentError, match=r"runs 4 times.*'tanh_2'"):
        finetuner.to_embedding_model(models['shared'].build(), 'act', inputs=models['shared'].inputs())
    with pytest.raises(ArgumentError, match='input_size'):
        finetuner.display(Net())
    with pytest.raises(ModelError, match=r'float32 \(2, 7\).*input_dtype'):
        finetuner.display(models['lstm'].build(), (7,))
    with pytest.raises(ModelError, match=r'int64 \(2, 3, 8, 8\).*kernel.*input_dtype') as refused:
        finetuner.display(models['cnn'].build(), (3, 8, 8), 'int64')
    assert '\n' not in str(refused.value) and 'Traceback' not in str(refused.value)


def test_what_a_layer_does_to_its_tensor_in_training_alone_is_not_cut_off(hands):
    import paddle
    from paddle import nn

    class Block(nn.Layer):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(4, 64)

        def forward(self, x):
            return nn.functional.dropout(self.dense(x), 0.5, training=self.training), None

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.block, self.head = Block(), nn.Linear(64, 3)

        def forward(self, x):
            return self.head(self.block(x)[0])

    cut = finetuner.to_embedding_model(Net(), 'block', inputs=paddle.ones([4, 4]))
    assert (hands.call(cut, np.ones((4, 4), np.float32), training=True) == 0).any()
    assert not (hands.call(cut, np.ones((4, 4), np.float32)) == 0).any()


@pytest.mark.parametrize('name', ['mlp', 'vgg', 'choosing', 'lstm', 'pair', 'tower', 'text'])
def test_it_is_compiled_and_saved_by_paddle_jit(models, hands, name, tmp_path):
    import paddle

    case = models[name]
    model = tailored(case, output_dim=5)
    expected = hands.call(model, case.inputs())
    args, kwargs = finetuner.inference.arguments(model.forward, encoder(model).native(case.inputs()))
    given = [*args, *kwargs.values()]
    open_ = finetuner.inference.leaves(lambda x: paddle.static.InputSpec([None, *x.shape[1:]], x.dtype), given)
    compiled = paddle.jit.to_static(model, input_spec=open_, full_graph=True)
    np.testing.assert_allclose(encoder(compiled).embed(case.inputs()), expected, atol=1e-6)
    paddle.jit.save(compiled, str(tmp_path / 'model'))
    tensors = []
    finetuner.inference.leaves(lambda x: tensors.append(x[:3]), given)
    again = paddle.jit.load(str(tmp_path / 'model'))
    np.testing.assert_allclose(again(*tensors).numpy(), expected[:3], atol=1e-6)


def test_its_forward_has_the_arguments_of_the_model(models):
    import inspect

    case = models['text']
    general, model = case.build(), tailored(case, output_dim=5)
    assert inspect.signature(model.forward) == inspect.signature(general.forward)
    assert inspect.signature(model.body.forward) == inspect.signature(general.forward)


@pytest.mark.parametrize('kind', ['BatchNorm2D', 'BatchNorm', 'InstanceNorm2D', 'SpectralNorm'])
def test_frozen_norms_stand_still_whatever_they_were_told(kind, hands):
    import paddle
    from paddle import nn

    options = {'BatchNorm2D': {'use_global_stats': False}, 'BatchNorm': {'trainable_statistics': True}}

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2D(3, 8, 3), nn.Linear(8, 4)
            self.norm = getattr(nn, kind)([8, 3, 3, 3] if kind == 'SpectralNorm' else 8, **options.get(kind, {}))

        def forward(self, x):
            if kind == 'SpectralNorm':
                x = nn.functional.conv2d(x, self.norm(self.conv.weight))
            else:
                x = self.norm(self.conv(x))
            return self.head(x.mean([2, 3]))

    inputs = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    model = finetuner.to_embedding_model(Net(), 'head', inputs=inputs, freeze=['norm'], output_dim=2)
    before = hands.statistics(model)
    whole = hands.call(model, inputs, training=True)
    np.testing.assert_allclose(hands.call(model, inputs[:1], training=True), whole[:1], atol=1e-6)
    hands.train(model, inputs)
    after = hands.statistics(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert bool(before) == (kind != 'InstanceNorm2D')  # which has none
    finetuner.unfreeze(model)
    hands.train(model, inputs)
    moved = {name for name, value in hands.statistics(model).items() if not np.array_equal(value, after[name])}
    assert moved == (set(after) if kind != 'SpectralNorm' else set())  # those Paddle moves in no mode
    assert paddle.is_grad_enabled()
