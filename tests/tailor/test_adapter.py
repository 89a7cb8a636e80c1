"""Low-rank adapters: what is trained, what stays, and the plain model that comes out; refused where there are none."""

import copy
import json
import pickle
import sys

import numpy as np
import pytest

import finetuner
from finetuner.callback import BestModelCheckpoint, Callback, GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError, MissingExtraError, ModelError
from finetuner.inference import encoder
from finetuner.tailor import Adapter, Recipe, merge, rebuild, recipe_of, summary
from tests.models import clusters, framework, mlp

torch_only = pytest.mark.backends('torch')

# One of each way of cutting, layers that run several times, a fused encoder, and the towers of transformers.
NAMES = ['mlp', 'vgg', 'shared', 'choosing', 'pair', 'tower']
NAMES += ['bert', 'bert classifier', 'vit', 'clip image', 'clip text']


@pytest.fixture(params=NAMES)
def general(request):
    return named(request.param)


def named(name):
    from tests.tailor import models_torch

    return next(case for case in models_torch.CASES if case.name == name)


def made(case, adapter='lora', **options):
    options = {'output_dim': 5, **options}
    return finetuner.to_embedding_model(case.build(), case.layer, inputs=case.inputs(), adapter=adapter, **options)


def trained(case, hands, **options):
    model = made(case, **options)
    hands.train(model, case.inputs())
    return model


def body(names):
    return {name for name in names if not name.startswith('projection.')}


@torch_only
def test_at_the_start_the_numbers_are_those_of_the_model(general, hands):
    plain, model = made(general, None), made(general)
    assert [type(m).__name__ for m in (model, model.body)] == [type(m).__name__ for m in (plain, plain.body)]
    np.testing.assert_allclose(
        hands.call(model, general.inputs()), hands.call(plain, general.inputs()), rtol=0, atol=1e-6
    )


@torch_only
def test_adapters_and_head_are_trained_and_nothing_else(general, hands):
    model = made(general)
    before = {**hands.weights(model), **hands.statistics(model)}
    learning = hands.trainable(model)
    assert {name.split('.')[-3] for name in body(learning)} == {'lora_A', 'lora_B'}
    assert learning - body(learning) == {'projection.0.weight', 'projection.0.bias'}
    assert not any('lora' in name for name in before if name.startswith('projection.'))
    assert hands.reached(model, general.inputs()) == learning
    hands.train(model, general.inputs())
    after = {**hands.weights(model), **hands.statistics(model)}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed <= learning
    assert {name for name in learning if 'lora_B' in name} <= changed


@torch_only
def test_what_is_saved_is_the_plain_model(general, hands, tmp_path):
    model, plain, inputs = trained(general, hands), made(general, None), general.inputs()
    before = encoder(model).weights()
    vectors, untrained = hands.call(model, inputs), hands.call(plain, inputs)
    assert np.abs(vectors - untrained).max() > 1e-3
    folder = finetuner.save(model, tmp_path / 'model')
    for other in (finetuner.load(folder, plain), finetuner.load(folder, general.build())):
        np.testing.assert_allclose(hands.call(other, inputs), vectors, rtol=0, atol=1e-5)
        assert encoder(other).adapters() == 0 and recipe_of(other).adapter is None
    assert encoder(plain).weights().keys() == encoder(model).merged().keys()
    after = encoder(model).weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@torch_only
def test_the_plain_model_can_be_had_in_memory(general, hands, tmp_path):
    model, inputs = trained(general, hands), general.inputs()
    vectors = hands.call(model, inputs)
    plain = merge(model)
    np.testing.assert_allclose(hands.call(plain, inputs), vectors, rtol=0, atol=1e-5)
    assert encoder(plain).layers() == encoder(copy.deepcopy(made(general, None))).layers()
    assert encoder(plain).adapters() == 0 < encoder(model).adapters()
    assert not any('peft_config' in vars(module) for module in plain.modules())
    np.testing.assert_array_equal(hands.call(model, inputs), vectors)
    assert recipe_of(plain).adapter is None and recipe_of(model).adapter
    assert merge(model, inplace=True) is model and encoder(model).layers()[2:] == encoder(plain).layers()[2:]
    with pytest.raises(ArgumentError, match='no adapters to merge'):
        merge(model)


@torch_only
def test_the_recipe_makes_it_again_and_takes_what_was_saved(general, hands, tmp_path):
    model, inputs = trained(general, hands, adapter_options={'r': 2, 'alpha': 3}), general.inputs()
    recipe = Recipe.from_dict(json.loads(json.dumps(recipe_of(model).to_dict())))
    again = rebuild(general.build(), recipe, inputs)
    assert hands.trainable(again) == hands.trainable(model)
    assert encoder(again).weights().keys() == encoder(model).weights().keys()
    finetuner.load(finetuner.save(model, tmp_path / 'model'), again)  # merged weights, beside adapters that add nothing
    np.testing.assert_allclose(hands.call(again, inputs), hands.call(model, inputs), rtol=0, atol=1e-5)
    encoder(again).assign(encoder(model).weights())
    np.testing.assert_array_equal(hands.call(again, inputs), hands.call(model, inputs))


@torch_only
@pytest.mark.parametrize('name', ['mlp', 'vgg', 'tower', 'bert'])
def test_it_can_be_copied_pickled_listed_and_cut_again(name, hands):
    case = named(name)
    model, inputs = trained(case, hands), case.inputs()
    vectors = hands.call(model, inputs)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(hands.call(again, inputs), vectors)
        assert hands.trainable(again) == hands.trainable(model)
        np.testing.assert_allclose(hands.call(merge(again), inputs), vectors, rtol=0, atol=1e-5)
    assert any('lora_A' in layer.path for layer in summary(model, inputs=inputs))
    finetuner.display(model, inputs=inputs)
    wider = finetuner.to_embedding_model(model, 'projection.0', inputs=inputs, projection_head='identity')
    np.testing.assert_allclose(hands.call(wider, inputs), vectors, rtol=0, atol=1e-6)


@torch_only
def test_in_evaluation_a_fused_encoder_does_not_pass_by_its_adapters(hands):
    import torch

    class Padded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.encoder = torch.nn.TransformerEncoder(layer, 2)  # with nested tensors

        def forward(self, x, padding):
            return self.encoder(x, src_key_padding_mask=padding)[:, 0]

    x, padding = torch.randn(3, 5, 16), torch.arange(5) > torch.tensor([[4], [2], [1]])
    model = finetuner.to_embedding_model(Padded().eval(), inputs={'x': x, 'padding': padding}, adapter='lora').eval()
    with torch.no_grad():
        before = model(x, padding)
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                parameter.normal_()
        after, plain = model(x, padding), merge(model)(x, padding)
    assert (after - before).abs().max() > 0.1
    torch.testing.assert_close(after, plain, rtol=0, atol=1e-5)


@torch_only
def test_statistics_of_batchnorm_stand_still(hands, backend):
    model = mlp(backend, (10, 64, 32, 4), noisy=True)
    inputs = clusters()[0]
    tailored = finetuner.to_embedding_model(model, inputs=inputs, adapter='lora')
    before = hands.statistics(tailored)
    hands.train(tailored, inputs)
    assert before and all(np.array_equal(before[name], value) for name, value in hands.statistics(tailored).items())
    assert encoder(tailored).adapters() == 2


@torch_only
def test_chance_is_a_function_of_the_seed(hands):
    import torch

    case = named('bert')
    torch.manual_seed(1)
    first, state = made(case), torch.get_rng_state()
    torch.manual_seed(2)
    again, other = made(case), made(case, seed=7)
    torch.manual_seed(1)
    made(case, None)
    assert torch.equal(torch.get_rng_state(), state)
    one, two, three = ({n: w for n, w in hands.weights(m).items() if 'lora_A' in n} for m in (first, again, other))
    assert one and all(np.array_equal(one[name], two[name]) for name in one)
    assert not any(np.array_equal(one[name], three[name]) for name in one)


@torch_only
def test_options_reach_the_layers(hands):
    import torch

    case = named('bert classifier')
    options = {'r': 3, 'alpha': 12, 'dropout': 0.5, 'target_modules': ['layer.1.output.dense', 'key']}
    model = made(case, adapter_options=options)
    assert not any(module.training for module in model.modules())  # as the model was
    shapes = {name.partition('model.')[2]: w.shape for name, w in hands.weights(model).items() if 'lora_A' in name}
    at = ('0.attention.self.key', '1.attention.self.key', '1.output.dense')
    names = [f'bert.encoder.layer.{place}.lora_A.finetuner.weight' for place in at]
    assert shapes == dict(zip(names, [(3, 16), (3, 16), (3, 24)], strict=True))
    layer = model.get_submodule('body.model.bert.encoder.layer.1.output.dense')
    assert layer.scaling == {'finetuner': 4.0}
    hands.train(model, case.inputs())
    x = torch.randn(2, 24)
    assert not torch.equal(layer.train()(x), layer.eval()(x))
    product = layer.lora_B.finetuner.weight @ layer.lora_A.finetuner.weight
    torch.testing.assert_close(layer(x), layer.base_layer(x) + 4 * x @ product.T)
    assert recipe_of(model).adapter == Adapter('lora', tuple(f'bert.encoder.layer.{place}' for place in at), 3, 12, 0.5)


@torch_only
def test_the_log_says_what_is_trained(hands, caplog):
    model = made(named('bert'))
    learning = sum(w.size for name, w in hands.weights(model).items() if name in hands.trainable(model))
    [said] = [record.getMessage() for record in caplog.records if 'Weights that are trained' in record.getMessage()]
    assert 'adapters of rank 8 beside 4 layers' in said and said.endswith(f'Weights that are trained: {learning:,}.')


@torch_only
def test_blocks_that_are_frozen_get_no_adapter(hands):
    case = named('bert')
    assert all('.layer.1.' in name for name in body(hands.trainable(made(case, freeze_layer=1))))
    assert all('.layer.0.' in name for name in body(hands.trainable(made(case, freeze='encoder.layer.1'))))


@torch_only
def test_a_transformer_within_a_module_of_ones_own(hands):
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert, self.dense = named('bert').build(), torch.nn.Linear(16, 8)

        def forward(self, input_ids, attention_mask):
            return self.dense(self.bert(input_ids, attention_mask).last_hidden_state[:, 0])

    model = finetuner.to_embedding_model(Wrapped(), inputs=named('bert').inputs(), adapter='lora')
    queries = {f'bert.encoder.layer.{i}.attention.self.{name}' for i in (0, 1) for name in ('query', 'value')}
    assert set(recipe_of(model).adapter.at) == {*queries, 'dense'}
    assert encoder(model).adapters() == 5  # and none at other layers whose paths end with 'dense'


@torch_only
def test_one_layer_of_two_names_has_one_adapter(hands):
    import torch

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(6, 6)
            self.second = self.first

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    model = finetuner.to_embedding_model(Twice(), inputs=x, adapter='lora')
    assert recipe_of(model).adapter.at == ('first',) and model.first is model.second
    hands.train(model, x)
    plain = merge(model)
    assert plain.first is plain.second
    np.testing.assert_allclose(hands.call(plain, x), hands.call(model, x), rtol=0, atol=1e-6)
    assert {'first.weight', 'second.weight'} <= encoder(model).merged().keys()
    again = finetuner.to_embedding_model(Twice(), inputs=x, adapter='lora')
    encoder(again).assign(encoder(model).merged())
    np.testing.assert_allclose(hands.call(again, x), hands.call(model, x), rtol=0, atol=1e-6)


@torch_only
def test_weights_that_are_read_in_two_places_are_left_alone():
    import torch

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.dense, self.back = torch.nn.Embedding(9, 6), torch.nn.Linear(6, 6), torch.nn.Linear(6, 9)
            self.back.weight = self.words.weight

        def forward(self, ids):
            return self.back(self.dense(self.words(ids)))

    model = finetuner.to_embedding_model(Tied(), 'back', inputs=torch.zeros(2, 3, dtype=torch.long), adapter='lora')
    assert recipe_of(model).adapter.at == ('dense',)


@torch_only
def test_gpt2_whose_linear_layers_lie_on_their_side(hands):
    import transformers

    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    gpt, inputs = transformers.GPT2Model(config).eval(), named('bert').inputs()
    model = finetuner.to_embedding_model(gpt, inputs=inputs, pooling='mean', adapter='lora')
    assert recipe_of(model).adapter.at == ('h.0.attn.c_attn', 'h.1.attn.c_attn')
    hands.train(model, inputs)
    np.testing.assert_allclose(hands.call(merge(model), inputs), hands.call(model, inputs), rtol=0, atol=1e-5)


@torch_only
def test_of_a_transformer_the_plain_model_is_read_without_another(hands, tmp_path):
    case = named('bert classifier')
    model = trained(case, hands)
    again = finetuner.load(finetuner.save(model, tmp_path / 'model'))
    assert encoder(again).adapters() == 0
    np.testing.assert_allclose(hands.call(again, case.inputs()), hands.call(model, case.inputs()), rtol=0, atol=1e-5)


@torch_only
def test_in_half_precision(hands):
    import torch

    case = named('bert')
    model = finetuner.to_embedding_model(case.build().to(torch.bfloat16), inputs=case.inputs(), adapter='lora')
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    expected = finetuner.inference.encoder(model).embed(case.inputs())
    again = rebuild(case.build().to(torch.bfloat16), recipe_of(model), case.inputs())
    encoder(again).assign(encoder(model).merged())
    np.testing.assert_array_equal(finetuner.inference.encoder(again).embed(case.inputs()), expected)


@torch_only
def test_other_adapters_are_left_alone(hands, tmp_path):
    import peft

    case = named('bert')
    own = peft.inject_adapter_in_model(peft.LoraConfig(target_modules=['query']), case.build())
    assert encoder(own).adapters() == 0
    assert encoder(own).merged().keys() == encoder(own).weights().keys()
    with pytest.raises(ArgumentError, match='has adapters of peft already.*merge'):
        finetuner.to_embedding_model(own, inputs=case.inputs(), adapter='lora')
    with pytest.raises(ArgumentError, match='has adapters of peft already.*merge'):
        finetuner.to_embedding_model(made(case), inputs=case.inputs(), adapter='lora')


@torch_only
def test_weights_and_recipes_of_another_model_are_refused():
    case = named('bert')
    model = made(case)
    weights = encoder(model).merged()
    weights.pop('projection.0.bias')
    with pytest.raises(CheckpointError, match=r"'projection\.0\.bias' is missing"):
        encoder(model).assign(weights)
    recipe = recipe_of(model)
    with pytest.raises(ModelError, match=r"adapter at 'encoder\.layer\.7"):
        rebuild(case.build(), recipe._replace(adapter=Adapter('lora', ('encoder.layer.7.query',))), case.inputs())


@torch_only
def test_without_peft_the_extra_is_named(monkeypatch):
    case = named('mlp')
    monkeypatch.setitem(sys.modules, 'peft', None)
    with pytest.raises(MissingExtraError, match=r"'peft'.*pip install 'finetuner\[lora\]'"):
        made(case)
    assert encoder(made(case, None)).adapters() == 0


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
def test_where_there_are_none_it_is_said_what_to_do(hands, backend):
    model, inputs = hands.CASES[0].build(), hands.CASES[0].inputs()
    message = 'for PyTorch.*' + {'keras': 'enable_lora', 'paddle': 'freeze_layer=-1'}[framework(backend)]
    with pytest.raises(ArgumentError, match=message):
        finetuner.to_embedding_model(model, inputs=inputs, adapter='lora')
    with pytest.raises(ArgumentError, match=message):
        finetuner.fit(mlp(backend), clusters(), adapter='lora')
    plain = finetuner.to_embedding_model(model, inputs=inputs)
    with pytest.raises(ArgumentError, match=message):
        rebuild(model, recipe_of(plain)._replace(adapter=Adapter('lora', ('second',))), inputs)
    with pytest.raises(ArgumentError, match='no adapters to merge'):
        merge(plain)


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
def test_the_adapters_of_keras_itself_are_trained_and_saved(backend, tmp_path):
    import keras

    model, (items, labels) = mlp(backend), clusters()
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(4)
    before = encoder(model).weights()
    finetuner.fit(model, (items, labels), epochs=1)
    after = encoder(model).weights()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if not name.endswith('.kernel')}
    again = finetuner.load(finetuner.save(model, tmp_path / 'model'))
    np.testing.assert_allclose(finetuner.embed(again, items), finetuner.embed(model, items), rtol=0, atol=1e-5)


@torch_only
def test_fit_trains_adapters_and_head_and_finds_digits_better(hands):
    import torch
    import transformers

    images, labels = finetuner.data.samples.digits()
    images = images[:, None]
    config = {'hidden_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'intermediate_size': 64}
    torch.manual_seed(0)
    vit = transformers.ViTForImageClassification(
        transformers.ViTConfig(image_size=8, patch_size=2, num_channels=1, **config)
    )
    before = hands.weights(vit)
    tuned, history = finetuner.fit(
        vit,
        (images[::2], labels[::2]),
        (images[1::2], labels[1::2]),
        epochs=2,
        adapter='lora',
        output_dim=32,
        return_history=True,
    )
    assert history.after['map_at_r'] > history.before['map_at_r'] + 0.1
    after = {name.removeprefix('body.model.').replace('.base_layer', ''): w for name, w in hands.weights(tuned).items()}
    kept = [name for name in after if name in before]
    assert len(kept) > 30 and all(np.array_equal(before[name], after[name]) for name in kept)
    new = {name.split('.')[-3] for name in after if name not in kept and not name.startswith('projection')}
    assert new == {'lora_A', 'lora_B'}
    assert encoder(tuned).adapters() == 12
    assert history.epochs[0]['learning_rates']['model'] > 1e-3  # at which only what is small, or adapted, learns


class Stops(Callback):
    def on_train_batch_end(self, tuner):
        if tuner.state.step == 5:
            raise KeyboardInterrupt


@torch_only
def test_a_resumed_training_equals_one_that_was_never_interrupted(backend, tmp_path):
    def fit(**options):
        return finetuner.fit(mlp(backend, (10, 64, 64, 5)), clusters(), **{**arguments, **options})

    arguments = {'epochs': 3, 'batch_size': 16, 'adapter': 'lora', 'adapter_options': {'dropout': 0.2}, 'output_dim': 8}
    whole = fit()
    fit(callbacks=[Stops(), TrainingCheckpoint(save_dir=tmp_path)])
    resumed = fit(resume=tmp_path)
    expected = encoder(whole).weights()
    assert any('lora_A' in name for name in expected)
    for name, value in encoder(resumed).weights().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    for options in ({'adapter': None, 'adapter_options': None}, {'freeze_layer': 1}):
        with pytest.raises(CheckpointError, match='with adapters=2, this one has adapters='):
            fit(resume=tmp_path, **options)


@torch_only
def test_the_best_model_is_kept_merged(backend, tmp_path):
    found = {}

    class Reads(Callback):
        def on_fit_end(self, tuner):
            found['last'] = tuner.encoder.embed(items)
            BestModelCheckpoint.load(tuner, tmp_path / 'best_model_train_loss')
            found['best'] = tuner.encoder.embed(items)

    general, (items, labels) = mlp(backend, (10, 64, 64, 5)), clusters()
    best = BestModelCheckpoint(save_dir=tmp_path, monitor='train_loss')
    model = finetuner.fit(general, (items, labels), epochs=2, adapter='lora', callbacks=[best, Reads()])
    np.testing.assert_allclose(found['best'], found['last'], rtol=0, atol=1e-5)
    assert encoder(model).adapters() == 2
    plain = finetuner.load(tmp_path / 'best_model_train_loss', general)
    assert plain is not general and encoder(plain).adapters() == 0
    np.testing.assert_allclose(finetuner.embed(plain, items), found['last'], rtol=0, atol=1e-5)


@torch_only
def test_the_body_is_not_unfrozen_beside_adapters(hands):
    case = named('mlp')
    model = made(case)
    trained_before = hands.trainable(model)
    with pytest.raises(ArgumentError, match=r'adapters are trained in place of.*merge\(model\)'):
        finetuner.unfreeze(model)
    with pytest.raises(ArgumentError, match='GradualUnfreezing trains the weights that adapters'):
        finetuner.fit(model, clusters(dim=12), epochs=3, callbacks=[GradualUnfreezing()])
    assert hands.trainable(model) == trained_before
    plain = finetuner.unfreeze(merge(model))
    assert hands.trainable(plain) == set(hands.weights(plain))


@torch_only
@pytest.mark.parametrize('name', ['mlp', 'vgg', 'bert'])
def test_what_was_frozen_beside_adapters_is_unfrozen_again(name, hands):
    case = named(name)
    model = made(case, adapter_options={'target_modules': 'all-linear'})
    trained_before, statistics = hands.trainable(model), hands.statistics(model)
    finetuner.freeze(model)
    assert not hands.trainable(model)
    finetuner.unfreeze(model)
    assert hands.trainable(model) == trained_before
    hands.train(model, case.inputs())
    assert all(np.array_equal(value, statistics[at]) for at, value in hands.statistics(model).items())
