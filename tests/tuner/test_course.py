"""What `fit` makes of the optimizer, the schedule and the rates of the parts of a model; and how it is resumed."""

import inspect
import logging

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback, GradualUnfreezing, TrainingCheckpoint
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from finetuner.tailor.parts import parts
from finetuner.tuner.course import by_depth, course
from finetuner.tuner.rates import scale
from tests.models import clusters, mlp
from tests.tailor.test_plan import _bert

ARGUMENTS = {'epochs': 4, 'batch_size': 20, 'num_items_per_class': 4}
RATE = 1e-3


class Watches(Callback):
    """Keeps the rates of all updates, and the weights before and after the first; stops after so many."""

    def __init__(self, stop=None):
        self.rates, self.weights, self.groups, self.stop = [], [], [], stop

    def on_train_batch_begin(self, tuner):
        self.rates.append(dict(tuner.state.learning_rates))
        self.groups.append({name: paths for name, (_, paths) in tuner.groups.items()})
        if len(self.weights) < 2:
            self.weights.append(tuner.encoder.weights())
        if tuner.state.step == self.stop:
            raise KeyboardInterrupt


def trained(start, watching=None, callbacks=(), **arguments):
    watching = watching or Watches()
    tuned = finetuner.fit(start, clusters(), **ARGUMENTS | arguments, callbacks=[watching, *callbacks])
    return tuned, watching


CHOSEN = {
    'optimizer': 'nadam',
    'optimizer_options': {'betas': (0.8, 0.99), 'weight_decay': 0.1},
    'scheduler': 'cosine',
    'scheduler_options': {'num_warmup_steps': 3},
}


def test_what_was_chosen_is_followed_and_is_resumed_to_the_bit(backend, tmp_path):
    whole, watching = trained(mlp(backend), **CHOSEN)
    parts = [1 / 3, 2 / 3, 1, *(0.5 * (1 + np.cos(np.pi * np.arange(5) / 5)))]
    np.testing.assert_allclose([rates['model'] for rates in watching.rates], np.multiply(RATE, parts), rtol=1e-6)
    trained(mlp(backend), Watches(stop=2), [TrainingCheckpoint(save_dir=tmp_path)], **CHOSEN)  # in the warm-up
    resumed, _ = trained(mlp(backend, seed=7), **CHOSEN, resume=tmp_path)
    for ours, theirs in zip(encoder(resumed).weights().values(), encoder(whole).weights().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.backends('torch')
def test_a_training_is_resumed_only_as_it_was(tmp_path, caplog):
    with caplog.at_level(logging.INFO, 'finetuner'):
        trained(mlp('torch'), callbacks=[TrainingCheckpoint(save_dir=tmp_path)], **CHOSEN)
    assert 'NAdam, learning rate 0.001, cosine' in caplog.text
    for name, value, said in (
        ('optimizer', 'Adamax', r'optimization=NAdam\(.*this one has optimization=Adamax'),
        ('optimizer_options', {}, r'beta_1=0.8, .*this one has .*beta_1=0.9, '),
        ('scheduler', 'linear', r'schedule=cosine\(num_warmup_steps=3.*this one has schedule=linear'),
        ('scheduler_step', 'epoch', "this one has schedule=.*scheduler_step='epoch'"),
        ('layer_wise_lr_decay', 0.5, r'of other weights: .*\(model then, model\*0.5 now\)'),
    ):
        with pytest.raises(CheckpointError, match=said):
            trained(mlp('torch'), **CHOSEN | {name: value}, resume=tmp_path)


@pytest.mark.backends('torch')
def test_the_rate_stands_still_within_an_epoch():
    arguments = {'scheduler': 'linear', 'scheduler_step': 'epoch', 'loss': 'ArcFaceLoss', 'learning_rate': 0.1}
    _, watching = trained(mlp('torch'), **arguments)
    rates = [rates['model'] for rates in watching.rates]
    np.testing.assert_allclose(rates, np.repeat([0.1, 0.075, 0.05, 0.025], 2), rtol=1e-6)
    np.testing.assert_allclose([rates['loss'] for rates in watching.rates], np.multiply(rates, 0.1), rtol=1e-6)


def test_blocks_learn_slower_the_further_down_they_are_and_the_head_at_a_rate_of_its_own(backend):
    # A bias starts at zero and has no decay: the first step of Adam takes it as far as its rate is.
    chosen = {'layer_wise_lr_decay': 0.5, 'head_learning_rate': 0.01, 'learning_rate': RATE, 'scheduler': 'constant'}
    _, watching = trained(mlp(backend, (10, 16, 8)), epochs=1, output_dim=4, **chosen)
    names = ['model*10', 'model*0.5', 'model*0.25']
    before, after = watching.weights
    assert list(watching.rates[0]) == list(watching.groups[0]) == names
    np.testing.assert_allclose(list(watching.rates[0].values()), [0.01, 5e-4, 2.5e-4], rtol=1e-6)
    assert [len(paths) for paths in watching.groups[0].values()] == [2, 2, 2]
    moved = [np.median(np.abs(after[name] - before[name])) for name in list(before)[1::2]]
    np.testing.assert_allclose(moved, [2.5e-4, 5e-4, 0.01], rtol=0.05)


def test_the_head_alone_has_another_rate_and_decay_may_be_an_option_of_the_optimizer(backend):
    _, watching = trained(mlp(backend), Watches(stop=0), output_dim=4, head_learning_rate=0.01)
    assert {name: len(paths) for name, paths in watching.groups[0].items()} == {'model*10': 2, 'model': 4}
    options = {'layer_wise_lr_decay': 0.9, 'weight_decay': 0.1}
    _, watching = trained(mlp(backend), Watches(stop=0), output_dim=4, optimizer_options=options)
    assert list(watching.groups[0]) == ['model', 'model*0.9', 'model*0.81']


def test_what_is_in_no_block_learns_slowest():
    tail = [('bert.pooler', 'Linear', (32,), 100)]
    multiples = by_depth(parts(_bert(2, tail)), 0.5)
    places = 'bert.pooler.bias', 'bert.encoder.layer.1.x', 'bert.encoder.layer.0.x', 'bert.embeddings.x'
    assert [scale(path, multiples) for path in places] == [1, 0.5, 0.25, 0.125]


NOTHING = dict.fromkeys(inspect.signature(course).parameters) | {'scheduler_step': 'batch'}


@pytest.mark.parametrize(
    ('optimizer', 'options', 'rate', 'found'),
    [
        (None, None, None, 1e-4),
        ('SGD', None, None, 1e-2),
        ('SGD', {'momentum': 0.9}, None, 1e-3),
        ('SGD', {'momentum': 0.9}, 1, 1.0),
        ('adadelta', None, None, 0.1),
        ('RMSprop', {'momentum': 0.5}, None, 5e-5),
    ],
)
def test_an_optimizer_without_a_rate_has_a_multiple_of_that_of_adamw(optimizer, options, rate, found):
    given = NOTHING | {
        'framework': 'torch',
        'optimizer': optimizer,
        'optimizer_options': options,
        'learning_rate': rate,
    }
    assert course(**given).optimization(1e-4).learning_rate == pytest.approx(found)


def configured(model):
    raise AssertionError('it is refused before')


@pytest.mark.backends('torch', 'paddle', 'keras-torch')
@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (
            {'head_learning_rate': 0.01},
            r'no head with weights was attached to the model: attach one with output_dim=128',
        ),
        ({'layer_wise_lr_decay': 0}, 'layer_wise_lr_decay must be a finite number above 0 and at most 1, got 0'),
        ({'layer_wise_lr_decay': 1.1}, 'layer_wise_lr_decay must be'),
        ({'head_learning_rate': -1}, 'head_learning_rate must be a positive number, got -1'),
        (
            {'layer_wise_lr_decay': 0.9, 'optimizer_options': {'layer_wise_lr_decay': 0.9}},
            'layer_wise_lr_decay is an argument, and in optimizer_options too: give it once',
        ),
        ({'optimizer_options': {'momentum': 0.9}}, "optimizer_options: AdamW has no option 'momentum'"),
        ({'scheduler': 'step'}, "no scheduler 'step'"),
        ({'scheduler_options': {'num_warmup_steps': 9}}, 'num_warmup_steps=9, but there are 8 updates'),
        (
            {'configure_optimizer': configured, 'scheduler': 'cosine', 'layer_wise_lr_decay': 0.9},
            "makes the optimizer and its schedule: leave 'scheduler' and 'layer_wise_lr_decay' out",
        ),
        (
            {'callbacks': [GradualUnfreezing()], 'layer_wise_lr_decay': 0.9},
            'GradualUnfreezing gives each part of the model its rate: leave layer_wise_lr_decay and head_learning_rate',
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_start(backend, arguments, said):
    model = mlp(backend)
    before = encoder(model).weights()
    with pytest.raises(ArgumentError, match=said):
        trained(model, **arguments)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.backends('torch')
def test_a_model_of_one_part_has_nothing_to_decay():
    with pytest.raises(ArgumentError, match='layer_wise_lr_decay=0.9, but the model has one part only'):
        trained(mlp('torch', (10, 8)), layer_wise_lr_decay=0.9)
