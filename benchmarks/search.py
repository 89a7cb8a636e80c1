"""Exact top-10 of 10,000 queries in 100,000 vectors of 384 numbers, against faiss; and of a million on disk.

Faiss's `IndexFlatIP` gives float32 distances in the order of float32; ours are compared in float64. So the same places
are expected but where distances differ by less than float32 can tell. Time is the least of several turns, on one
thread, ours with what it learns of the index and theirs with adding it.

    python -m benchmarks.search [QUERIES VECTORS]     both, without numbers
    python -m benchmarks.search million               what the second part runs in a process of its own
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.measure import peak_megabytes, save, tell, told

DIM, K, ROUNDS = 384, 10, 2
TARGETS = {'numpy': 2.0, 'torch': 1.3}  # times the wall time of faiss
MILLION, FEW = 1_000_000, 100


def unit(chance: np.random.Generator, count: int) -> np.ndarray:
    """(count, DIM) float32 vectors of length one."""
    x = chance.standard_normal((count, DIM), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def turns(functions: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """The least CPU and wall time of each, and its highest memory; they take turns."""
    found = {name: {'cpu_s': np.inf, 'wall_s': np.inf, 'peak_mb': 0.0} for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():

            def timed(function: Callable[[], Any] = function, mine: dict[str, float] = found[name]) -> None:
                cpu, wall = process_time(), perf_counter()
                function()
                mine['cpu_s'] = min(mine['cpu_s'], process_time() - cpu)
                mine['wall_s'] = min(mine['wall_s'], perf_counter() - wall)

            found[name]['peak_mb'] = max(found[name]['peak_mb'], peak_megabytes(timed))
    return {name: {key: round(value, 2) for key, value in each.items()} for name, each in found.items()}


def flat(count: int, size: int) -> dict[str, Any]:
    """All engines against faiss."""
    import faiss
    import torch

    from finetuner.evaluation import top_k

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    chance = np.random.default_rng(0)
    queries, index = unit(chance, count), unit(chance, size)
    places: dict[str, np.ndarray] = {}

    def theirs() -> None:
        searched = faiss.IndexFlatIP(DIM)
        searched.add(index)
        places['theirs'] = searched.search(queries, K)[1]

    def ours(engine: str) -> None:
        places[engine] = top_k(queries, index, K, 'dot', engine=engine)[0]

    engines = ('numpy', 'torch', 'faiss')
    found = turns({'theirs': theirs, **{engine: lambda engine=engine: ours(engine) for engine in engines}})
    for engine in engines:
        assert (places[engine] == places['numpy']).all(), f'{engine} finds other places than numpy'
    agreement = float((places['numpy'] == places['theirs']).mean())
    assert agreement > 0.9999, f'{agreement} of the places are those of faiss'
    ratios = {engine: round(found[engine]['wall_s'] / found['theirs']['wall_s'], 3) for engine in engines}
    return {
        'queries': count,
        'vectors': size,
        'dim': DIM,
        'k': K,
        'agreement': round(agreement, 6),
        'wall_ratio': ratios,
        'target': TARGETS,
        'cpu_ratio': {engine: round(found[engine]['cpu_s'] / found['theirs']['cpu_s'], 3) for engine in engines},
        'measured': found,
        'version': faiss.__version__,
    }


def million() -> None:
    """A search in a file of 1.5 GB; tells what it takes."""
    from finetuner.evaluation import top_k

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'index.npy'
        chance = np.random.default_rng(0)
        file = np.lib.format.open_memmap(path, 'w+', np.float32, (MILLION, DIM))
        for a in range(0, MILLION, 10_000):
            file[a : a + 10_000] = unit(chance, 10_000)
        file.flush()
        del file
        index = np.load(path, mmap_mode='r')
        asked = np.sort(chance.integers(0, MILLION, FEW))
        queries = np.array(index[asked])
        found: dict[str, np.ndarray] = {}

        def search() -> None:
            found['places'] = top_k(queries, index, K, engine='numpy')[0]

        # Pages of the file that are in memory can be dropped at any time; they are not the search's own.
        cpu, wall = process_time(), perf_counter()
        own = own_megabytes(search)
        result = {
            'vectors': MILLION,
            'queries': FEW,
            'k': K,
            'file_mb': round(path.stat().st_size / 2**20),
            'cpu_s': round(process_time() - cpu, 2),
            'wall_s': round(perf_counter() - wall, 2),
            'own_peak_mb': round(own),
        }
        assert (found['places'][:, 0] == asked).all(), 'a vector does not find itself'
        tell(result)


def own_megabytes(function: Callable[[], Any]) -> float:
    """How much more memory of its own, without that of files, the process holds at its highest; sampled."""
    from threading import Event, Thread

    def anonymous() -> int:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon'))

    highest, done = [before := anonymous()], Event()

    def watch() -> None:
        while not done.wait(0.01):
            highest.append(anonymous())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return (max(highest) - before) / 1024


def main(count: int = 10_000, size: int = 100_000) -> int:
    """Measure both; 1 if ours misses a target."""
    result = {'flat': flat(count, size)}
    print(result['flat'])
    result['million'] = told('search', 'million')
    print(result['million'])
    save('search', result)
    return int(any(result['flat']['wall_ratio'][engine] > most for engine, most in TARGETS.items()))


if __name__ == '__main__':
    sys.exit(million() if sys.argv[1:] == ['million'] else main(*map(int, sys.argv[1:])))
