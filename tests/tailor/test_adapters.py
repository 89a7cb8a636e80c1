"""Where adapters go and what is refused; no framework is needed to decide it."""

import json

import pytest

from finetuner.errors import ArgumentError
from finetuner.tailor.adapters import check, plan_with_adapter
from finetuner.tailor.plan import Arguments
from finetuner.tailor.recipe import Adapter, Recipe
from tests.tailor.test_plan import rows

LAYERS = rows(
    ('bert.embeddings', 'Embedding', (8, 32), 100),
    *(
        (f'bert.layer.{i}{name}', kind, (8, 32), 100 if name else 300)
        for i in range(3)
        for name, kind in (('.query', 'Linear'), ('.key', 'Linear'), ('.norm', 'LayerNorm'), ('', 'BertLayer'))
    ),
    ('bert.dense', 'Linear', (32,), 100),
    ('classifier', 'Linear', (5,), 165),
)
PLACES = {x.path: x.path.endswith('query') for x in LAYERS if x.kind == 'Linear'}
QUERIES = tuple(f'bert.layer.{i}.query' for i in range(3))
ALL = tuple(path for path in PLACES if path != 'classifier')


def recipe(options=None, places=PLACES, **arguments):
    options = check('lora', options, arguments.get('freeze', False))
    return plan_with_adapter(LAYERS, Arguments(**arguments), True, 'lora', options, places).recipe


@pytest.mark.parametrize(
    ('wanted', 'paths'),
    [
        (None, QUERIES),
        ('query', QUERIES),
        (['layer.1.key', 'linear_2'], ('bert.layer.0.query', 'bert.layer.1.key')),
        ('bert.layer.[02].key', ('bert.layer.0.key', 'bert.layer.2.key')),
        ('bert.layer.2', ('bert.layer.2.query', 'bert.layer.2.key')),
        ('all-linear', ALL),
    ],
)
def test_layers_are_named_as_elsewhere_and_by_how_their_paths_end(wanted, paths):
    assert recipe({'target_modules': wanted}).adapter == Adapter('lora', paths)


def test_all_that_are_linear_where_none_is_usual():
    assert recipe(places=dict.fromkeys(PLACES, False)).adapter.at == ALL


def test_what_is_cut_off_gets_none():
    assert recipe(layer_name='bert.layer.0.norm').adapter.at == QUERIES[:1]


def test_all_of_the_body_is_frozen_and_what_freeze_means_gets_no_adapter():
    assert recipe().frozen == ('',)
    assert recipe(freeze_layer=1).adapter.at == QUERIES[1:]
    assert recipe(freeze_layer=-1, output_dim=8).adapter.at == QUERIES[2:]
    assert recipe(freeze='bert.layer.1').adapter.at == (QUERIES[0], QUERIES[2])
    assert recipe(freeze_layer=1).frozen == ('',)


def test_a_recipe_is_data_and_old_ones_still_read():
    made = recipe({'r': 4, 'alpha': 8, 'dropout': 0.1})
    assert made.adapter == Adapter('lora', QUERIES, 4, 8, 0.1)
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    old = Recipe('a', 1, ('b',), None, (('linear', 3, 2),)).to_dict()
    assert old.pop('adapter') is None
    assert Recipe.from_dict(old) == Recipe('a', 1, ('b',), None, (('linear', 3, 2),))


@pytest.mark.parametrize(
    ('message', 'options', 'arguments'),
    [
        (r"no option 'lora_alpha'\. Did you mean 'alpha'", {'lora_alpha': 8}, {}),
        (r"no option 'target_module'\. Did you mean 'target_modules'", {'target_module': 'query'}, {}),
        (r'r=0: expected a whole', {'r': 0}, {}),
        (r'r=2.5: expected a whole', {'r': 2.5}, {}),
        (r'alpha=-1: expected a positive', {'alpha': -1}, {}),
        (r'dropout=1: expected a number from 0', {'dropout': 1}, {}),
        (r'target_modules=\[\]: expected names', {'target_modules': []}, {}),
        (r'target_modules=7: expected names', {'target_modules': 7}, {}),
        (r'expected a dict', ['r', 8], {}),
        (r"no layer 'qeury'\. Did you mean 'query'", {'target_modules': 'qeury'}, {}),
        (r"'norm' is no linear layer before the cut", {'target_modules': 'norm'}, {}),
        (r"'classifier' is no linear layer before the cut", {'target_modules': 'classifier'}, {}),
        (r'freeze=True trains nothing but the head', {}, {'freeze': True}),
        (r"freeze='\*\.query'.*Freeze less", {}, {'freeze': '*.query'}),
        (r'freeze_layer=3.*Freeze less', {}, {'freeze_layer': 3, 'output_dim': 4}),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(message, options, arguments):
    with pytest.raises(ArgumentError, match=message):
        recipe(options, **arguments)


def test_without_linear_layers_there_is_nothing_to_adapt():
    with pytest.raises(ArgumentError, match='linear layers, and none runs before the cut.*freeze_layer'):
        recipe(places={})


def test_unknown_adapters_and_lonely_options():
    with pytest.raises(ArgumentError, match=r"no adapter 'LORA'\. Did you mean 'lora'"):
        check('LORA', None, False)
    with pytest.raises(ArgumentError, match=r"give adapter='lora'"):
        check(None, {'r': 8}, False)
    assert check(None, None, True) == {}
