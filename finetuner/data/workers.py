"""Processes that prepare batches ahead of the training, in order.

Batch b is made by worker b modulo their number, over a pipe of its own, so that no queue can mix them up and none
gets more than two ahead. A worker ends with its pipe, with the iterator, or with its parent, whichever ends first.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from itertools import count, islice
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from finetuner.errors import ArgumentError, DataError

Job = tuple[Any, ...]

_AHEAD = 2
_WATCH = 0.5  # seconds between two looks at whether the parent lives


def ordered(
    function: Callable[..., Any],
    jobs: Iterable[Job],
    num_workers: int,
    called: Callable[..., str] = lambda *job: 'a batch',
    setting: str = 'num_workers',
) -> Generator[tuple[Job, Any], None, None]:
    """`function(*job)` for every job, in order.

    Args:
        function: what is done; its exceptions come back as they are.
        jobs: the arguments, one tuple a call; taken when there is room for them.
        num_workers: processes; 0 does it here.
        called: what an error calls `called(*job)`.
        setting: the name under which people choose their number, for errors.

    Yields:
        The job and its result.

    Raises:
        DataError: a worker died, or a result cannot leave its process.
    """
    if not num_workers:
        for job in jobs:
            yield job, function(*job)
        return
    coming = iter(jobs)
    pipes: list[Connection] = []
    processes: list[Any] = []
    try:
        for _ in range(num_workers):
            _start(function, pipes, processes)
        sent: deque[Job] = deque()
        for place in count():
            for job in islice(coming, num_workers * _AHEAD - len(sent)):
                _send(pipes[(place + len(sent)) % num_workers], job)
                sent.append(job)
            if not sent:
                return
            number = place % num_workers
            try:
                packed = pipes[number].recv_bytes()
            except (EOFError, OSError):  # between two results, or within one
                raise _died(processes[number], number + 1, num_workers, called(*sent[0]), setting) from None
            done, result = pickle.loads(packed)  # a child of this process wrote it
            if not done:
                raise result
            yield sent.popleft(), result
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(2)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def _start(function: Callable[..., Any], pipes: list[Connection], processes: list[Any]) -> None:
    # 'fork' lets people pass lambdas and open files, and costs milliseconds; where there is none, all must be pickled.
    context: Any = multiprocessing.get_context('fork' if 'fork' in multiprocessing.get_all_start_methods() else 'spawn')
    ours, theirs = context.Pipe()
    forked = context.get_start_method() == 'fork'
    inherited = [*pipes, ours] if forked else []
    process = context.Process(target=_work, args=(function, theirs, inherited, os.getpid()), daemon=True)
    try:
        with warnings.catch_warnings():  # Python 3.12 and jax warn of threads; workers use neither's locks
            warnings.filterwarnings('ignore', message='.*fork', category=DeprecationWarning)
            warnings.filterwarnings('ignore', message='.*fork', category=RuntimeWarning)
            process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        ours.close()
        raise ArgumentError(
            f'num_workers needs data, preprocess_fn and collate_fn that can be pickled here: {error}. '
            f'Define functions at the top of a module, or use num_workers=0.'
        ) from error
    finally:
        theirs.close()
    pipes.append(ours)
    processes.append(process)


def _send(pipe: Connection, job: Job) -> None:
    try:
        pipe.send(job)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it died: the next _receive says so


def _died(process: Any, number: int, num_workers: int, what: str, setting: str) -> DataError:
    process.join(2)
    code = process.exitcode
    killed = code is not None and code < 0
    return DataError(
        f'Worker {number} of {num_workers} died (exit code {code}{f", {signal.strsignal(-code)}" if killed else ""}) '
        f'while it prepared {what}. {"Perhaps there was no memory left: try fewer {setting}. " if killed else ""}'
        f'Without {setting} it is seen where it happens.'
    )


def _work(function: Callable[..., Any], pipe: Connection, inherited: list[Connection], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:  # else a pipe would stay open when its owner is gone
        other.close()
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    torch = sys.modules.get('torch')
    if torch is not None:
        torch.set_num_threads(1)  # the threads of its pool were not forked; waiting for them would be for ever
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    threading.Thread(target=_take, args=(pipe, jobs), daemon=True).start()
    while (job := jobs.get()) is not None:
        try:
            answer = _packed(True, function(*job))
        except Exception as error:
            answer = _packed(False, error)
        try:
            pipe.send_bytes(answer)
        except OSError:
            return


def _take(pipe: Connection, jobs: 'SimpleQueue[Job | None]') -> None:
    # In a thread: while the parent sends a job it takes no result, and neither side must wait for the other.
    try:
        while True:
            jobs.put(pipe.recv())
    except (EOFError, OSError):
        jobs.put(None)


def _packed(done: bool, result: Any) -> bytes:
    try:
        packed = pickle.dumps((done, result), pickle.HIGHEST_PROTOCOL)
        if not done:
            pickle.loads(packed)  # some exceptions can be written and not read
        return packed
    except Exception as error:
        if done:
            told = f'collate_fn gives what cannot leave a worker: {error}. Return numpy arrays, or use num_workers=0.'
        else:
            told = f'{type(result).__name__}: {result}'
        return pickle.dumps((False, DataError(told)))


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)
