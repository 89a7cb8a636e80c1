"""Which defaults would have been chosen without a data set, and what they would have given on it.

    python -m benchmarks.left_out [--seeds 2]

Temperature, epochs and learning rate of a small network, and whether a tenth is held out, are changed one at a time, on
digits, Omniglot and MNIST, always searched with classes that were not trained on. For each data set the setting is
chosen that does best on the others: by the mean of its MAP@R as a part of what the defaults give there. MNIST is cut
down to 1,500 drawings on each side. Needs FINETUNER_DATA. Writes results/left_out.json.
"""

import argparse
import os
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import drawings, models
from benchmarks.loop import rounded
from benchmarks.measure import save
from finetuner.api import evaluate, fit
from finetuner.console import logger
from finetuner.data.samples import digits
from finetuner.demo import network

SETTINGS: dict[str, dict[str, Any]] = {
    'defaults': {},
    'nothing held out': {'val_split': 0},
    'temperature 0.05': {'loss': 'InfoNCELoss', 'loss_options': {'temperature': 0.05}},
    'temperature 0.1': {'loss': 'InfoNCELoss', 'loss_options': {'temperature': 0.1}},
    '5 epochs': {'epochs': 5},
    'rate 3e-3': {'learning_rate': 3e-3},
}
TASKS = {'digits': 'digits', 'omniglot-2': 'Omniglot', 'omniglot-3': 'Omniglot', 'mnist': 'MNIST'}
"""By name the data set that it is of, which is left out as a whole."""
FEW = 1_500


def data(task: str) -> tuple[drawings.Data, drawings.Data]:
    """What is trained on and what is searched."""
    if task == 'digits':
        images, labels = digits()
        return (images[labels < 6], labels[labels < 6]), (images[labels >= 6], labels[labels >= 6])
    trained, judged = drawings.data(task)
    if task == 'mnist':
        return tuple(part[:FEW] for part in trained), tuple(part[:FEW] for part in judged)
    return trained, judged


def measured(task: str, options: dict[str, Any], seed: int) -> float:
    """MAP@R after a training with these settings."""
    trained, judged = data(task)
    model = network('torch', seed) if task == 'digits' else models.drawings_cnn('torch', seed)
    fit(model, trained, seed=seed, **options)
    return evaluate(model, judged, metrics=['map_at_r'], show_progress=False)['map_at_r']


def left_out(found: dict[str, dict[str, float]]) -> dict[str, str]:
    """For each data set the setting that is best on the others.

    Args:
        found: by setting and task.
    """
    chosen = {}
    for name in dict.fromkeys(TASKS.values()):
        others = [task for task, of in TASKS.items() if of != name]
        scores = {
            setting: np.mean([row[task] / found['defaults'][task] for task in others]) for setting, row in found.items()
        }
        chosen[name] = max(scores, key=lambda setting: float(scores[setting]))
    return chosen


def main() -> None:
    """All settings on all tasks, then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=2)
    seeds = parser.parse_args().seeds
    logger.setLevel('ERROR')
    runs: dict[str, dict[str, list[float]]] = {}
    for setting, options in SETTINGS.items():
        runs[setting] = {task: [measured(task, options, seed) for seed in range(seeds)] for task in TASKS}
    found = {setting: {task: float(np.mean(of)) for task, of in row.items()} for setting, row in runs.items()}
    chosen = left_out(found)
    table = Table(title=f'MAP@R of unseen classes, mean of {seeds} seeds')
    for column in ('', *TASKS):
        table.add_column(column)
    for setting, row in found.items():
        table.add_row(setting, *(f'{value:.3f}' for value in row.values()))
    table.add_row('chosen without it', *(chosen[name] for name in TASKS.values()))
    table.add_row('and what that gives', *(f'{found[chosen[name]][task]:.3f}' for task, name in TASKS.items()))
    save('left_out', rounded({'seeds': seeds, 'runs': runs, 'chosen_without': chosen}))
    Console(width=140).print(table)


if __name__ == '__main__':
    main()
