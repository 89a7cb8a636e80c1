"""How much memory a CPU has left for this process, and how much of it something takes; only Linux says so."""

import ctypes
import ctypes.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar('T')
ROOT = Path('/')
_CGROUPS = {
    'memory': ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),  # version 1
    '': ('memory.max', 'memory.current', 'inactive_file'),  # version 2
}


def left(root: Path = ROOT) -> int | None:
    """The bytes that this process may still take: what the machine has, its cgroups and RLIMIT_AS leave.

    Args:
        root: where `proc` and `sys` are.

    Returns:
        None where nobody knows.
    """
    machine = _numbers(root / 'proc/meminfo').get('MemAvailable')
    if machine is None:
        return None
    found = [machine * 1024, *_of_cgroups(root)]
    import resource  # which Windows does not have

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        found.append(limit - _numbers(root / 'proc/self/status').get('VmSize', 0) * 1024)
    return max(min(found), 0)


def measured(function: Callable[[], T]) -> tuple[T, int | None]:
    """What a function gives, and by how many bytes the process was larger at its highest than before; None if unknown.

    Memory that was freed is given back first, for what is taken from it would not be seen.
    """
    if trim := _trim():
        trim(0)
    try:
        (ROOT / 'proc/self/clear_refs').write_text('5')  # the highest so far is the present
        known = True
    except OSError:
        known = False
    if not known:
        return function(), None
    before = _numbers(ROOT / 'proc/self/status').get('VmRSS')
    given = function()
    highest = _numbers(ROOT / 'proc/self/status').get('VmHWM')
    return given, None if before is None or highest is None else max(highest - before, 0) * 1024


def _of_cgroups(root: Path) -> Iterator[int]:
    # The limits of the cgroups that the process is in, and of those above them. Files in the cache are no obstacle.
    try:
        lines = (root / 'proc/self/cgroup').read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(':', 2)
        kind = 'memory' if 'memory' in kinds.split(',') else kinds
        if kind not in _CGROUPS:
            continue
        most, taken, cached = _CGROUPS[kind]
        top = root / 'sys/fs/cgroup' / kind
        here = top / path.strip('/')  # in a container the path may be that on the host
        for folder in (here, *here.parents):
            limit, usage = (_number(folder / name) for name in (most, taken))
            if limit is not None and usage is not None:
                yield limit - usage + _numbers(folder / 'memory.stat').get(cached, 0)
            if folder == top:
                break


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # 'max'
        return None


def _numbers(path: Path) -> dict[str, int]:
    # Of lines such as `VmRSS:     123 kB`.
    try:
        rows = (line.replace(':', ' ').split() for line in path.read_text().splitlines())
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(ctypes.util.find_library('c')), 'malloc_trim', None)
