"""What SIGTERM does within `terminable` and within `deferred`."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from finetuner.tuner.interruption import Terminated, deferred, terminable
from tests.fresh import ROOT

DIES = """
import os, signal, sys
from finetuner.tuner.interruption import Terminated, terminable

with terminable():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        print('not reached')
    except Terminated:
        os.kill(os.getpid(), signal.SIGTERM)
        print('saved', end='')
print('not reached')
"""


def test_the_process_ends_with_the_signal_and_what_it_said_is_there():
    died = subprocess.run([sys.executable, '-c', DIES], cwd=ROOT, capture_output=True, text=True)
    assert (died.returncode, died.stdout) == (-signal.SIGTERM, 'saved')


@pytest.fixture
def own():
    """A handler of the program's own, and the signals that it was told of."""
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_a_handler_of_the_program_stays(own):
    handler = signal.getsignal(signal.SIGTERM)
    with terminable():
        assert signal.getsignal(signal.SIGTERM) is handler
        with deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert own == []
        assert own == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_in_another_thread_nothing_changes():
    def work():
        with terminable(), deferred():
            found.append(signal.getsignal(signal.SIGTERM))

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_while_it_is_saved_the_training_is_not_interrupted(monkeypatch):
    raised = []
    monkeypatch.setattr(signal, 'raise_signal', raised.append)  # the process of the tests must live
    with terminable() as termination:
        termination.saving = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert termination.received
    assert raised == [signal.SIGTERM]
    with pytest.raises(Terminated), terminable(), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
