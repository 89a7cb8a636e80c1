"""Losses made of others: by name, with what they learn, in training, and what they refuse."""

import pickle
from dataclasses import fields

import numpy as np
import pytest

import finetuner
from finetuner import losses
from finetuner.errors import ArgumentError
from finetuner.losses import get, registry
from finetuner.losses.config import from_config, to_config
from finetuner.losses.names import LOSSES, REGULARIZERS, WRAPPERS, find
from finetuner.losses.objective import Objective
from finetuner.losses.wrapper import Wrapper
from finetuner.typing import Layout
from tests.losses import cases
from tests.losses.peers import compare
from tests.losses.test_nasty import BATCHES, LABELS, batch_of, finite
from tests.models import clusters, mlp

SEVERAL = {'losses': ['ArcFaceLoss', ('InfoNCELoss', {'temperature': 0.5})], 'weights': [1, 2]}
MADE = {
    'MultipleLosses': SEVERAL,
    'MatryoshkaLoss': {'loss': ('MultipleLosses', SEVERAL), 'dims': [4, 2]},
    'RegularizedLoss': {
        'loss': 'ArcFaceLoss',
        'embedding_regularizer': ('LpRegularizer', {'power': 2}),
        'weight_regularizer': 'RegularFaceRegularizer',
        'weight_reg_weight': 0.1,
    },
    'CrossBatchMemory': {'loss': ('MatryoshkaLoss', {'loss': 'InfoNCELoss'}), 'memory_size': 40},
}
NASTY = [
    *[get(name, **MADE[name]) for name in ('MultipleLosses', 'MatryoshkaLoss')],
    *[
        get('RegularizedLoss', loss='TripletLoss', embedding_regularizer=name)
        for name in REGULARIZERS
        if 'Sp' not in name
    ],
    get('RegularizedLoss', loss='SoftTripleLoss', weight_regularizer='SparseCentersRegularizer'),
    get('RegularizedLoss', loss='TripletLoss', embedding_regularizer=('LpRegularizer', {'p': 5, 'power': 1.5})),
]


@pytest.mark.parametrize('name', WRAPPERS)
def test_they_are_values(name):
    loss = get(name, **MADE[name])
    assert isinstance(loss, Wrapper)
    assert type(loss) is getattr(losses, name) and name in dir(losses)
    assert loss == get(name, **MADE[name]) and hash(loss) == hash(get(name, **MADE[name]))
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert from_config(to_config(loss)) == loss
    assert repr(loss).startswith(f'{name}(') and "'" not in repr(loss).replace("'mean'", '')


@pytest.mark.parametrize('name', WRAPPERS)
def test_they_say_when_to_use_them_what_they_take_and_where_from(name):
    text = find(name).__doc__
    assert 'When to use: ' in text and 'Source: ' in text and '>>> ' in text
    for field in fields(find(name)):
        assert f'        {field.name}: ' in text


@pytest.mark.parametrize('name', REGULARIZERS)
def test_regularizers_are_values_too(name):
    made = getattr(losses, name)()
    assert made == get(name, 'regularizer') and from_config(to_config(made)) == made
    assert pickle.loads(pickle.dumps(made)) == made and name in dir(losses)


def test_a_configuration_is_of_what_can_be_read_again():
    class Own(find('InfoNCELoss')):
        pass

    with pytest.raises(ArgumentError, match='Own is not one of ours'):
        to_config(get('MultipleLosses', losses=[Own()]))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: get('MultipleLosses'), "MultipleLosses needs the option 'losses'"),
        (lambda: get('MultipleLosses', losses=[]), r'losses=\[\]: expected a list'),
        (lambda: get('MultipleLosses', losses='InfoNCELoss'), "losses='InfoNCELoss': expected a list"),
        (lambda: get('MultipleLosses', losses=['InfoNCLoss']), "Did you mean 'InfoNCELoss'"),
        (lambda: get('MultipleLosses', losses=[3]), '3 is no loss'),
        (lambda: get('MultipleLosses', losses=['TripletLoss'], weights=[1, 2]), 'expected a list of 1 numbers'),
        (lambda: get('MultipleLosses', losses=['TripletLoss'], weights=['a']), "'a' is no finite number"),
        (lambda: get('MultipleLosses', losses=['TripletLoss'], weights=[float('nan')]), 'nan is no finite number'),
        (lambda: get('MultipleLosses', losses=[memory()]), 'CrossBatchMemory must stand outermost'),
        (lambda: get('MatryoshkaLoss', loss=memory()), 'CrossBatchMemory must stand outermost'),
        (lambda: get('RegularizedLoss', loss=memory()), 'CrossBatchMemory must stand outermost'),
        (lambda: get('CrossBatchMemory', loss=memory()), 'CrossBatchMemory must stand outermost'),
        (lambda: get('CrossBatchMemory', loss=('MultipleLosses', SEVERAL)), 'ArcFaceLoss does not compare items'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=[]), r'dims=\[\]: expected sizes'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=[2, 0]), r'dims=\[2, 0\]: expected sizes'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=[1.5]), r'dims=\[1.5\]: expected sizes'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=32), 'dims=32: expected sizes'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', weights=[1]), 'give dims too'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=[9, 4]).parameters(8, 2), 'have 8 numbers only'),
        (lambda: get('MatryoshkaLoss', loss='TripletLoss', dims=[9])(np.eye(8), [0, 1] * 4), 'have 8 numbers only'),
        (lambda: get('RegularizedLoss', loss='TripletLoss'), 'has no regularizer'),
        (lambda: regularized(weight_regularizer='LpRegularizer'), 'TripletLoss learns no classes'),
        (lambda: regularized(embedding_regularizer='LpRegulariser'), "Did you mean 'LpRegularizer'"),
        (lambda: regularized(embedding_regularizer='SparseCentersRegularizer'), 'is one of learned classes'),
        (lambda: regularized(embedding_regularizer=get('TripletLoss')), 'is no regularizer'),
        (
            lambda: regularized(embedding_regularizer=('LpRegularizer', {'p': 0.5})),
            'p must be a finite number of at least 1, got 0.5',
        ),
        (lambda: regularized(embedding_regularizer=('LpRegularizer', {'q': 1})), "has no option 'q'"),
        (lambda: regularized(embedding_regularizer='LpRegularizer', embedding_reg_weight='1'), 'a finite number'),
        (
            lambda: regularized('ArcFaceLoss', weight_regularizer='SparseCentersRegularizer'),
            'needs a loss with several centers',
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def memory():
    return get('CrossBatchMemory', loss='InfoNCELoss')


def regularized(loss='TripletLoss', **options):
    return get('RegularizedLoss', loss=loss, **options)


def test_all_losses_must_suit_the_data():
    with pytest.raises(ArgumentError, match='CoSENTLoss needs scores'):
        registry.resolve('MultipleLosses', loss_options={'losses': ['InfoNCELoss', 'CoSENTLoss']}, kind='class')
    with pytest.raises(ArgumentError, match='InfoNCELoss needs labels'):
        registry.resolve(
            'MultipleLosses', loss_options={'losses': ['InfoNCELoss', 'CoSENTLoss']}, kind='score', width=2
        )
    with pytest.raises(ArgumentError, match='ArcFaceLoss needs class labels'):
        registry.resolve('MultipleLosses', loss_options=SEVERAL, kind='pair', width=2)


def test_what_matryoshka_cannot_cut_is_refused():
    class Projected(find('InfoNCELoss')):
        def parameters(self, dim, n_classes, means=None):
            return {'matrix': np.eye(dim)}

    with pytest.raises(ArgumentError, match="cannot cut 'matrix', which Projected learns"):
        get('MatryoshkaLoss', loss=Projected())


@pytest.mark.parametrize(
    ('dim', 'sizes'), [(1, (1,)), (16, (16, 8)), (64, (64, 32)), (100, (100, 50)), (768, (768, 384, 192, 96, 48))]
)
def test_sizes_of_a_matryoshka(dim, sizes):
    assert get('MatryoshkaLoss', loss='InfoNCELoss').sizes(dim) == sizes


def test_what_is_learned_keeps_its_name_or_gets_a_place():
    def names(**options):
        return [*get('MultipleLosses', **options).parameters(4, 3)]

    assert names(losses=['ArcFaceLoss']) == ['classes']
    assert names(losses=['InfoNCELoss', 'ArcFaceLoss', 'ArcFaceLoss']) == ['classes_1', 'classes_2']
    inner = ('MultipleLosses', {'losses': ['ArcFaceLoss', 'InfoNCELoss']})
    assert names(losses=['TripletLoss', inner]) == ['classes_0_1']
    loss = get('MatryoshkaLoss', loss=('MultipleLosses', {'losses': ['TripletLoss', 'SoftTripleLoss']}), dims=[4])
    assert loss.classes() == {'classes_1': 10}
    assert loss.parameters(4, 3)['classes_1'].shape == (30, 4)


@pytest.mark.backends()
@pytest.mark.parametrize('name', WRAPPERS)
def test_embeddings_with_labels_are_enough(library, name):
    loss, batch = get(name, **MADE[name]), cases.classes((0, 0, 1, 1, 2, 2))
    batch.codes['item'][:] = range(6)
    learned = cases.learned(Objective(loss), 5, 3)
    value, _ = library.run(Objective(loss), batch, *learned.values())
    x, labels = library.native(batch.embeddings), library.native(batch.codes['label'][:, 0])
    found = loss(x, labels, **{name: library.native(value) for name, value in learned.items()})
    assert float(found) == pytest.approx(value, rel=1e-6)


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('loss', NASTY, ids=[f'{type(loss).__name__} {i}' for i, loss in enumerate(NASTY)])
def test_numbers_come_out_and_nobody_changes_nothing(library, loss):
    names = ['all equal', 'all zero', 'large', 'a zero vector', 'small', 'subnormal', 'one item', 'no labels']
    for name in names[:3] if library.name == 'keras-jax' else names:  # which compiles anew for every gradient
        finite(library, Objective(loss), BATCHES[name], 'float32')
    batch = BATCHES['some are nobody']
    value, slopes = finite(library, Objective(loss), batch, 'float32')
    expected, _ = finite(library, Objective(loss), batch_of(batch.embeddings[:-3], LABELS['usual']), 'float32')
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.abs(slopes[0][-3:]).max() == 0


def test_the_embeddings_of_given_anchors_and_candidates_are_regularized():
    from finetuner.losses.relation import Relation

    rng = np.random.default_rng(0)
    a, b, eye = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), np.eye(3, dtype=bool)
    relation = Relation(eye, ~eye, 1)
    loss = get('RegularizedLoss', loss='InfoNCELoss', embedding_regularizer='ZeroMeanRegularizer')
    extra = loss(a, b, relation) - get('InfoNCELoss')(a, b, relation)
    assert extra == pytest.approx(np.abs(np.concatenate([a, b]).sum(1)).mean())
    extra = loss(a, a, relation) - get('InfoNCELoss')(a, a, relation)
    assert extra == pytest.approx(np.abs(a.sum(1)).mean())


@pytest.mark.parametrize('name', ['MultipleLosses', 'MatryoshkaLoss', 'RegularizedLoss'])
def test_they_teach(backend, name):
    model, data = mlp(backend), clusters()
    options = MADE[name] | ({'dims': [32, 8]} if name == 'MatryoshkaLoss' else {})
    _, history = finetuner.fit(
        model,
        data,
        data,
        loss=name,
        loss_options=options,
        epochs=5,
        batch_size=20,
        learning_rate=3e-3,
        return_history=True,
    )
    assert history.after['map_at_r'] > history.before['map_at_r']
    losses = [record['train_loss'] for record in history.epochs]
    assert losses[-1] < losses[0]


@pytest.fixture
def peer():
    for part in ('losses', 'regularizers'):
        pytest.importorskip(f'pytorch_metric_learning.{part}')
    return pytest.importorskip('pytorch_metric_learning')


@pytest.mark.backends('torch')
def test_several_are_those_of_pytorch_metric_learning(peer):
    theirs = [peer.losses.TripletMarginLoss(0.2), peer.losses.MultiSimilarityLoss()]
    ours = [('TripletMarginLoss', {'margin': 0.2}), 'MultiSimilarityLoss']
    compare(
        get('MultipleLosses', losses=ours, weights=[1.5, 0.5]),
        peer.losses.MultipleLosses(theirs, weights=[1.5, 0.5]),
    )


@pytest.mark.backends('torch')
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('LpRegularizer', {}),
        ('LpRegularizer', {'p': 3, 'power': 2}),
        ('ZeroMeanRegularizer', {}),
        ('CenterInvariantRegularizer', {}),
        ('RegularFaceRegularizer', {}),
    ],
)
def test_regularizers_are_those_of_pytorch_metric_learning(peer, name, options):
    theirs = getattr(peer.regularizers, name)(**options)
    both = {'embedding_regularizer': theirs, 'embedding_reg_weight': 0.7}
    ours = {'embedding_regularizer': (name, options), 'embedding_reg_weight': 0.7}
    compare(get('RegularizedLoss', loss='MultiSimilarityLoss', **ours), peer.losses.MultiSimilarityLoss(**both))
    compare(
        get('RegularizedLoss', loss='ArcFaceLoss', weight_regularizer=(name, options), weight_reg_weight=0.7),
        peer.losses.ArcFaceLoss(9, 16, weight_regularizer=theirs, weight_reg_weight=0.7),
        weights=[cases.vectors(9, 16, 4)],
    )


@pytest.mark.backends('torch')
def test_sparse_centers_are_those_of_pytorch_metric_learning(peer):
    theirs = peer.regularizers.SparseCentersRegularizer(9, 3)
    compare(
        get(
            'RegularizedLoss',
            loss=('SoftTripleLoss', {'centers_per_class': 3}),
            weight_regularizer='SparseCentersRegularizer',
            weight_reg_weight=0.7,
        ),
        peer.losses.SoftTripleLoss(9, 16, 3, weight_regularizer=theirs, weight_reg_weight=0.7),
        weights=[cases.vectors(27, 16, 4)],
        named=lambda w: {'fc': w[0].T},
    )


@pytest.mark.backends('torch')
def test_matryoshka_is_that_of_sentence_transformers():
    library = pytest.importorskip('sentence_transformers.losses')
    import torch

    class Model(torch.nn.Module):
        def forward(self, features):
            return {'sentence_embedding': features['x']}

        def get_embedding_dimension(self):
            return 16

    model = Model()
    theirs = library.MatryoshkaLoss(model, library.MultipleNegativesRankingLoss(model), [16, 8, 4], [1, 0.5, 0.3])
    x = torch.from_numpy(cases.vectors(24, 16)).double().requires_grad_()
    y = x.detach().clone().requires_grad_()
    value = theirs([{'x': x[:12]}, {'x': x[12:]}], None)
    value.backward()
    ours = get('MatryoshkaLoss', loss=('InfoNCELoss', {'temperature': 0.05}), dims=[16, 8, 4], weights=[1, 0.5, 0.3])
    label = torch.arange(12, dtype=torch.int32)
    codes = {'item': torch.arange(24, dtype=torch.int32), 'label': torch.cat([label, label])[:, None]}
    found = Objective(ours)(y, codes, Layout(12, 2, 1))
    found.backward()
    assert found.item() == pytest.approx(value.item(), rel=1e-9)
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-7, atol=1e-12)


def test_every_wrapper_is_here():
    assert set(MADE) == set(WRAPPERS) and not set(WRAPPERS) & set(LOSSES)


@pytest.mark.parametrize(('layout', 'candidates'), [(Layout(16), 16), (Layout(8, 3), 16)])
def test_a_batch_larger_than_the_memory_is_refused(layout, candidates):
    codes = {'item': np.zeros(1, np.int32)}
    objective = Objective(get('CrossBatchMemory', loss='InfoNCELoss', memory_size=15))
    with pytest.raises(ArgumentError, match=f'memory_size=15, and a batch has {candidates} candidates'):
        objective.memory(4, codes, layout)


def test_a_wrapper_must_say_what_it_wraps():
    class Nothing(Wrapper):
        def combine(self, value, embeddings, learned, real=None):
            return 0.0

    with pytest.raises(TypeError, match='inner'):
        Nothing()
