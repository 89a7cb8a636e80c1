"""What only PyTorch has: modules that are pickled, compiled, moved, hooked and cut in odd places."""

import copy
import json
import pickle
import threading

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, ModelError
from finetuner.tailor import recipe_of, summary
from tests.fresh import run

pytestmark = pytest.mark.backends('torch')


@pytest.fixture
def models():
    from tests.tailor import models_torch

    return {case.name: case for case in models_torch.CASES}


def tailored(case, **options):
    return finetuner.to_embedding_model(case.build(), case.layer, inputs=case.inputs(), **options)


@pytest.mark.parametrize('name', ['mlp', 'resnet', 'vgg', 'bert', 'tower', 'choosing'])
def test_it_can_be_copied_and_pickled(models, hands, name):
    case = models[name]
    model = tailored(case, freeze_layer=1, output_dim=5)
    expected = hands.call(model, case.inputs())
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(hands.call(again, case.inputs()), expected)
        assert hands.trainable(again) == hands.trainable(model)
        hands.train(again, case.inputs())
        stats = [k for k in hands.statistics(model) if 'bn1.running' in k and 'layer' not in k]
        assert all(np.array_equal(hands.statistics(model)[k], hands.statistics(again)[k]) for k in stats)


@pytest.mark.parametrize('name', ['mlp', 'resnet', 'bert'])
def test_it_can_be_made_double_and_printed(models, name):
    import torch

    case = models[name]
    model = tailored(case, output_dim=5).double()
    assert finetuner.inference.encoder(model).forward(case.inputs()).dtype is torch.float64
    assert 'Linear(in_features=' in repr(model)


def test_it_can_be_called_in_all_ways_the_model_can(models):
    import torch

    case = models['pair']
    model = tailored(case).eval()
    left, right = (torch.from_numpy(x) for x in case.inputs().values())
    with torch.no_grad():
        assert torch.equal(model(left, right), model(left=left, right=right))
    assert finetuner.inference.encoder(model).embed([left, right]).shape == (4, 16)


def test_padding_does_not_count_in_the_mean(models):
    case = models['bert']
    model, inputs = tailored(case), case.inputs()
    whole = finetuner.inference.encoder(model).embed(inputs)
    other = {**inputs, 'input_ids': np.where(inputs['attention_mask'] != 0, inputs['input_ids'], 7)}
    np.testing.assert_allclose(finetuner.inference.encoder(model).embed(other), whole, atol=1e-6)
    short = {name: value[3:, :2] for name, value in inputs.items()}
    np.testing.assert_allclose(finetuner.inference.encoder(model).embed(short), whole[3:], atol=1e-6)


@pytest.mark.parametrize('pooling', ['max', 'cls', 'gem', 'attention', {'name': 'gem', 'p': 2.0, 'learn': False}])
def test_what_pooling_learns_is_trained(models, hands, pooling):
    case = models['bert']
    model = tailored(case, pooling=pooling)
    learned = {name for name in hands.trainable(model) if name.startswith('pool.')}
    assert learned == {'gem': {'pool.p'}, 'attention': {'pool.query'}}.get(
        pooling if isinstance(pooling, str) else '', set()
    )
    assert hands.reached(model, case.inputs()) == hands.trainable(model)
    assert hands.call(model, case.inputs()).shape == (4, 16)


def test_a_model_is_not_needed_to_say_what_it_takes_if_it_does(models):
    model = finetuner.to_embedding_model(models['vit'].build(), output_dim=4)
    assert finetuner.inference.encoder(model).embed(models['vit'].inputs()).shape == (4, 4)
    with pytest.raises(ArgumentError, match=r'input_size.*x\.shape'):
        finetuner.display(models['mlp'].build())


def test_a_layer_that_runs_twice_must_be_named_by_its_call(models):
    case = models['shared']
    with pytest.raises(ArgumentError, match=r"runs 4 times.*'tanh_2'"):
        finetuner.to_embedding_model(case.build(), 'act', inputs=case.inputs())


def test_wrong_types_of_inputs_are_named(models):
    with pytest.raises(ModelError, match=r'float32 \(2, 7\).*input_dtype'):
        finetuner.display(models['bert'].build(), (7,))


def test_a_cut_whose_output_is_no_tensor_is_refused():
    import torch
    from torch import nn

    class Both(nn.Module):
        def forward(self, x):
            return {'a': x, 'b': x}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.both, self.last = nn.Linear(4, 8), Both(), nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.both(self.first(x))['a'])

    with pytest.raises(ArgumentError, match=r"both_2 is no tensor.*'linear_1'"):
        finetuner.to_embedding_model(Net(), 'both', input_size=(4,))
    assert finetuner.to_embedding_model(Net(), input_size=(4,))(torch.zeros(2, 4)).shape == (2, 8)


def test_another_way_through_the_model_is_an_error_when_the_layer_is_not_reached():
    import torch
    from torch import nn

    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(4, 8)

        def forward(self, x):
            x = self.a(x).abs()
            return torch.relu(self.b(x) if x.sum() < 1e6 else self.c(x))

    model = finetuner.to_embedding_model(Skips(), 'b', input_size=(4,))
    assert model(torch.ones(2, 4)).shape == (2, 8)
    with pytest.raises(ModelError, match='another way'):
        model(torch.full((2, 4), 1e30))


def test_two_threads_may_use_one_model(models, hands):
    case = models['tower block']
    model, inputs = tailored(case, output_dim=5), case.inputs()
    expected = hands.call(model, inputs)
    results = []

    def work():
        results.extend(np.abs(hands.call(model, inputs) - expected).max() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 60 and max(results) < 1e-6


def test_one_that_is_stopped_within_another_ends_itself_and_not_the_other():
    import torch
    from torch import nn

    class Tower(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.c(
                torch.tanh(self.b(self.a(self.a(x)) if x.sum() < 1e9 else x))
            )  # so that it can only be stopped

    class Twice(nn.Module):
        def __init__(self, tower):
            super().__init__()
            self.tower, self.last, self.head = tower, nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            x = self.tower(self.tower(x))
            return self.head(torch.tanh(self.last(x) if x.sum() < 1e9 else x))

    x = torch.randn(4, 4)
    tower = finetuner.to_embedding_model(Tower(), 'b', inputs=x)
    model, a = Twice(tower), tower.model.a
    after = finetuner.to_embedding_model(model, 'last', inputs=x)
    within = finetuner.to_embedding_model(model, 'tower.model.a#4', inputs=x)
    results = []

    def work():
        for _ in range(20):
            results.append(torch.equal(after(x), model.last(tower(tower(x)))))
            results.append(torch.equal(within(x), a(a(tower(x)))))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 120 and all(results)


def test_what_a_layer_does_to_its_tensor_in_training_alone_is_not_cut_off(hands):
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Linear(4, 64)

        def forward(self, x):
            return nn.functional.dropout(self.dense(x), 0.5, self.training), None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = Block(), nn.Linear(64, 3)

        def forward(self, x):
            return self.head(self.block(x)[0])

    cut = finetuner.to_embedding_model(Net(), 'block', inputs=torch.ones(4, 4))
    assert (hands.call(cut, torch.ones(4, 4), training=True) == 0).any()
    assert not (hands.call(cut, torch.ones(4, 4)) == 0).any()


@pytest.mark.parametrize('name', ['resnet', 'vgg', 'bert classifier', 'tower block'])
@pytest.mark.parametrize('options', [{}, {'output_dim': 5}])
def test_every_module_stays_in_its_mode(models, name, options):
    import torch

    case = models[name]
    model = case.build().train()
    calm = next(n for n, module in model.named_modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Embedding))
    model.get_submodule(calm).eval()
    expected = {id(module): module.training for module in model.modules()}
    cut = finetuner.to_embedding_model(model, case.layer, inputs=case.inputs(), **options)
    assert [path for path, module in cut.named_modules() if not module.training and path.endswith(calm)]
    assert not [path for path, module in cut.named_modules() if not module.training and not path.endswith(calm)]
    assert {id(module): module.training for module in model.modules()} == expected
    assert all(not module.training for module in cut.eval().modules())
    assert all(module.training for module in cut.train().modules()) and repr(cut)


def test_hooks_of_the_users_own_stay(models):
    case = models['resnet']
    model, heard = case.build(), []
    model.layer1[0].register_forward_hook(lambda module, args, output: heard.append(output.shape))
    summary(model, inputs=case.inputs())
    before = len(heard)
    cut = finetuner.to_embedding_model(model, inputs=case.inputs(), inplace=True)
    heard.clear()
    finetuner.inference.encoder(cut).embed(case.inputs())
    assert before == 1 and len(heard) == 1


def test_modes_gradients_and_chance_stay_as_they_were(models):
    import torch

    case = models['resnet']
    model = case.build().train()
    model.layer1.eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    cut = finetuner.to_embedding_model(model, inputs=case.inputs(), inplace=True)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert cut.training


def test_it_compiles(models, hands):
    import torch

    for name in ('mlp', 'vgg'):
        case = models[name]
        model = tailored(case, output_dim=5).eval()
        compiled = torch.compile(model, backend='eager', fullgraph=True)
        with torch.no_grad():
            got = compiled(torch.from_numpy(case.inputs()))
        np.testing.assert_allclose(got.numpy(), hands.call(model, case.inputs()), atol=1e-6)


@pytest.mark.parametrize('name', ['tower', 'choosing'])
def test_one_that_is_stopped_compiles_in_pieces(models, hands, name):
    import torch

    case = models[name]
    model = tailored(case, output_dim=5).eval()
    expected = hands.call(model, case.inputs())
    coder = finetuner.inference.encoder(torch.compile(model, backend='eager'))
    for _ in range(2):
        np.testing.assert_allclose(coder.embed(case.inputs()), expected, atol=1e-6)
    torch._dynamo.reset()


@pytest.mark.parametrize('name', ['mlp', 'vgg', 'choosing', 'pair', 'lstm', 'bert classifier', 'vit', 'tower'])
def test_it_is_exported_for_batches_of_any_size(models, name):
    import inspect

    import torch

    case = models[name]
    model = tailored(case, output_dim=5, normalize=True).eval()
    coder = finetuner.inference.encoder(model)
    args, kwargs = finetuner.inference.arguments(model.forward, coder.native(case.inputs()))
    given = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    # The tower itself says len(x), which torch takes for a constant.
    size = torch.export.Dim.STATIC if name == 'tower' else torch.export.Dim.DYNAMIC
    axes = finetuner.inference.leaves(lambda x: {0: size}, given)
    program = torch.export.export(model, args, kwargs, strict=False, dynamic_shapes=axes)
    items = 4 if name == 'tower' else 3
    few = finetuner.inference.leaves(lambda x: x[:items], (args, kwargs))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*few[0], **few[1]), model(*few[0], **few[1]), atol=1e-6, rtol=1e-5)


def test_its_forward_has_the_arguments_of_the_model(models):
    import inspect

    case = models['bert classifier']
    general = case.build()
    model = tailored(case, output_dim=5)
    assert inspect.signature(model.forward) == inspect.signature(general.forward)
    assert inspect.signature(model.body.forward) == inspect.signature(general.forward)
    model.forward = lambda *args, **kwargs: 'another'  # as accelerate and Lightning do
    assert model(**case.inputs()) == 'another'


def test_it_is_saved_whole_and_replicated(models, hands, tmp_path):
    import torch

    for name in ('mlp', 'vgg', 'bert classifier'):
        case = models[name]
        model = tailored(case, output_dim=5)
        expected = hands.call(model, case.inputs())
        torch.save(model, tmp_path / 'model.pt')
        again = torch.load(tmp_path / 'model.pt', weights_only=False)
        np.testing.assert_array_equal(hands.call(again, case.inputs()), expected)
        # What DataParallel does, whose replicas share their hooks.
        replicas = {module: module._replicate_for_data_parallel() for module in model.modules()}
        for module, replica in replicas.items():
            for key, child in module._modules.items():
                setattr(replica, key, child and replicas[child])
            for key, weight in module._parameters.items():
                setattr(replica, key, weight)
        np.testing.assert_array_equal(hands.call(replicas[model], case.inputs()), expected)


def test_torchscript_is_refused():
    import torch

    with pytest.raises(ModelError, match='TorchScript'):
        finetuner.display(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(4, 3))), (4,))


def test_frozen_spectral_norms_stand_still(hands):
    from torch import nn

    new, old = nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm
    general = nn.Sequential(new(nn.Linear(4, 8)), old(nn.Linear(8, 8)), nn.Linear(8, 3))
    inputs = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    model = finetuner.to_embedding_model(general, '1', inputs=inputs, freeze=True, output_dim=2)
    before = hands.statistics(model)
    hands.train(model, inputs)
    assert before and all(np.array_equal(before[name], value) for name, value in hands.statistics(model).items())


def test_another_process_makes_the_same_model_from_recipe_and_weights(models, tmp_path):
    case = models['bert classifier']
    model, inputs = tailored(case, freeze_layer=1, output_dim=4, pooling=None), case.inputs()
    (tmp_path / 'recipe.json').write_text(json.dumps(recipe_of(model).to_dict()))
    finetuner.save(model, tmp_path / 'weights')
    np.save(tmp_path / 'vectors.npy', finetuner.inference.encoder(model).embed(inputs))
    run(
        f"""
import json
from pathlib import Path
import numpy as np
import finetuner
from finetuner.tailor import Recipe, rebuild
from tests.tailor import models_torch
case = next(case for case in models_torch.CASES if case.name == {case.name!r})
folder, inputs = Path({str(tmp_path)!r}), case.inputs()
model = rebuild(case.build(), Recipe.from_dict(json.loads((folder / 'recipe.json').read_text())), inputs)
vectors = finetuner.inference.encoder(finetuner.load(folder / 'weights', model)).embed(inputs)
assert np.array_equal(vectors, np.load(folder / 'vectors.npy'))
"""
    )


@pytest.mark.parametrize('norm', ['BatchNorm2d', 'InstanceNorm2d', 'SyncBatchNorm', 'of the batch'])
def test_frozen_norms_stand_still_if_they_have_statistics(norm, hands):
    from torch import nn

    options = {'of the batch': {'track_running_stats': False}, 'InstanceNorm2d': {'track_running_stats': True}}
    made = getattr(nn, norm if norm[0].isupper() else 'BatchNorm2d')(8, **options.get(norm, {}))
    general = nn.Sequential(nn.Conv2d(3, 8, 3), made, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    inputs = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    model = finetuner.to_embedding_model(general, '1', inputs=inputs, freeze=True, output_dim=2)
    before = hands.statistics(model)
    if norm == 'of the batch':
        assert not before
    else:
        one = hands.call(model, inputs[:1], training=True)
        np.testing.assert_allclose(one, hands.call(model, inputs, training=True)[:1], atol=1e-6)
    hands.train(model, inputs)
    assert all(np.array_equal(before[name], value) for name, value in hands.statistics(model).items())


def test_models_on_the_meta_device_are_refused_and_lazy_ones_are_called_once(hands):
    from torch import nn

    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    with pytest.raises(ModelError, match='meta device.*to_empty'):
        finetuner.to_embedding_model(nn.Linear(6, 8).to('meta'), inputs=x)
    general = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    model = finetuner.to_embedding_model(general, inputs=x, freeze=['0'], output_dim=2)
    assert hands.call(model, x).shape == (4, 2) and general[1].running_mean.shape == (8,)


def test_a_head_that_reads_what_has_time_first_is_named_with_what_to_do(caplog):
    from torch import nn

    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.last, self.fc = nn.LSTM(6, 8), nn.Identity(), nn.Linear(8, 3)

        def forward(self, x):
            state = self.lstm(x.transpose(0, 1))[0][-1]
            return self.fc(state if hidden else self.last(state))

    x = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    hidden = True
    assert finetuner.inference.encoder(finetuner.to_embedding_model(TimeFirst(), inputs=x)).embed(x).shape == (4, 3)
    assert 'linear_2 is a classification head' in caplog.text and 'such as an Identity' in caplog.text
    hidden = False
    cut = finetuner.to_embedding_model(TimeFirst(), 'last', inputs=x)
    assert finetuner.inference.encoder(cut).embed(x).shape == (4, 8)
