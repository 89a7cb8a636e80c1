"""Quality on images that no default was tuned on: Omniglot and MNIST against pytorch-metric-learning, and photos.

    python -m benchmarks.quality_images [CASE …]

Drawings: the same small CNN from the same first weights learns some classes and is searched with others. On PyTorch
`finetuner.fit(model, data)` and two examples of pytorch-metric-learning take turns, seed by seed, in one process on one
thread; the peer has as much CPU time as `fit` took, all that `fit` does included, and is measured a second time after
as many items as `fit` saw. The other frameworks are compared with it after as many items. Photos: before and after, and
the picture of the docs. Needs FINETUNER_DATA.

Every case is a process. What each query found is kept in build/quality_images, so that single cases can be run anew.
Writes results/quality_images.json.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import drawings, photos
from benchmarks.intervals import interval, word
from benchmarks.loop import ENGINES, ONE_THREAD, rounded
from benchmarks.measure import save

ROOT = Path(__file__).parent.parent
KEPT = ROOT / 'build' / 'quality_images'
PICTURE = ROOT / 'docs' / 'images' / 'clothing.png'
SEEDS = {'torch': 3}
"""Of the other engines two: they start from the same weights and come to nearly the same."""
CASES = [f'{task} {engine}' for engine in ENGINES for task in drawings.TASKS]
CASES += [f'clothing-{case}' for case in photos.CASES]
PEERS = ('MNIST', 'MetricLossOnly')


def child(name: str) -> None:
    """Run a case and keep what each query found."""
    task, engine = name.split()
    if task in drawings.TASKS:
        found = drawings.compared(task, engine, SEEDS.get(engine, 2))
    else:
        task = task.removeprefix('clothing-')
        shown = PICTURE if (task, engine) == photos.SHOWN_OF else None
        found = photos.tuned(task, engine, SEEDS['torch'], shown)
    KEPT.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(KEPT / f'{name}.npz', **found)


def run(name: str) -> None:
    """The same in a process of its own."""
    environment = {**os.environ, **ONE_THREAD}
    engine = name.split()[1]
    if engine.startswith('keras-'):
        environment['KERAS_BACKEND'] = engine.removeprefix('keras-')
    command = [sys.executable, '-m', 'benchmarks.quality_images', '--child', name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'{name}:\n{done.stdout}\n{done.stderr}')


def summed(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means, intervals and times of what a case kept."""
    sides = {}
    for name, values in found.items():
        if values.ndim == 3:
            of_seeds = {metric: values[:, i].mean(1).tolist() for i, metric in enumerate(drawings.METRICS)}
            ends = {metric: interval(values[:, i]) for i, metric in enumerate(drawings.METRICS)}
            sides[name] = {'of_seeds': of_seeds, 'interval': ends}
            sides[name] |= {
                part: found[f'{name} {part}'].tolist() for part in ('seconds', 'items') if f'{name} {part}' in found
            }
    return sides


def against(ours: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """MAP@R of ours less that of another, on the same queries and seeds."""
    seeds = min(len(ours), len(other))
    difference = ours[:seeds, 0] - other[:seeds, 0]
    of_seeds = difference.mean(1)
    facts = {'mean': float(of_seeds.mean()), 'of_seeds': of_seeds.tolist(), 'interval': interval(difference)}
    return facts | {'word': word(difference)}


def results() -> dict[str, Any]:
    """What is known of all cases that were run."""
    kept = {name: dict(np.load(KEPT / f'{name}.npz')) for name in CASES if (KEPT / f'{name}.npz').exists()}
    made: dict[str, Any] = {}
    for name, found in kept.items():
        task, engine = name.split()
        made[name] = {'sides': summed(found), 'against': {'before': against(found['after'], found['before'])}}
        torch = kept.get(f'{task} torch', {})
        parts = ('time', 'items') if engine == 'torch' else ('items',)
        for peer in (f'{peer}, {part}' for peer in PEERS for part in parts):
            if peer in torch:
                compared = made[name]['against'][peer] = against(found['after'], torch[peer])
                seeds = len(found['after seconds'])
                compared['times_as_long'] = float((found['after seconds'] / torch[f'{peer} seconds'][:seeds]).mean())
    return made


def tables(made: dict[str, Any]) -> list[Table]:
    """Before and after of all, and ours against the peer."""
    first = Table(title='finetuner.fit(model, data): mean, 95 % interval and seeds')
    for column in ('case', 'MAP@R before', 'after', 'interval', 'seeds', 'P@1 before', 'after', 'CPU s'):
        first.add_column(column)
    second = Table(title='MAP@R of ours less that of pytorch-metric-learning')
    for column in (
        'case',
        'its example',
        'after equal',
        'ours',
        'theirs',
        'difference',
        'interval',
        '',
        'times as long',
    ):
        second.add_column(column)
    for name, facts in made.items():
        before, after = facts['sides']['before'], facts['sides']['after']
        means = {metric: [np.mean(side['of_seeds'][metric]) for side in (before, after)] for metric in drawings.METRICS}
        cells = [f'{value:.3f}' for value in means['map_at_r']]
        cells += [_ends(after['interval']['map_at_r']), ' '.join(f'{x:.3f}' for x in after['of_seeds']['map_at_r'])]
        cells += [f'{value:.3f}' for value in means['precision_at_k']]
        first.add_row(name, *cells, f'{np.mean(after["seconds"]):.0f}')
        for peer, found in facts['against'].items():
            if peer != 'before':
                recipe, part = peer.split(', ')
                seeds = len(found['of_seeds'])
                ours = np.mean(after['of_seeds']['map_at_r'][:seeds])
                cells = [
                    f'{ours:.3f}',
                    f'{ours - found["mean"]:.3f}',
                    f'{found["mean"]:+.3f}',
                    _ends(found['interval']),
                ]
                second.add_row(name, recipe, part, *cells, found['word'], f'{found["times_as_long"]:.2f}')
    return [first, second]


def _ends(ends: Any) -> str:
    return f'{ends[0]:.3f} to {ends[1]:.3f}'


def main(names: list[str]) -> None:
    """The cases that are named, or all; then the tables of all that are known."""
    for name in CASES:
        if not names or name in names or set(names) & set(name.split()):
            print(name, flush=True)
            run(name)
    made = results()
    save('quality_images', rounded({'seeds': SEEDS | {'others': 2}, 'cases': made}))
    console = Console(width=150)
    for table in tables(made):
        console.print(table)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(sys.argv[2])
    else:
        main(sys.argv[1:])
