"""The memory that is left on a CPU, and what something takes of it."""

import resource

import numpy as np
import pytest

from finetuner.tuner import room

GB = 2**30


def machine(root, cgroups, files):
    """A machine with 8 GB free, and the cgroups that it has."""
    (root / 'proc/self').mkdir(parents=True)
    (root / 'proc/meminfo').write_text(f'MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n')
    (root / 'proc/self/cgroup').write_text(cgroups)
    for name, value in files.items():
        path = root / 'sys/fs/cgroup' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    return root


@pytest.mark.parametrize(
    ('cgroups', 'files', 'left'),
    [
        ('0::/\n', {'memory.max': 'max', 'memory.current': '5'}, 8 * GB),
        # Files that are cached could go.
        (
            '0::/a/b\n',
            {
                'a/memory.max': str(4 * GB),
                'a/memory.current': str(3 * GB),
                'a/memory.stat': f'anon 7\ninactive_file {GB}\n',
                'a/b/memory.max': 'max',
                'a/b/memory.current': '0',
            },
            2 * GB,
        ),
        # The path is that on the host, and the folder that of the container.
        (
            '5:cpu,cpuacct:/x\n4:memory:/docker/123\n',
            {
                'memory/memory.limit_in_bytes': str(3 * GB),
                'memory/memory.usage_in_bytes': str(2 * GB),
                'memory/memory.stat': f'inactive_file 1\ntotal_inactive_file {GB // 2}\n',
            },
            3 * GB // 2,
        ),
        ('0::/\n', {'memory.max': str(GB), 'memory.current': str(2 * GB)}, 0),
    ],
)
def test_the_least_of_what_the_machine_and_its_cgroups_leave(tmp_path, cgroups, files, left):
    assert room.left(machine(tmp_path, cgroups, files)) == left


def test_where_nobody_knows(tmp_path, monkeypatch):
    assert room.left(tmp_path) is None
    monkeypatch.setattr(room, 'ROOT', tmp_path)
    assert room.measured(lambda: 3) == (3, None)


def test_a_limit_of_the_process_counts(tmp_path):
    root = machine(tmp_path, '', {})
    (root / 'proc/self/status').write_text(f'VmSize:\t {2**20} kB\n')
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (100 * GB, before[1]))
    try:
        assert room.left(root) == 8 * GB
        (root / 'proc/self/status').write_text(f'VmSize:\t {97 * 2**20} kB\n')
        assert room.left(root) == 3 * GB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_what_something_takes_at_its_highest():
    given, taken = room.measured(lambda: np.ones(2**23).sum())
    if taken is None:
        pytest.skip('this system does not say how much a process took')
    assert given == 2**23
    assert 60 * 2**20 < taken < 200 * 2**20
    assert room.measured(lambda: None)[1] < 30 * 2**20
