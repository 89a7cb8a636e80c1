"""Which tests run where, and what no test may leave behind.

Tests of what a framework does take the fixture `backend` (the name of an engine, for models) or `xp` (its namespace,
for formulas), or bear the mark `backends`. They run under `pytest --backend NAME` and nowhere else, because frameworks
disturb each other in one process; all other tests run without `--backend`.
"""

import logging
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

ENGINES = ('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
BACKENDS = ('numpy', *ENGINES)
pytest_plugins = ['pytester']  # for the tests of what stands here
# Doctests are collected everywhere but where collecting imports a framework or runs something.
collect_ignore_glob = ['finetuner/backends/*', 'finetuner/__main__.py']

# Variables and threads that libraries, not tests, leave in the process that first imports them.
FOREIGN_VARIABLES = (
    'PYTEST_',
    'CUSTOM_DEVICE_ROOT',  # paddle
    'ENABLE_RUNTIME_UPTIME',  # jax
    'HDF5_',  # h5py
    'KMP_',  # torch, tensorflow
    'PYTORCH_',  # lightning
    'TF2_',  # tensorflow
    'TF_FORCE_GPU',  # tensorflow
    'TORCHINDUCTOR_',  # torch
    '_TORCHINDUCTOR_',  # torch
    'TPU_',  # jax
)
FOREIGN_THREADS = ('TMonitor', 'tqdm_monitor', 'pytest_timeout')


def pytest_addoption(parser):
    parser.addoption('--backend', choices=BACKENDS, help='run the tests of this backend, and only these')


def pytest_configure(config):
    backend = config.getoption('--backend') or ''
    os.environ['FINETUNER_HOME'] = tempfile.mkdtemp(prefix='finetuner-')  # trainings that are interrupted are saved
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    if backend.startswith('keras-'):  # before anything imports Keras
        os.environ['KERAS_BACKEND'] = backend.removeprefix('keras-')


def pytest_unconfigure(config):
    shutil.rmtree(os.environ.pop('FINETUNER_HOME', ''), ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    backend = config.getoption('--backend')
    chosen = [item for item in items if _belongs(item, backend)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


def _belongs(item, backend):
    fixtures = getattr(item, 'fixturenames', ())
    mark = item.get_closest_marker('backends')
    if backend is None:
        return mark is None and 'backend' not in fixtures and 'xp' not in fixtures
    if mark is not None and mark.args:
        return backend in mark.args
    if 'backend' in fixtures:  # numpy has formulas, and no models
        return backend in ENGINES
    return mark is not None or 'xp' in fixtures


@pytest.fixture(scope='session')
def backend(request):
    """The name of the engine that models are made with, of `ENGINES`."""
    return request.config.getoption('--backend')


@pytest.fixture(scope='session')
def xp(request):
    """The namespace of the backend under test."""
    from finetuner.dispatch import load

    return load(request.config.getoption('--backend').partition('-')[0], 'ops')


@pytest.fixture
def real_data(record_property):
    """The folder of the real data sets; the tests that take it are counted."""
    from tests.requirements import data_folder

    folder = data_folder()
    record_property('real_data', folder.name)
    return folder


@pytest.fixture
def log(caplog):
    """What Finetuner logs; its logger does not hand on to the root's, which caplog listens to."""
    logger = logging.getLogger('finetuner')
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(autouse=True)
def no_leaked_environment():
    """A test leaves the environment variables as it found them."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    leaked = sorted(name for name in changed if not name.startswith(FOREIGN_VARIABLES))
    for name in leaked:
        os.environ.pop(name, None)
        os.environ.update({name: before[name]} if name in before else {})
    assert not leaked, f'environment variables were left changed: {leaked}'


@pytest.fixture(autouse=True)
def no_leaked_threads():
    """A test joins the threads that it starts."""
    before = set(threading.enumerate())
    yield
    leaked = _wait_until_empty(lambda: [thread for thread in threading.enumerate() if thread not in before])
    names = [thread.name for thread in leaked if not thread.name.startswith(FOREIGN_THREADS)]
    assert not names, f'threads were left running: {names}'


@pytest.fixture(autouse=True)
def no_leaked_processes():
    """A test ends the processes that it starts."""
    before = _children()
    yield
    leaked = _wait_until_empty(lambda: [child for child in _children() if child not in before])
    commands = [_command(child) for child in leaked if 'resource_tracker' not in _command(child)]
    assert not commands, f'processes were left running: {commands}'


def _wait_until_empty(ask, seconds=3.0):
    # Ending takes a moment; what has ended by then was no leak.
    end = time.monotonic() + seconds
    found = ask()
    while found and time.monotonic() < end:
        time.sleep(0.02)
        found = ask()
    return found


def _children():
    # Of every thread, because a child belongs to the thread that made it; empty where there is no /proc.
    found = set()
    for path in Path('/proc/self/task').glob('*/children'):
        try:
            found.update(path.read_text().split())
        except OSError:  # the thread has ended since
            continue
    return found


def _command(pid):
    try:
        return Path(f'/proc/{pid}/cmdline').read_text().replace('\0', ' ') or f'ended, but not waited for: {pid}'
    except OSError:
        return f'ended: {pid}'
