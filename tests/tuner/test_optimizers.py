"""Every optimizer does what its formula says, in float64, on every framework; what it keeps outlives a resume."""

import inspect
import json

import numpy as np
import pytest

from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.sampler import make_sampler
from finetuner.dispatch import get_namespace, load
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.losses.objective import Objective
from finetuner.tuner.optimizers import OPTIMIZERS, for_loss, known, named, optimization, settled
from tests.models import framework, mlp

# Of float32 against float64, after the steps below.
TOLERANCE = {'rtol': 2e-5, 'atol': 2e-6}

BATCHES = np.random.default_rng(0).standard_normal((8, 8, 3)).astype(np.float32) * [[[2.0, 0.7, 0.3]]]
RATES = 0.1 * np.array([0.5, 1, 1, 0.8, 0.6, 0.4, 0.3, 0.2])
HALF = 4

ADAM = {'beta_1': 0.8, 'beta_2': 0.95, 'epsilon': 0.01}
OPTIONS = {
    'Adam': ADAM | {'weight_decay': 0.1},
    'AdamW': ADAM | {'weight_decay': 0.5},
    'SGD': {'momentum': 0.9, 'nesterov': True, 'weight_decay': 0.1},
    'RMSprop': {'rho': 0.8, 'epsilon': 0.01, 'momentum': 0.5, 'weight_decay': 0.1},
    'Adagrad': {'epsilon': 0.01, 'weight_decay': 0.1},
    'Adadelta': {'rho': 0.8, 'epsilon': 1e-3, 'weight_decay': 0.1},
    'Adamax': ADAM | {'weight_decay': 0.1},
    'NAdam': ADAM | {'momentum_decay': 0.5, 'weight_decay': 0.1},
    'RAdam': ADAM | {'weight_decay': 0.1},
    'Lion': {'beta_1': 0.8, 'beta_2': 0.95, 'weight_decay': 0.5},
}


def mean(kept, name, new, decay):
    kept[name] = decay * kept.get(name, 0.0) + (1 - decay) * new
    return kept[name]


def adam(g, kept, t, o):
    m, v = mean(kept, 'm', g, o['beta_1']), mean(kept, 'v', g * g, o['beta_2'])
    return m / (1 - o['beta_1'] ** t) / (np.sqrt(v / (1 - o['beta_2'] ** t)) + o['epsilon'])


def sgd(g, kept, t, o):
    kept['b'] = o['momentum'] * kept.get('b', 0.0) + g
    return g + o['momentum'] * kept['b'] if o['nesterov'] else kept['b']


def rmsprop(g, kept, t, o):
    d = g / (np.sqrt(mean(kept, 'v', g * g, o['rho'])) + o['epsilon'])
    kept['b'] = o['momentum'] * kept.get('b', 0.0) + d
    return kept['b']


def adagrad(g, kept, t, o):
    kept['v'] = kept.get('v', 0.0) + g * g
    return g / (np.sqrt(kept['v']) + o['epsilon'])


def adadelta(g, kept, t, o):
    v = mean(kept, 'v', g * g, o['rho'])
    d = np.sqrt(kept.get('d', 0.0) + o['epsilon']) / np.sqrt(v + o['epsilon']) * g
    mean(kept, 'd', d * d, o['rho'])
    return d


def adamax(g, kept, t, o):
    m = mean(kept, 'm', g, o['beta_1'])
    kept['u'] = np.maximum(o['beta_2'] * kept.get('u', 0.0), np.abs(g) + o['epsilon'])
    return m / (1 - o['beta_1'] ** t) / kept['u']


def nadam(g, kept, t, o):
    m, v = mean(kept, 'm', g, o['beta_1']), mean(kept, 'v', g * g, o['beta_2'])
    mu = [o['beta_1'] * (1 - 0.5 * 0.96 ** (i * o['momentum_decay'])) for i in range(1, t + 2)]
    now, after = np.prod(mu[:-1]), np.prod(mu)
    hat = mu[-1] * m / (1 - after) + (1 - mu[-2]) * g / (1 - now)
    return hat / (np.sqrt(v / (1 - o['beta_2'] ** t)) + o['epsilon'])


def radam(g, kept, t, o):
    m, v = mean(kept, 'm', g, o['beta_1']), mean(kept, 'v', g * g, o['beta_2'])
    left, most = 1 - o['beta_2'] ** t, 2 / (1 - o['beta_2']) - 1
    rho, m = most - 2 * t * (1 - left) / left, m / (1 - o['beta_1'] ** t)
    if rho <= 5:
        return m
    r = np.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return r * m * np.sqrt(left) / (np.sqrt(v) + o['epsilon'])


def lion(g, kept, t, o):
    d = np.sign(o['beta_1'] * kept.get('m', 0.0) + (1 - o['beta_1']) * g)
    mean(kept, 'm', g, o['beta_2'])
    return d


FORMULAS = {
    'Adam': adam, 'AdamW': adam, 'SGD': sgd, 'RMSprop': rmsprop, 'Adagrad': adagrad, 'Adadelta': adadelta,
    'Adamax': adamax, 'NAdam': nadam, 'RAdam': radam, 'Lion': lion,
}  # fmt: skip


def expected(name, kernel, bias):
    """The weights after every step: slopes are clipped together, and the kernel alone decays."""
    options, (kernel, bias), found = OPTIONS[name], (kernel.astype(float), bias.astype(float)), []
    kept = {}, {}
    for t, (x, rate) in enumerate(zip(BATCHES.astype(np.float32).astype(float), RATES, strict=True), 1):
        slope = (x @ kernel + bias) / len(x)
        slopes = x.T @ slope, slope.sum(0)
        length = np.sqrt(sum((g * g).sum() for g in slopes))
        g, of_bias = (g * min(1, 1 / length) for g in slopes)
        if name in ('AdamW', 'Lion'):
            kernel = kernel * (1 - rate * options['weight_decay'])
        else:
            g = g + options['weight_decay'] * kernel
        kernel = kernel - rate * FORMULAS[name](g, kept[0], t, options)
        bias = bias - rate * FORMULAS[name](of_bias, kept[1], t, options)
        found.append((kernel, bias))
    return found


def halved(anchors, candidates, relation):
    """Half of the mean square."""
    xp = get_namespace(anchors)
    return xp.mean(xp.sum(anchors * anchors, 1)) / 2


class Steps:
    """A model and its tuner."""

    def __init__(self, backend, name):
        dataset = Dataset(read((BATCHES[0].astype(np.float32), np.arange(8) % 2)))
        loader = Loader(dataset, make_sampler(dataset, batch_size=8))
        self.backend, self.coder = backend, encoder(mlp(backend, (3, 2)))
        self.coder.place('cpu')
        numbers = optimization(name, OPTIONS[name], 0.1)
        tuner = load(framework(backend), 'tuner').Tuner
        self.tuner = tuner(self.coder, Objective(halved), dim=2, optimization=numbers)
        self.tuner.begin(loader)
        _, self.codes = next(iter(loader.epoch(0)))

    def weights(self):
        kernel, bias = self.coder.weights().values()
        return (kernel.T if self.backend == 'torch' else kernel).copy(), bias.copy()

    def step(self, place):
        self.tuner.set_rates({'model': float(RATES[place])})
        self.tuner.step(BATCHES[place].astype(np.float32), self.codes)
        return self.weights()


@pytest.mark.parametrize('name', list(OPTIONS))
def test_an_optimizer_does_what_its_formula_says_and_can_be_resumed_to_the_bit(backend, name):
    if name not in known(framework(backend)):
        with pytest.raises(
            ArgumentError, match=f'library of {framework(backend)} has no {name}. It has Adam, AdamW, SG'
        ):
            named('optimizer', name, framework(backend))
        return
    steps = Steps(backend, name)
    right = expected(name, *steps.weights())
    found = [steps.step(place) for place in range(HALF)]
    weights, (arrays, numbers) = steps.coder.weights(), steps.tuner.optimizer_state()
    arrays, numbers = {key: np.array(value) for key, value in arrays.items()}, json.loads(json.dumps(numbers))
    found += [steps.step(place) for place in range(HALF, len(RATES))]
    steps.tuner.release()
    for (kernel, bias), (there, below) in zip(found, right, strict=True):
        np.testing.assert_allclose(kernel, there, **TOLERANCE)
        np.testing.assert_allclose(bias, below, **TOLERANCE)

    again = Steps(backend, name)
    again.coder.assign(weights)
    again.tuner.restore(arrays, numbers, {}, {})
    again.tuner.state.step = HALF
    again.tuner.rebuild()
    for place in range(HALF, len(RATES)):
        for ours, theirs in zip(again.step(place), found[place], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    again.tuner.release()


def test_the_libraries_have_what_the_table_says(backend):
    if framework(backend) == 'torch':
        import torch.optim as library
    elif framework(backend) == 'paddle':
        import paddle.optimizer as library
    else:
        import keras.optimizers as library
    there = {name.lower() for name in dir(library)}
    assert [name for name in OPTIMIZERS if name.lower() in there] == known(framework(backend))


@pytest.mark.backends('torch')
def test_defaults_are_those_of_pytorch():
    import torch

    names = {'beta_1': 'betas', 'beta_2': 'betas', 'epsilon': 'eps'}
    for name in known('torch'):
        theirs = {key: p.default for key, p in inspect.signature(getattr(torch.optim, name)).parameters.items()}
        for option, value in OPTIMIZERS[name].options.items():
            other = theirs['alpha' if (name, option) == ('RMSprop', 'rho') else names.get(option, option)]
            assert value == (other[option == 'beta_2'] if isinstance(other, tuple) else other), (name, option)


@pytest.mark.parametrize(
    ('name', 'options', 'said'),
    [
        ('Adam', {'momentum': 0.9}, "Adam has no option 'momentum'. Known are: beta_1, beta_2, epsilon, weight_decay"),
        ('SGD', {'momentun': 0.9}, "SGD has no option 'momentun'. Did you mean 'momentum'"),
        ('SGD', {'lr': 0.1}, "SGD has no option 'lr'. It is an argument of fit"),
        ('Adam', {'betas': 0.9}, r'betas=0.9: expected two numbers, such as \(0.9, 0.999\)'),
        ('Adam', {'betas': (0.9, 1)}, 'beta_2 must be a finite number of at least 0 and below 1, got 1'),
        ('Adam', {'eps': 1e-8, 'epsilon': 1e-8}, "'epsilon' and 'epsilon' are the same|give one"),
        ('SGD', {'nesterov': True}, "nesterov=True is a way to use momentum: give that too, such as 'momentum': 0.9"),
        ('SGD', {'nesterov': 'no', 'momentum': 0.9}, "nesterov must be True or False, got 'no'"),
        ('RMSprop', {'alpha': -1}, 'optimizer_options: alpha must be'),
        ('Adagrad', {'epsilon': 0}, 'epsilon must be a positive number, got 0'),
        ('Lion', {'weight_decay': float('inf')}, 'weight_decay must be'),
        ('Lion', {'epsilon': 1e-8}, "Lion has no option 'epsilon'"),
        ('Adam', ['eps'], 'optimizer_options must be a dict of options by name'),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, said):
    with pytest.raises(ArgumentError, match=said):
        settled('optimizer_options', name, options)


def test_names_and_spellings():
    assert [named('optimizer', name) for name in (None, 'sgd', 'rmsPROP', 'LION')] == [
        'AdamW',
        'SGD',
        'RMSprop',
        'Lion',
    ]
    with pytest.raises(
        ArgumentError, match="There is no optimizer 'Adan'. Did you mean .*'Adam'.* configure_optimizer="
    ):
        named('optimizer', 'Adan')
    with pytest.raises(ArgumentError, match=r'library of torch has no Lion. It has Adam, .*RAdam\.$'):
        named('loss_optimizer', 'lion', 'torch')
    numbers = for_loss('nadam', {'betas': [0.8, 0.9], 'eps': 1e-6, 'lr': 1})
    assert (numbers.beta_1, numbers.beta_2, numbers.epsilon, numbers.learning_rate) == (0.8, 0.9, 1e-6, 1.0)
    assert (numbers.momentum_decay, numbers.weight_decay, for_loss('AdamW').weight_decay) == (4e-3, 0, 0)
