import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.sampler import SequentialSampler, make_sampler
from finetuner.errors import ArgumentError, DataError

LABELS = [0, 1, 2] * 8


def loader(preprocess_fn=None, collate_fn=None, num_workers=0, contents=None, seed=0, batch_size=9):
    contents = np.arange(24.0) if contents is None else contents
    dataset = Dataset(read((contents, LABELS[: len(contents)])), preprocess_fn)
    return Loader(dataset, make_sampler(dataset, batch_size), collate_fn, num_workers, seed)


def noisy(x):
    return np.array([x, random.random(), np.random.rand()])


def equal(left, right):
    return len(left) == len(right) and all(
        np.array_equal(a, b) and all(np.array_equal(c[name], d[name]) for name in c)
        for (a, c), (b, d) in zip(left, right, strict=True)
    )


def test_batches_have_inputs_and_codes_of_one_length():
    found = loader()
    batches = list(found.epoch(0))
    assert len(batches) == len(found)
    for inputs, codes in batches:
        assert inputs.shape == codes['item'].shape == (found.layout.rows,)
        assert inputs.dtype == np.float32
        assert inputs.tolist() == codes['item'].tolist()  # content i is i


@pytest.mark.parametrize('num_workers', [1, 2, 5])
def test_workers_give_the_same_batches_in_the_same_order(num_workers):
    assert equal(list(loader(noisy, num_workers=num_workers).epoch(3)), list(loader(noisy).epoch(3)))


def test_chance_in_preprocess_fn_is_a_function_of_seed_epoch_and_batch():
    alone = list(loader(noisy).epoch(1))
    random.random(), np.random.rand()
    assert equal(list(loader(noisy).epoch(1)), alone)
    assert equal(list(loader(noisy).epoch(1, start=2)), alone[2:])
    assert not equal(list(loader(noisy, seed=1).epoch(1)), alone)
    assert alone[0][0][0, 1] != alone[1][0][0, 1]


def views(number, num_workers=0, batch_size=8, seed=0, **how):
    """The views of 10 items in an epoch: by item, in the order of the batch that it is in first."""
    dataset = Dataset(read(list(np.arange(10.0)), supervision='instance'), **how)
    batches = Loader(dataset, make_sampler(dataset, batch_size, seed=seed), None, num_workers, seed).epoch(number)
    found = {}
    for inputs, codes in batches:
        for row, label in zip(inputs, codes['label'].ravel(), strict=True):
            found.setdefault(int(label), []).append(row.tolist())
    return found


HOW = [{'preprocess_fn': noisy}, {'augmentation': noisy}]


@pytest.mark.parametrize('how', HOW)
def test_the_views_of_an_item_differ_from_each_other_and_between_epochs(how):
    seen = [views(epoch, **how) for epoch in range(3)]
    for item in range(10):
        rows = [tuple(row) for found in seen for row in found[item][:2]]
        assert {row[0] for row in rows} == {item}
        assert len({row[1] for row in rows}) == len({row[2] for row in rows}) == 6


@pytest.mark.parametrize('how', HOW)
def test_a_view_is_a_function_of_seed_epoch_item_and_number(how):
    whole = views(1, **how)
    for other in (views(1, num_workers=2, **how), views(1, batch_size=4, **how), views(1, batch_size=20, **how)):
        for item in range(10):
            assert other[item][:2] == whole[item][:2]
    assert views(1, seed=1, **how)[3][0] != whole[3][0]


def test_labelled_items_that_come_twice_are_augmented_twice():
    dataset = Dataset(read((np.arange(4.0), [0, 0, 0, 1])), augmentation=noisy)
    inputs, _ = next(Loader(dataset, make_sampler(dataset, 4, num_items_per_class=2)).epoch(0))
    first, second = inputs[inputs[:, 0] == 3]  # the only one of its class
    assert first.tolist() != second.tolist()


def test_collate_fn_draws_for_the_batch_whatever_its_items_drew():
    def loads(preprocess_fn):
        dataset = Dataset(read([0.0, 1.0, 2.0, 3.0]), preprocess_fn)
        return Loader(dataset, make_sampler(dataset, 4), lambda contents: np.random.rand(len(contents)))

    plain, drawing = ([inputs for inputs, _ in loads(how).epoch(0)] for how in (float, lambda x: np.random.rand()))
    np.testing.assert_array_equal(plain, drawing)
    assert not np.array_equal(plain[0], plain[1])


def test_items_read_one_by_one_are_not_augmented():
    dataset = Dataset(read([('a', 'p'), ('a', 'q')], supervision='pair'), augmentation=str.upper)
    assert dataset.content(0) == 'A'
    loader = Loader(dataset, SequentialSampler(3, 3), collate_fn=list)
    assert [inputs for inputs, _ in loader.epoch(0)] == [['a', 'p', 'q']]


def test_chance_outside_is_left_alone():
    random.seed(5), np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5), np.random.seed(5)
    list(loader(noisy).epoch(0))
    assert (random.random(), np.random.rand()) == expected


def test_only_the_batch_at_hand_is_read():
    seen = []
    batches = loader(lambda x: seen.append(x) or x).epoch(0)
    inputs, _ = next(batches)
    assert seen == inputs.tolist()
    batches.close()


def test_a_filler_takes_the_content_of_the_first_and_is_nobody():
    dataset = Dataset(read((np.arange(5.0), [0, 1, 0, 1, 0])))
    batches = list(Loader(dataset, make_sampler(dataset, 3, pairs=False)).epoch(0))
    inputs, codes = batches[-1]
    assert codes['item'][-1] == -1
    assert inputs[-1] == inputs[0]


def test_rows_can_be_read_item_by_item():
    records = read([('a', 'p'), ('a', 'q'), ('b', 'p'), ('b', 'r')], supervision='pair')
    loader = Loader(Dataset(records), SequentialSampler(len(records), 3), collate_fn=list)
    assert [inputs for inputs, _ in loader.epoch(0)] == [['a', 'b', 'p'], ['q', 'r']]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_errors_name_the_item_also_from_a_worker(num_workers):
    def fail(x):
        if x == 7:
            raise KeyError('seven')
        return x

    with pytest.raises(DataError, match=r"preprocess_fn fails on item 7: KeyError: 'seven'"):
        list(loader(fail, num_workers=num_workers).epoch(0))


class Strange(Exception):
    def __init__(self, a, b):
        super().__init__(a)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_an_error_of_collate_fn_names_the_batch(num_workers):
    def fail(contents):
        raise Strange('too', 'strange')

    with pytest.raises(DataError, match=r'collate_fn fails on the batch of item \d+ to item \d+: Strange: too'):
        list(loader(collate_fn=fail, num_workers=num_workers).epoch(0))


def test_what_cannot_leave_a_worker_is_said():
    with pytest.raises(DataError, match=r'cannot leave a worker.*num_workers=0'):
        list(loader(collate_fn=lambda contents: lambda: contents, num_workers=1).epoch(0))


def test_a_worker_that_dies_is_no_hanging_training():
    def die(x):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DataError, match=r"Worker 1 of 2 died .*prepared batch 1 of epoch 1, with 'item"):
        list(loader(die, num_workers=2).epoch(0))


def test_workers_run_beside_each_other():
    def watched(x):
        start = time.monotonic()
        time.sleep(0.02)
        return np.array([start, time.monotonic()]) - begun

    begun = time.monotonic()
    batches = [inputs for inputs, _ in loader(watched, num_workers=2, batch_size=6).epoch(0)]
    overlaps = [later[:, 0].min() < earlier[:, 1].max() for earlier, later in itertools.pairwise(batches)]
    assert any(overlaps)
    alone = [inputs for inputs, _ in loader(watched, batch_size=6).epoch(0)]
    assert not any(later[:, 0].min() < earlier[:, 1].max() for earlier, later in itertools.pairwise(alone))


def children():
    tasks = Path('/proc/self/task').glob('*/children')
    return {child for task in tasks for child in task.read_text().split()}


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='processes are counted in /proc')
def test_workers_end_when_the_iterator_is_left():
    before = children()
    batches = loader(num_workers=3).epoch(0)
    next(batches)
    assert len(children() - before) == 3
    batches.close()
    assert children() == before


def once(contents, calls=[]):  # noqa: B006
    calls.append(1)
    time.sleep(60 if len(calls) > 1 else 0)
    return contents


def test_workers_that_are_busy_end_at_once_when_the_iterator_is_left():
    batches = loader(collate_fn=once, num_workers=2).epoch(0)
    next(batches)
    start = time.monotonic()
    batches.close()
    assert time.monotonic() - start < 1


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='processes are looked for in /proc')
def test_workers_that_are_busy_end_when_their_parent_is_killed():
    program = (
        'import time\n'
        'from tests.data.test_batch import children, loader, once\n'
        'batches = loader(collate_fn=once, num_workers=2).epoch(0)\n'
        'next(batches)\n'
        'print(*children(), flush=True)\n'
        'time.sleep(60)\n'
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        workers = parent.stdout.readline().split()
        parent.kill()
    assert len(workers) == 2
    end = time.monotonic() + 10
    while any(alive(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(worker) for worker in workers)


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.parametrize('num_workers', [-1, 1.5, True, None])
def test_an_impossible_number_of_workers_is_refused(num_workers):
    with pytest.raises(ArgumentError, match=r'num_workers='):
        loader(num_workers=num_workers)


def test_workers_without_fork(monkeypatch):
    monkeypatch.setattr('multiprocessing.get_all_start_methods', lambda: ['spawn'])
    assert equal(list(loader(noisy, num_workers=2).epoch(3)), list(loader(noisy).epoch(3)))
    with pytest.raises(ArgumentError, match=r'that can be pickled here.*num_workers=0'):
        list(loader(lambda x: x, num_workers=2).epoch(0))


def test_a_start_at_or_after_the_end_gives_nothing():
    found = loader()
    assert list(found.epoch(0, start=len(found))) == []
    assert list(loader(num_workers=2).epoch(0, start=len(found))) == []
