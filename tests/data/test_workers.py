import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

from finetuner.data.workers import ordered
from finetuner.errors import DataError


def double(x):
    return 2 * x


@pytest.mark.parametrize('num_workers', [0, 1, 3, 9])
def test_results_come_in_the_order_of_the_jobs(num_workers):
    jobs = [(n,) for n in range(20)]
    assert list(ordered(double, iter(jobs), num_workers)) == [(job, 2 * job[0]) for job in jobs]


def test_no_worker_gets_more_than_two_ahead():
    taken = []
    results = ordered(double, ((taken.append(n) or n,) for n in range(20)), 2)
    next(results)
    assert taken == [0, 1, 2, 3]
    next(results)
    assert taken == [0, 1, 2, 3, 4]
    results.close()


@pytest.mark.timeout(60)
def test_large_jobs_and_large_results_do_not_wait_for_each_other():
    jobs = [(np.full(10**6, n),) for n in range(8)]
    results = [result[0] for _, result in ordered(double, jobs, 2)]
    assert results == [2 * n for n in range(8)]


class Awkward(Exception):
    def __init__(self, a, b):
        super().__init__(f'{a} {b}')


def test_exceptions_come_back_as_they_are_or_as_what_they_said():
    def fail(error):
        raise error

    with pytest.raises(KeyError, match=r'gone'):
        list(ordered(fail, [(KeyError('gone'),)], 1))

    def awkward():
        raise Awkward('cannot be', 'read again')

    with pytest.raises(DataError, match=r'Awkward: cannot be read again'):
        list(ordered(awkward, [()], 1))


def test_nothing_is_left_running_after_an_error():
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        list(ordered(fail, [()] * 9, 3))
    assert multiprocessing.active_children() == []


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_is_named_with_what_it_did():
    def die(n):
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    results = ordered(die, [(n,) for n in range(9)], 2, lambda n: f'job {n}')
    with pytest.raises(
        DataError, match=r'Worker 2 of 2 died \(exit code -9, Killed\) while it prepared job 3\. Perhaps'
    ):
        list(results)
    assert multiprocessing.active_children() == []


@pytest.mark.timeout(60)
def test_a_worker_that_is_killed_within_a_result_is_named():
    def die(n):
        if n == 0:
            time.sleep(1)  # nobody takes the other result until then
            return n
        threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGKILL))).start()
        return np.zeros(10**7)  # more than a pipe holds

    with pytest.raises(DataError, match=r'Worker 2 of 2 died \(exit code -9, Killed\)'):
        list(ordered(die, [(0,), (1,)], 2))


def test_an_error_of_the_system_in_a_function_is_no_death():
    def fail():
        raise FileNotFoundError('no such picture')

    with pytest.raises(FileNotFoundError, match='no such picture'):
        list(ordered(fail, [()], 1))
