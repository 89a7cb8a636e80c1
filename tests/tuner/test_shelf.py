"""The folder of activations: bounded, whole, and nothing in it is lost that is in use."""

import os
from subprocess import run

import numpy as np
import pytest

from finetuner.errors import StorageError
from finetuner.tuner import shelf as shelves
from finetuner.tuner.shelf import Shelf


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    monkeypatch.setenv('FINETUNER_HOME', str(tmp_path))
    return Shelf()


def put(shelf, name, n=10, age=0):
    with shelf.writing(False) as writer:
        writer.append([np.full((n, 5), age, np.float32)])
        shelf.put(name, writer)
    os.utime(shelf.folder / name, (1e9 - age, 1e9 - age))


def test_the_oldest_that_is_not_in_use_goes_first(shelf, monkeypatch):
    for name, age in (('a-1', 3), ('a-2', 2), ('b-1', 1)):
        put(shelf, name, age=age)
    size = sum(path.stat().st_size for path in (shelf.folder / 'a-1').iterdir())
    monkeypatch.setattr(shelves, 'LIMIT', 3 * size)
    np.testing.assert_array_equal(shelf.take('a-1').batch([9]), [[[3] * 5]])
    shelf.make_room(0)
    assert shelf.alike('') and len(shelf.alike('a-')) == 2
    shelf.make_room(size)
    assert sorted(shelf.alike('')) == ['a-1', 'b-1']
    fresh = Shelf()  # for which a-1 is the one that was used last
    fresh.make_room(2 * size)
    assert fresh.alike('') == ['a-1']
    with pytest.raises(StorageError, match='MB beside the 0.0 MB that this training reads already'):
        shelf.make_room(3 * size)
    monkeypatch.setattr(shelves, 'LIMIT', 10**19)
    with pytest.raises(StorageError, match='MB are free'):
        shelf.make_room(10**18)


def test_what_is_damaged_or_missing_is_not_taken(shelf):
    put(shelf, 'a')
    (shelf.folder / 'a' / '0.bin').write_bytes(b'other')
    assert shelf.take('a') is None and shelf.take('b') is None


def test_what_dead_processes_left_is_cleared_away(shelf):
    dead = int(run(['sh', '-c', 'echo $$'], capture_output=True, text=True, check=True).stdout)
    for pid in (dead, os.getpid()):
        (shelf.folder / f'.{pid}.x').mkdir(parents=True)
    with pytest.raises(RuntimeError), shelf.writing(False) as writer:
        assert sorted(path.name for path in shelf.folder.iterdir()) == sorted([f'.{os.getpid()}.x', writer.folder.name])
        raise RuntimeError
    assert [path.name for path in shelf.folder.iterdir()] == [f'.{os.getpid()}.x']
