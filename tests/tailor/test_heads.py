"""How a classification head is recognised, and blocks of models of many kinds."""

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.tailor.blocks import blocks, repeated
from finetuner.tailor.heads import TAILORED, head, representation, shows
from finetuner.tailor.layers import Call, listed
from finetuner.tailor.plan import Arguments, plan


def rows(*calls, root='Net'):
    seen = [Call(path, kind, (None, *shape), 'float32', size, True) for path, kind, shape, size in calls]
    return listed([*seen, seen[-1]._replace(path='', kind=root)])


def _tail(path, width, *after, root='Net', before=64):
    return rows(('body', 'Linear', (before,), 10), (path, 'Linear', (width,), 10), *after, root=root)


@pytest.mark.parametrize(
    ('layers', 'sure', 'why'),
    [
        (_tail('classifier', 32), True, 'called classifier'),
        (_tail('net.classifier.6', 32), True, 'called net.classifier.6'),
        (_tail('lm_head', 50000), True, 'called lm_head'),
        (_tail('last', 32, root='SwinForImageClassification'), True, 'SwinForImageClassification'),
        (_tail('last', 32, ('soft', 'Softmax', (32,), 0)), True, 'softmax_3 follows'),
        (_tail('fc', 1000, before=512), True, 'called fc'),
        (_tail('head', 10), False, 'called head'),
        (_tail('head', 16), False, 'called head'),
        (_tail('4', 10), False, 'no multiple of 8'),
        (_tail('4', 1000, before=4096), False, 'no multiple of 8'),
    ],
)
def test_a_head_is_known_by_its_name_its_width_or_what_follows(layers, sure, why):
    found = head(layers)
    assert found is not None and layers[found.row].kind == 'Linear' and found.sure is sure and why in found.why


@pytest.mark.parametrize(
    'layers',
    [
        _tail('4', 32),
        _tail('projection', 128),
        _tail('4', 100, before=64),  # wider than what it reads
        rows(('body', 'Linear', (64,), 10), ('norm', 'BatchNorm1d', (64,), 10)),
        rows(('classifier', 'Linear', (10,), 10)),  # there is nothing before it
    ],
)
def test_an_embedding_model_has_none(layers):
    assert head(layers) is None


@pytest.mark.parametrize(
    ('rows_of', 'shown'),
    [
        (lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), 'probabilities'),
        (lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)), 'probabilities'),
        (lambda x: x / np.linalg.norm(x, axis=1, keepdims=True), 'directions'),
        (lambda x: x, ''),
        (lambda x: np.abs(x), ''),
        (lambda x: x[:, :1] / x[:, :1], ''),
        (lambda x: x * np.nan, ''),
        (lambda x: x[None], ''),
    ],
)
def test_what_the_numbers_of_a_model_say(rows_of, shown):
    output = rows_of(np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32))
    assert shows(output) == shown
    found = head(_tail('fc', 16), shown)
    if shown == 'directions':
        assert found is None
    else:
        assert found is not None and found.sure is (shown == 'probabilities')


def test_what_tailor_attached_is_no_head():
    assert head(_tail('classifier', 10)) is not None and head(_tail('classifier', 10), TAILORED) is None
    assert plan(_tail('classifier', 10), Arguments(), gives=TAILORED).recipe.at == ''


def test_blocks_of_a_vgg_are_its_convolutions_not_its_body_and_head():
    calls = [(f'features.{i}', 'Conv2d', (8, 4, 4), 10) for i in range(0, 10, 2)]
    calls += [('features', 'Sequential', (8, 4, 4), 50)]
    calls += [(f'classifier.{i}', 'Linear', (8,), 10) for i in range(3)] + [('classifier', 'Sequential', (8,), 30)]
    assert blocks(rows(*calls)) == [f'features.{i}' for i in range(0, 10, 2)]


def test_blocks_of_one_class_may_differ_within():
    calls = [('block.0.bias', 'Embedding', (8,), 4)]
    for i in range(2):
        calls += [(f'block.{i}.a', 'Linear', (8,), 10), (f'block.{i}.b', 'Linear', (8,), 10)]
        calls.append((f'block.{i}', 'T5Block', (8,), 20))
    layers = rows(*calls)
    assert blocks(layers) == ['block.0', 'block.1'] == list(repeated(layers))


def test_a_norm_belongs_to_the_block_before_it():
    conv = [
        (f'{kind}{i}', name, (8, 4, 4), 10)
        for i in (1, 2)
        for kind, name in (('conv', 'Conv2d'), ('bn', 'BatchNorm2d'))
    ]
    layers = rows(*conv, ('fc', 'Linear', (10,), 90))
    assert blocks(layers) == ['conv1', 'conv2', 'fc']
    assert plan(layers, Arguments(freeze_layer=-1)).recipe.frozen == ('conv1', 'bn1')
    assert plan(layers, Arguments(freeze_layer=2, output_dim=4)).recipe.frozen == ('conv1', 'bn1', 'conv2', 'bn2')
    pre = [
        (f'layers.{i}.{name}', kind, (5, 8), 9)
        for i in (0, 1)
        for name, kind in (('norm', 'LayerNorm'), ('mix', 'Linear'))
    ]
    layers = rows(*pre[:2], ('layers.0', 'Block', (5, 8), 18), *pre[2:], ('layers.1', 'Block', (5, 8), 18))
    assert plan(layers, Arguments(freeze_layer=1)).recipe.frozen == ('layers.0',)


@pytest.mark.parametrize(
    'options', [{'freeze': True}, {'freeze': ['*']}, {'freeze_layer': 2}, {'freeze': ['body', 'last']}]
)
def test_nothing_left_to_train_is_an_error_however_it_was_said(options):
    layers = rows(('body', 'Linear', (8,), 10), ('act', 'ReLU', (8,), 0), ('last', 'Linear', (16,), 10))
    with pytest.raises(ArgumentError, match='Everything would be frozen'):
        plan(layers, Arguments(**options))
    assert plan(layers, Arguments(**options, output_dim=4)).recipe.frozen
    assert plan(layers, Arguments(freeze=None)).recipe.frozen == ()


@pytest.mark.parametrize(
    'rest',
    [
        [('pre_classifier', 'Linear', (16,), 9), ('classifier', 'Linear', (3,), 9)],
        [
            ('classifier.dense', 'Linear', (16,), 9),
            ('classifier.out_proj', 'Linear', (3,), 9),
            ('classifier', 'RobertaClassificationHead', (3,), 18),
        ],
        [('head', 'ModernBertPredictionHead', (16,), 9), ('classifier', 'Linear', (3,), 9)],
    ],
)
def test_what_belongs_to_a_head_is_no_representation(rest):
    layers = rows(('body', 'LayerNorm', (7, 16), 32), *rest)
    assert representation(layers, head(layers).row) == 0


def test_a_head_without_a_representation_leaves_the_model_whole():
    states = Call('lstm', 'LSTM', (5, 4, 16), 'float32', 99, True)
    layers = listed([states, *(Call(p, 'Linear', (None, 3), 'float32', 9, True) for p in ('fc', ''))])
    found = plan(layers, Arguments())
    assert found.recipe.at == '' and 'such as an Identity' in found.why


@pytest.mark.parametrize('path', ['logits', 'classifier.1', 'body.7'])
def test_a_convolution_with_a_channel_for_each_class_is_a_head(path):
    calls = [('body.1', 'Conv2D', (8, 8, 64), 9), (path, 'Conv2D', (8, 8, 10), 9), ('pool', 'Pool', (10,), 0)]
    layers = rows(*calls)
    found = head(layers)
    if path == 'body.7':  # an encoder may end so
        assert found is None
    else:
        assert found.sure and representation(layers, found.row) == 0
    assert head(rows(*calls[:2])) is None  # it gives positions
    assert head(rows(*calls, ('soft', 'Softmax', (10,), 0))).sure
