"""The optimizer is made anew while a model trains: what it kept of a weight stays, and weights that join start."""

from dataclasses import replace

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback
from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.sampler import make_sampler
from finetuner.dispatch import load
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.losses import registry
from finetuner.tailor.base import tailor
from finetuner.tuner.schedule import Optimization
from tests.models import clusters, framework, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4}
RATE = 1e-3


class Acts(Callback):
    """Does something before the updates of some numbers, and keeps the weights of before and after every update."""

    def __init__(self, **actions):
        self.actions = {int(name.removeprefix('at_')): action for name, action in actions.items()}
        self.rates, self.losses, self.groups, self.weights = [], [], [], []

    def on_train_batch_begin(self, tuner):
        if action := self.actions.get(tuner.state.step):
            action(tuner)
        self.rates.append(dict(tuner.state.learning_rates))
        self.groups.append({name: paths for name, (_, paths) in tuner.groups.items()})
        self.weights.append(tuner.encoder.weights())

    def on_train_batch_end(self, tuner):
        self.losses.append(tuner.state.current_loss)

    def on_fit_end(self, tuner):
        self.weights.append(tuner.encoder.weights())


def trained(backend, model=None, **arguments):
    """The callback after a training in which it acted."""
    actions = {name: arguments.pop(name) for name in list(arguments) if name.startswith('at_')}
    acts = Acts(**actions)
    finetuner.fit(model or mlp(backend), clusters(), **ARGUMENTS | arguments, callbacks=[acts])
    return acts


def layers(tuner):
    """The paths of the layers with weights, in their order."""
    weights = [path for _, paths in tuner.groups.values() for path in paths]
    return list(dict.fromkeys(path.rpartition('.')[0] for path in weights))


def rebuilt(tuner):
    tuner.rebuild()


LOSSES = {
    'plain': {},
    'learned': {'loss': 'ArcFaceLoss'},
    'memory': {'loss': 'CrossBatchMemory', 'loss_options': {'loss': 'NTXentLoss', 'memory_size': 48}},
    'chunked and learned': {'mini_batch_size': 6, 'loss': 'ProxyAnchorLoss', 'loss_optimizer': 'SGD'},
}


@pytest.mark.parametrize('name', list(LOSSES))
def test_without_a_change_nothing_changes(backend, name):
    plain = trained(backend, mlp(backend, noisy=True), **LOSSES[name])
    again = trained(backend, mlp(backend, noisy=True), **LOSSES[name], at_1=rebuilt)
    assert again.losses == plain.losses
    assert again.rates == plain.rates
    for path, value in plain.weights[-1].items():
        np.testing.assert_array_equal(again.weights[-1][path], value, err_msg=path)


@pytest.mark.parametrize('chunk', [None, 6])
def test_what_joins_starts_as_if_training_began(backend, chunk):
    model = mlp(backend, (10, 16, 16, 8))
    worker = tailor(model)

    def begin(tuner):
        joining.extend(layers(tuner)[:1])
        worker.freeze(model, joining)
        tuner.rebuild()

    def join(tuner):
        worker.unfreeze(model, joining)
        tuner.rebuild()

    joining = []
    acts = trained(backend, model, at_0=begin, at_2=join, learning_rate=RATE, mini_batch_size=chunk)
    names = list(acts.weights[0])
    kernel, bias, *others = names
    for step in range(2):  # neither slope nor weight decay
        for name in (kernel, bias):
            np.testing.assert_array_equal(acts.weights[step + 1][name], acts.weights[0][name])
        assert all(not np.array_equal(acts.weights[step + 1][name], acts.weights[step][name]) for name in others)
    moved = np.abs(acts.weights[3][bias] - acts.weights[2][bias])
    rate = acts.rates[2]['model']
    # The first step of Adam is as long as the rate, for all whose slope is not nearly zero.
    assert 0.9 < np.median(moved) / rate < 1.0001 and moved.max() < 1.0001 * rate
    later = np.abs(acts.weights[3][names[-1]] - acts.weights[2][names[-1]])
    assert np.median(np.abs(later / rate - 1)) > 1e-3  # it has moments of two updates


def test_what_leaves_stands_still_and_starts_anew_when_it_comes_back(backend):
    model = mlp(backend, (10, 16, 16, 8))
    worker = tailor(model)

    def change(verb):
        def act(tuner):
            first.extend(layers(tuner)[:1])
            verb(model, first[:1])
            tuner.rebuild()

        return act

    first = []
    acts = trained(backend, model, at_1=change(worker.freeze), at_2=change(worker.unfreeze), learning_rate=RATE)
    bias = list(acts.weights[0])[1]
    moved = [np.abs(b[bias] - a[bias]) for a, b in zip(acts.weights, acts.weights[1:], strict=False)]
    assert moved[0].max() > 0 and moved[1].max() == 0
    assert 0.9 < np.median(moved[2]) / acts.rates[2]['model'] < 1.0001


def test_weights_of_the_same_form_are_not_taken_for_each_other(backend):
    model = mlp(backend, (10, 16, 16, 16))
    worker = tailor(model)
    inputs = clusters()[0][:20]

    def swap(tuner):
        if not places:
            places.extend(layers(tuner)[1:])
        worker.unfreeze(model, places[1:2])
        worker.freeze(model, places[:1])
        places.reverse()
        tuner.rebuild()
        vectors = tuner.encoder.embed(inputs)
        np.testing.assert_allclose(vectors, encoder(model).embed(inputs), rtol=1e-5, atol=1e-6)

    places = []
    acts = trained(backend, model, at_1=swap, at_2=swap)
    names = list(acts.weights[0])
    for step, still in ((1, names[2:4]), (2, names[4:6])):
        before, after = acts.weights[step], acts.weights[step + 1]
        assert [name for name in names if np.array_equal(before[name], after[name])] == still


def test_groups_are_trained_at_multiples_of_the_rate(backend):
    def act(tuner):
        first, second, _ = places = layers(tuner)
        weight = next(path for path in tuner.groups['model'][1] if path.startswith(f'{second}.'))
        tuner.scales = {first: 0.1, weight: 0.5, second: 0.1**2}
        tuner.rebuild()
        found.extend(places)

    found = []
    model = mlp(backend, (10, 16, 16, 8))
    acts = trained(backend, model, at_0=act, learning_rate=RATE)
    first, second, third = found
    groups = acts.groups[0]
    assert list(groups) == ['model', 'model*0.5', 'model*0.1', 'model*0.01']
    assert [{path.rpartition('.')[0] for path in groups[name]} for name in groups] == [
        {third}, {second}, {first}, {second},
    ]  # fmt: skip
    assert [len(paths) for paths in groups.values()] == [2, 1, 2, 1]
    for rates in acts.rates:
        assert list(rates) == list(groups)
        np.testing.assert_allclose(list(rates.values()), np.multiply([1, 0.5, 0.1, 0.01], rates['model']), rtol=1e-5)
    moved = [np.abs(b - a) for a, b in zip(acts.weights[0].values(), acts.weights[1].values(), strict=True)]
    biases = [np.median(one) / acts.rates[0]['model'] for one in moved[1::2]]
    np.testing.assert_allclose(biases, [0.1, 0.01, 1], rtol=0.1)
    record = finetuner.history(model).epochs[-1]
    assert record['learning_rates'] == acts.rates[-1]


def test_rates_in_a_loop_of_ones_own(backend):
    model = mlp(backend)
    dataset = Dataset(read(clusters()))
    loader = Loader(dataset, make_sampler(dataset, batch_size=20))
    objective = registry.resolve('InfoNCELoss', None, kind='class')
    coder = encoder(model)
    coder.place('cpu')
    made = load(framework(backend), 'tuner').Tuner
    tuner = made(coder, objective, dim=32, optimization=Optimization(learning_rate=0.01), scales={'': 0.5})
    tuner.begin(loader)
    bias = list(coder.weights())[1]
    for _ in range(2):
        before = coder.weights()[bias]
        assert tuner.rates() == {'model*0.5': pytest.approx(0.005)}
        inputs, codes = next(iter(loader.epoch(0)))
        tuner.step(inputs, codes)
        moved = np.abs(coder.weights()[bias] - before)
        assert moved.max() < 0.0051
        tuner.rebuild()
    tuner.release()
    assert moved.max() > 0.003


@pytest.mark.parametrize('chunk', [None, 6])
def test_slopes_are_clipped_over_all_groups_together(backend, chunk):
    def act(tuner):
        tuner.scales = {layers(tuner)[0]: 1.00001}
        tuner.rebuild()

    plain = trained(backend, learning_rate=0.01, mini_batch_size=chunk)
    grouped = trained(backend, learning_rate=0.01, mini_batch_size=chunk, at_0=act)
    assert len(grouped.groups[0]) == 2
    for path, value in plain.weights[-1].items():
        np.testing.assert_allclose(grouped.weights[-1][path], value, rtol=1e-3, atol=2e-6, err_msg=path)


def test_biases_are_left_out_of_the_decay_of_their_group(backend):
    def act(tuner):
        tuner.scales = {'': 1e-3}
        tuner.rebuild()

    def weights(decay):
        def decaying(tuner):
            tuner.optimization = replace(tuner.optimization, weight_decay=decay)
            act(tuner)

        return trained(backend, at_0=decaying, learning_rate=1.0, epochs=1).weights

    without, decayed = weights(0.0), weights(100.0)
    kernel, bias = (list(without[0])[place] for place in (0, 1))
    np.testing.assert_allclose(decayed[1][bias], without[1][bias], atol=1e-6)
    lost = without[1][kernel] - decayed[1][kernel]
    np.testing.assert_allclose(lost, 0.1 * without[0][kernel], rtol=1e-3, atol=1e-5)


def test_what_cannot_be_is_refused(backend):
    def everything_frozen(tuner):
        finetuner.freeze(model)
        try:
            tuner.rebuild()
        finally:
            finetuner.unfreeze(model)

    def scaled(scales):
        def act(tuner):
            tuner.scales = scales
            tuner.rebuild()

        return act

    def configured(model):
        if backend == 'torch':
            import torch

            return torch.optim.SGD(model.parameters(), lr=0.1)
        if backend == 'paddle':
            import paddle

            return paddle.optimizer.SGD(0.1, parameters=model.parameters())
        import keras

        return keras.optimizers.SGD(0.1)

    model = mlp(backend)
    for said, arguments in (
        ('configure_optimizer made the optimizer', {'at_1': rebuilt, 'configure_optimizer': configured}),
        ('Every weight of the model is frozen', {'at_1': everything_frozen}),
        ("no weight in 'nowhere'", {'at_1': scaled({'nowhere': 0.1})}),
        (r"scales\[''\]=0: expected a positive number", {'at_1': scaled({'': 0})}),
    ):
        with pytest.raises(ArgumentError, match=said):
            trained(backend, model, **arguments)
    assert encoder(model).trainable() == encoder(mlp(backend)).trainable()
