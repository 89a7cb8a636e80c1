"""What is asked for becomes a recipe; no framework is needed to decide it."""

import json

import pytest

from finetuner.errors import ArgumentError, ModelError
from finetuner.tailor.base import Arguments, Pooling, Recipe, plan
from finetuner.tailor.blocks import blocks
from finetuner.tailor.layers import Call, find, listed, sample


def rows(*calls, root='Net'):
    """Layers from (path, kind, shape without the batch, parameters); the model itself gives what the last one gives."""
    seen = [Call(p, k, (None, *s), 'float32', n, True) for p, k, s, n in calls]
    total = sum(c.parameters for c in seen if not any(o.path.startswith(f'{c.path}.') for o in seen))
    return listed([*seen, seen[-1]._replace(path='', kind=root, parameters=total)])


MLP = rows(
    ('0', 'Flatten', (784,), 0),
    ('1', 'Linear', (128,), 100480),
    ('2', 'ReLU', (128,), 0),
    ('3', 'Dropout', (128,), 0),
    ('4', 'Linear', (10,), 1290),
    root='Sequential',
)


def _resnet(stages=(2, 2, 23, 2)):
    calls = [('conv1', 'Conv2d', (64, 56, 56), 9408), ('bn1', 'BatchNorm2d', (64, 56, 56), 128)]
    calls += [('relu', 'ReLU', (64, 56, 56), 0), ('maxpool', 'MaxPool2d', (64, 28, 28), 0)]
    for s, n in enumerate(stages, 1):
        shape = (64 * s, 28, 28)
        for i in range(n):
            calls.append((f'layer{s}.{i}.conv1', 'Conv2d', shape, 100))
            calls.append((f'layer{s}.{i}.bn1', 'BatchNorm2d', shape, 10))
            calls.append((f'layer{s}.{i}', 'Bottleneck', shape, 110))
        calls.append((f'layer{s}', 'Sequential', shape, 110 * n))
    calls += [('avgpool', 'AdaptiveAvgPool2d', (256, 1, 1), 0), ('fc', 'Linear', (1000,), 257000)]
    return rows(*calls, root='ResNet')


def _bert(n=2, tail=()):
    calls = [(f'bert.embeddings.{w}', 'Embedding', (8, 32), 100) for w in ('word', 'position', 'kind')]
    calls += [('bert.embeddings.norm', 'LayerNorm', (8, 32), 64), ('bert.embeddings', 'BertEmbeddings', (8, 32), 364)]
    for i in range(n):
        at = f'bert.encoder.layer.{i}'
        calls += [(f'{at}.{w}', 'Linear', (8, 32), 100) for w in ('query', 'key', 'value')]
        calls.append((at, 'BertLayer', (8, 32), 300))
    calls.append(('bert.encoder', 'BertEncoder', (8, 32), 300 * n))
    return rows(*calls, *tail)


def test_names_count_calls_as_the_original_did_and_containers_do_not_count():
    layers = _resnet((1, 1, 1, 1))
    assert [x.name for x in layers[:7]] == [
        'conv2d_1',
        'batchnorm2d_2',
        'relu_3',
        'maxpool2d_4',
        'conv2d_5',
        'batchnorm2d_6',
        'bottleneck_7',
    ]
    assert [x.name for x in layers if x.kind == 'Sequential'] == ['layer1', 'layer2', 'layer3', 'layer4']


def test_the_default_cut_is_the_last_layer_that_represents_before_the_head():
    recipe, why = plan(MLP, Arguments())
    assert recipe == Recipe('2', places=(('2', 2, 'ReLU'),), layers=len(MLP))
    assert 'relu_3 (2)' in why and 'linear_5' in why and 'multiple of 8' in why
    recipe, why = plan(_resnet(), Arguments())
    assert recipe[:5] == Recipe('avgpool', pooling=Pooling('mean', 1, 256))[:5]
    assert 'it is called fc' in why


def test_a_model_without_a_head_stays_whole_and_its_tokens_are_pooled():
    recipe, why = plan(_bert(), Arguments())
    assert recipe == Recipe('', pooling=Pooling('mean', -1, 32), layers=len(_bert()))
    assert 'Nothing is cut off' in why


def test_a_recipe_goes_by_rows_where_layers_are_numbered_anew():
    before = rows(('dense', 'Dense', (8,), 72), ('dense_1', 'Dense', (8,), 72), ('dense_2', 'Dense', (3,), 27))
    after = rows(('dense_1', 'Dense', (8,), 72), ('dense_2', 'Dense', (8,), 72), ('dense_3', 'Dense', (3,), 27))
    recipe = plan(before, Arguments(layer_name='dense_1#1', freeze=['dense'])).recipe
    moved = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))).located(after, numbered=True)
    assert (moved.at, moved.frozen) == ('dense_2', ('dense_1',))
    with pytest.raises(ModelError, match="names the layer 'dense', a Dense; this model has none"):
        recipe.located(after, numbered=False)
    longer = rows(('dense', 'Dense', (8,), 72), ('dense_1', 'ReLU', (8,), 0))
    with pytest.raises(ModelError, match="'dense_1', a Dense; this model has a ReLU there"):
        recipe.located(longer, numbered=True)
    old = {name: value for name, value in recipe.to_dict().items() if name not in ('places', 'layers')}
    assert Recipe.from_dict(old).located(after, numbered=True).at == 'dense_1'


@pytest.mark.parametrize('name', ['relu_3', '2', 'ReLU_3', 're*'])
def test_layers_are_found_by_name_path_and_pattern(name):
    assert plan(MLP, Arguments(layer_name=name)).recipe.at == '2'


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(ArgumentError, match=r"no layer 'linear_3'.*'linear_"):
        find(MLP, 'linear_3')


def test_a_layer_that_runs_twice_must_be_named_by_its_call():
    layers = rows(
        ('a', 'Linear', (8,), 72), ('act', 'ReLU', (8,), 0), ('b', 'Linear', (8,), 72), ('act', 'ReLU', (8,), 0)
    )
    with pytest.raises(ArgumentError, match=r"runs 2 times.*'relu_2' or 'relu_4'"):
        find(layers, 'act')
    for name in ('relu_4', 'act#2'):
        recipe = plan(layers, Arguments(layer_name=name)).recipe
        assert (recipe.at, recipe.call) == ('act', 2)


def test_what_gives_no_float_vectors_is_refused():
    seen = [
        Call('a', 'Pair', None, '', 0, False),
        Call('b', 'Ids', (None, 4), 'int64', 0, False),
        Call('c', 'Table', (7, 4), 'float32', 0, False),
        Call('d', 'Linear', (None, 8), 'float32', 40, True),
        Call('', 'Net', (None, 8), 'float32', 40, True),
    ]
    for name, message in [('a', 'is no tensor'), ('b', 'int64, not floats'), ('c', 'first axis is not the batch')]:
        with pytest.raises(ArgumentError, match=message):
            plan(listed(seen), Arguments(layer_name=name))


def test_blocks_are_stages_of_a_resnet_and_layers_of_a_transformer():
    assert blocks(_resnet()) == ['layer1', 'layer2', 'layer3', 'layer4']
    assert blocks(_bert()) == ['bert.encoder.layer.0', 'bert.encoder.layer.1']
    assert blocks(MLP) == ['1', '4']


def test_freeze_layer_freezes_blocks_and_all_that_runs_before_their_end():
    assert plan(_resnet(), Arguments(freeze_layer=1)).recipe.frozen == ('conv1', 'bn1', 'layer1')
    assert plan(_resnet(), Arguments(freeze_layer=-1)).recipe.frozen == ('conv1', 'bn1', 'layer1', 'layer2', 'layer3')
    assert plan(_resnet(), Arguments(freeze_layer=-1, layer_name='layer3.0')).recipe.frozen == (
        'conv1',
        'bn1',
        'layer1',
        'layer2',
    )
    assert plan(_bert(), Arguments(freeze_layer=-1)).recipe.frozen == ('bert.embeddings', 'bert.encoder.layer.0')
    assert plan(MLP, Arguments(freeze_layer=-1)).recipe.frozen == ()
    with pytest.raises(ArgumentError, match=r'freeze_layer=5, but there are 4 blocks'):
        plan(_resnet(), Arguments(freeze_layer=5))


def test_freeze_by_names_and_patterns_is_exact():
    assert plan(_bert(3), Arguments(freeze=['bert.embeddings', '*.layer.[01]'])).recipe.frozen == (
        'bert.embeddings',
        'bert.encoder.layer.0',
        'bert.encoder.layer.1',
    )
    assert plan(MLP, Arguments(freeze='linear_2', output_dim=8)).recipe.frozen == ('1',)
    with pytest.raises(ArgumentError, match=r"no layer 'lin'"):
        plan(MLP, Arguments(freeze=['lin']))
    with pytest.raises(ArgumentError, match='only after the cut'):
        plan(MLP, Arguments(freeze=['linear_5']))


def test_freezing_everything_needs_something_to_train():
    with pytest.raises(ArgumentError, match='no head to train'):
        plan(MLP, Arguments(freeze=True))
    assert plan(MLP, Arguments(freeze=True, output_dim=8)).recipe.frozen == ('',)


def test_pooling_goes_along_the_axes_that_the_layer_has():
    conv = rows(('0', 'Conv1d', (16, 50), 64), ('1', 'ReLU', (16, 50), 0))
    assert plan(conv, Arguments(layer_name='1')).recipe.pooling == Pooling('mean', 1, 16)
    assert plan(conv, Arguments(layer_name='1'), channels_first=False).recipe.pooling == Pooling('mean', -1, 50)
    assert plan(_bert(), Arguments(pooling='cls')).recipe.pooling == Pooling('cls', -1, 32)
    gem = plan(_resnet(), Arguments(pooling={'name': 'gem', 'p': 4.0, 'learn': False})).recipe.pooling
    assert gem == Pooling('gem', 1, 256, p=4.0, learn=False)


@pytest.mark.parametrize(
    ('layers', 'pooling', 'message'),
    [
        (MLP, 'mean', 'nothing to pool'),
        (_bert(), 'meen', "Did you mean 'mean'"),
        (_bert(), {'name': 'gem', 'power': 2}, "no option 'power'"),
        (_resnet(), 'cls', "use 'mean'"),
    ],
)
def test_impossible_poolings_are_refused(layers, pooling, message):
    with pytest.raises(ArgumentError, match=message):
        plan(layers, Arguments(pooling=pooling))


def test_the_head_is_data():
    def head(**options):
        return plan(MLP, Arguments(**options)).recipe.head

    assert head() == ()
    assert head(output_dim=32) == (('linear', 128, 32),)
    assert head(projection_head='identity', normalize=True) == (('linear', 128, 128, 'identity'), ('normalize',))
    assert head(projection_head='mlp', output_dim=16) == (
        ('linear', 128, 128, 'unbiased'),
        ('batchnorm', 128),
        ('relu',),
        ('linear', 128, 16, 'unbiased'),
        ('batchnorm', 16),
    )
    assert head(projection_head=object()) == (('module',),)
    for wrong in ({'output_dim': 0}, {'output_dim': 8, 'projection_head': object()}, {'projection_head': 'mpl'}):
        with pytest.raises(ArgumentError):
            head(**wrong)


def test_a_recipe_survives_json():
    recipe = plan(_resnet(), Arguments(freeze_layer=2, pooling='gem', output_dim=64, normalize=True)).recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_sample_inputs_have_the_shapes_asked_for():
    assert sample((3, 8)).shape == (2, 3, 8)
    two = sample([(4,), (5, 6)], ['float32', 'int64'])
    assert [x.shape for x in two] == [(2, 4), (2, 5, 6)] and two[1].dtype == 'int64'
    named = sample({'input_ids': (7,), 'attention_mask': (7,)}, 'int64')
    assert named['attention_mask'].all() and not named['input_ids'].any()
    with pytest.raises(ArgumentError, match='input_size'):
        sample('wide')
