"""CPU time and peak memory of functions that take turns in one process."""

import ctypes
import ctypes.util
import gc
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Any

RESULTS = Path(__file__).parent / 'results'
MARK = 'RESULT '


def cpu_seconds(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least CPU time of each function; they take turns, so that what else the machine does falls on all."""
    least = dict.fromkeys(functions, float('inf'))
    for _ in range(rounds):
        for name, function in functions.items():
            start = process_time()
            function()
            least[name] = min(least[name], process_time() - start)
    return least


def peak_megabytes(function: Callable[[], Any]) -> float:
    """How much more memory the process holds at its highest while `function` runs than before; Linux only."""
    gc.collect()
    _return_free_memory()
    Path('/proc/self/clear_refs').write_text('5')  # the highest so far is the present
    before = _kilobytes('VmRSS')
    function()
    return (_kilobytes('VmHWM') - before) / 1024


def weights_megabytes() -> float:
    """All weights of models, trained or not, that Python still knows, of the first of Keras, PyTorch and Paddle."""
    gc.collect()
    found: dict[str, list[Any]] = {}
    for x in gc.get_objects():
        for kind in type(x).__mro__[:-1]:
            if kind.__name__ in ('Parameter', 'EagerParamBase', 'Variable') and hasattr(x, 'shape'):
                found.setdefault(kind.__module__.partition('.')[0], []).append(x)
                break
    # Keras on PyTorch has a parameter in every variable.
    weights = next(found[library] for library in ('keras', 'torch', 'paddle') if library in found)
    return sum(math.prod(x.shape) for x in weights) * 4 / 2**20


def save(name: str, results: Mapping[str, Any]) -> Path:
    """Write results beside those of the other benchmarks."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f'{name}.json'
    path.write_text(json.dumps(results, indent=2) + '\n')
    return path


def tell(result: Any) -> None:
    """Give a result to the process that called `told`."""
    print(MARK + json.dumps(result))


def told(module: str, *arguments: Any, **variables: str) -> Any:
    """What a module of ours tells, run in a process of its own.

    Args:
        module: its name in this package.
        *arguments: of its command line.
        **variables: of the environment, beside those of this process.
    """
    command = [sys.executable, '-m', f'benchmarks.{module}', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    if done.returncode:
        sys.exit(done.stderr)
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    return json.loads(line.removeprefix(MARK))


def _kilobytes(field: str) -> int:
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def _return_free_memory() -> None:
    # What glibc keeps of memory that was freed would hide as much of what is allocated next.
    library = ctypes.CDLL(ctypes.util.find_library('c'))
    if hasattr(library, 'malloc_trim'):
        library.malloc_trim(0)
