"""The order in which a model is unfrozen: its head, its last block, and so on to the first."""

from finetuner.tailor.parts import attached, parts
from finetuner.tailor.recipe import Pooling, Recipe
from tests.tailor.test_plan import MLP, _bert, _resnet, rows

HEAD = Recipe(head=(('linear', 8, 8, 'unbiased'), ('batchnorm', 8), ('relu',), ('linear', 8, 4)))


def dense(*paths):
    return [(path, 'Linear', (8,), 72) for path in paths]


def test_the_head_is_what_runs_after_the_last_block():
    assert parts(_resnet()) == [('fc',), ('layer4',), ('layer3',), ('layer2',), ('layer1',)]
    layers = [f'bert.encoder.layer.{i}' for i in (2, 1, 0)]
    assert parts(_bert(3)) == [(path,) for path in layers]
    tail = [('bert.pooler', 'Linear', (32,), 100), ('dropout', 'Dropout', (32,), 0), ('classifier', 'Linear', (5,), 9)]
    assert parts(_bert(3, tail)) == [('bert.pooler', 'classifier'), *((path,) for path in layers)]


def test_without_anything_after_them_the_last_block_is_the_head():
    assert parts(MLP) == [('4',), ('1',)]
    assert parts(rows(*dense('0'))) == [('0',)]


def test_norms_belong_to_the_block_before_them():
    norm = ('norm', 'LayerNorm', (8,), 16)
    stem, *stack = dense('stem', 'blocks.0', 'blocks.1', 'blocks.2', 'blocks.3')
    layers = [stem, *stack, ('blocks', 'Sequential', (8,), 288), norm]
    rest = [('blocks.2',), ('blocks.1',), ('blocks.0',)]
    assert parts(rows(*layers)) == [('blocks.3', 'norm'), *rest]
    assert parts(rows(*layers, *dense('out'))) == [('out',), ('blocks.3', 'norm'), *rest]


def test_the_head_of_a_tailored_model_is_all_that_was_attached():
    head = [('pool', 'Pool', (8,), 1), *dense('head.0', 'head.1'), ('head', 'Sequential', (8,), 144)]
    for n in (2, 3):
        body = [*dense(*(f'body.{i}' for i in range(n))), ('body', 'Sequential', (8,), 72 * n)]
        assert parts(rows(*body, *head, root='Tailored')) == [
            ('pool', 'head'),
            *((f'body.{i}',) for i in reversed(range(n))),
        ]


def test_the_head_of_a_graph_is_known_by_its_recipe():
    assert attached(HEAD) == 3
    assert attached(HEAD._replace(pooling=Pooling('gem'))) == attached(HEAD._replace(pooling=Pooling('attention'))) == 4
    assert attached(HEAD._replace(pooling=Pooling('mean'))) == 3
    layers = rows(
        *dense('a', 'b', 'projection'), ('projection_norm', 'BatchNormalization', (8,), 16), *dense('projection_2')
    )
    assert parts(layers, HEAD) == [('projection', 'projection_norm', 'projection_2'), ('b',), ('a',)]
    assert parts(layers)[0] == ('projection_2',)


def test_what_a_tailored_body_ends_with_belongs_to_its_last_block():
    tail = [('body.bert.pooler', 'Linear', (32,), 100), ('head.0', 'Linear', (8,), 100)]
    layers = [layer._replace(path=f'body.{layer.path}') for layer in _bert(2)[:-1]]
    layers += rows(*tail, root='Tailored')
    last = 'body.bert.encoder.layer.1'
    assert parts(layers)[:2] == [('head',), (last, 'body.bert.pooler')]
