"""The schedules: those of transformers, but that no update of the warm-up is lost."""

import pytest

from finetuner.errors import ArgumentError
from finetuner.tuner.schedule import SCHEDULES, Optimization, scheduled

OPTIONS = {
    'linear': {},
    'cosine': {'num_cycles': 1.5},
    'cosine_with_restarts': {'num_cycles': 3},
    'polynomial': {'power': 2.0, 'lr_end': 0.01},
    'constant': {},
    'constant_with_warmup': {},
}


def rates(name, total, warmup=None, rate=0.5, options=None, epochs=None, **arguments):
    options = dict(OPTIONS[name] if options is None else options)
    if warmup is not None and name != 'constant':
        options['num_warmup_steps'] = warmup
    numbers = Optimization('SGD', rate, schedule=scheduled(name, options, **arguments))
    return [numbers.rate(step, total, total // epochs if epochs else 1) for step in range(total)]


@pytest.mark.backends('torch')
@pytest.mark.parametrize('given', [True, False])
@pytest.mark.parametrize('name', list(SCHEDULES))
def test_a_schedule_is_that_of_transformers(name, given):
    import torch

    get_scheduler = pytest.importorskip('transformers').get_scheduler
    warmup, total, options = 5, 40, OPTIONS[name] if given else {}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler = get_scheduler(name, optimizer, warmup, total, dict(options))
    theirs = []
    for _ in range(total):
        theirs.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    ours = rates(name, total, warmup, options=options)
    if name != 'constant':  # the rate of their first update is zero
        theirs = theirs[1 : warmup + 1] + theirs[warmup:]
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_the_warm_up_is_a_number_or_a_part():
    assert rates('linear', 20) == rates('linear', 20, 0.1) == rates('linear', 20, 2)
    assert rates('linear', 20, 2)[:4] == [0.25, 0.5, 0.5, pytest.approx(0.5 * 17 / 18)]
    assert rates('constant_with_warmup', 4, 0.5) == [0.25, 0.5, 0.5, 0.5]
    assert rates('constant_with_warmup', 4, 0) == rates('constant', 4) == [0.5] * 4


def test_a_schedule_ends_before_the_training_or_after_it():
    short = rates('cosine', 8, 0, options={'num_training_steps': 4})
    assert short[:4] == rates('cosine', 4, 0, options={}) and short[4:] == [0.0] * 4
    assert rates('linear', 4, 0, options={'num_training_steps': 8}) == rates('linear', 8, 0)[:4]
    assert rates('linear', 4, options={'num_training_steps': 'auto'}) == rates('linear', 4)


def test_by_epoch_the_rate_stands_still_within_one_and_all_numbers_count_epochs():
    by_epoch = rates('linear', 5, 2)
    assert rates('linear', 15, 2, epochs=5, step='epoch') == [rate for rate in by_epoch for _ in range(3)]
    assert rates('linear', 15, options={'num_warmup_steps': 2, 'scheduler_step': 'epoch'}, epochs=5)[::3] == by_epoch


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (('cosin',), "no scheduler 'cosin'. Did you mean 'cosine'"),
        (('linear', {'power': 2}), "linear has no option 'power'. It is one of polynomial"),
        (('constant', {'num_warmup_steps': 2}), "constant has no option 'num_warmup_steps'.*constant_with_warmup"),
        (('linear', {'num_warmup_step': 2}), "no option 'num_warmup_step'. Did you mean 'num_warmup_steps'"),
        (
            ('linear', {'num_warmup_steps': -1}),
            'num_warmup_steps=-1: expected a whole number of steps, such as 100, or',
        ),
        (('linear', {'num_warmup_steps': 1.5}), 'num_warmup_steps=1.5: expected'),
        (('linear', {'num_warmup_steps': True}), 'num_warmup_steps=True: expected'),
        (('linear', {'num_warmup_steps': '0.1'}), "num_warmup_steps='0.1': expected"),
        (('linear', {'num_training_steps': 0}), 'num_training_steps must be a whole number of at least 1, got 0'),
        (('cosine_with_restarts', {'num_cycles': 0.5}), 'num_cycles must be a whole number'),
        (('cosine', {'num_cycles': 0}), 'num_cycles must be a positive number'),
        (('polynomial', {'lr_end': -1}), 'lr_end must be a finite number of at least 0'),
        (('linear', {'scheduler_step': 'step'}), "no scheduler_step 'step'"),
        (('linear', {'scheduler_step': 'batch'}, 'epoch'), "scheduler_step='epoch', and 'batch' in scheduler_options"),
        (('linear', [3]), 'scheduler_options must be a dict of options by name'),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        scheduled(*arguments)


def test_a_warm_up_that_never_ends_and_an_end_above_the_rate_are_refused():
    schedule = scheduled('linear', {'num_warmup_steps': 21})
    schedule.check(7, 3)
    with pytest.raises(ArgumentError, match='num_warmup_steps=21, but there are 20 updates'):
        schedule.check(10, 2)
    with pytest.raises(ArgumentError, match='num_warmup_steps=4, but there are 3 epochs'):
        scheduled('cosine', {'num_warmup_steps': 4}, 'epoch').check(3, 100)
    with pytest.raises(ArgumentError, match='num_warmup_steps=6, but there are 5 updates'):
        scheduled('linear', {'num_warmup_steps': 6, 'num_training_steps': 5}).check(3, 100)
    with pytest.raises(ArgumentError, match='lr_end=0.5 is not below the learning rate, 0.5'):
        rates('polynomial', 4, options={'lr_end': 0.5})
