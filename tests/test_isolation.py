"""The rules of `conftest.py`: which tests run where, and that what leaks is found."""

import re
from pathlib import Path

import pytest

from tests.requirements import data_folder, require

ROOT = Path(__file__).parent.parent
LEAKS = """
import os, subprocess, sys, threading, time

stop = threading.Event()

def test_environment():
    os.environ['LEFT_BEHIND'] = '1'

def test_after_it():
    assert 'LEFT_BEHIND' not in os.environ

def test_thread():
    threading.Thread(target=stop.wait, name='left-behind', daemon=True).start()

def test_process():
    global child
    stop.set()
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])

def test_clean(monkeypatch):
    child.kill()
    child.wait()
    monkeypatch.setenv('FOR_A_WHILE', '1')
    thread = threading.Thread(target=time.sleep, args=(0.1,))
    thread.start()
    subprocess.run([sys.executable, '-c', ''], check=True)
"""
CHOICES = """
import pytest

def test_plain(): ...
def test_engine(backend): assert backend
@pytest.mark.backends
def test_every(): ...
@pytest.mark.backends('torch', 'paddle')
def test_two(): ...
@pytest.mark.usefixtures('xp')
def test_words(): ...
"""


@pytest.fixture
def inner(pytester, monkeypatch):
    """A project with our conftest and one test file; gives a function that runs its tests."""
    pytester.makeconftest((ROOT / 'conftest.py').read_text())
    pytester.makeini('[pytest]\nmarkers = backends')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))

    def run(source, *options):
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess('-p', 'no:cacheprovider', *options)

    return run


def test_what_a_test_leaves_behind_is_an_error(inner):
    result = inner(LEAKS)
    result.assert_outcomes(passed=5, errors=3)
    result.stdout.re_match_lines_random(
        [
            r".*environment variables were left changed: \['LEFT_BEHIND'\].*",
            r".*threads were left running: \['left-behind'\].*",
            r'.*processes were left running: .*time\.sleep\(60\).*',
        ]
    )


@pytest.mark.parametrize(
    ('options', 'chosen'),
    [
        ([], {'plain'}),
        (['--backend', 'numpy'], {'every', 'words'}),
        (['--backend', 'torch'], {'engine', 'every', 'two', 'words'}),
        (['--backend', 'keras-jax'], {'engine', 'every', 'words'}),
    ],
    ids=['without', 'numpy', 'torch', 'keras-jax'],
)
def test_a_test_runs_where_it_belongs(inner, options, chosen):
    result = inner(CHOICES, '--collect-only', *options)
    assert set(re.findall(r'<Function test_(\w+)>', result.stdout.str())) == chosen


def test_the_engine_of_keras_is_set_before_a_test_is_imported(inner):
    source = "import os\nENGINE = os.environ['KERAS_BACKEND']\ndef test_it(backend):\n    assert ENGINE == 'torch'"
    inner(source, '--backend', 'keras-torch').assert_outcomes(passed=1)


def test_what_is_required_fails_where_it_would_skip(monkeypatch):
    monkeypatch.setenv('FINETUNER_REQUIRE', 'browser, data')
    require('data', 'there is none', present=True)
    with pytest.raises(pytest.fail.Exception, match="names 'data', but there is none"):
        require('data', 'there is none')
    with pytest.raises(pytest.skip.Exception, match='no such queue'):
        require('slurm', 'no such queue')


def test_real_data_lies_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv('FINETUNER_REQUIRE', raising=False)
    monkeypatch.setenv('FINETUNER_DATA', str(tmp_path))
    assert data_folder() == tmp_path
    for nowhere in ('', str(tmp_path / 'none')):
        monkeypatch.setenv('FINETUNER_DATA', nowhere)
        with pytest.raises(pytest.skip.Exception, match='FINETUNER_DATA'):
            data_folder()
