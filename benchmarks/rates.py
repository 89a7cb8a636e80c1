"""What `learning_rate='find'` is worth: vectors trained at the rate that was found, and at the usual one.

    python -m benchmarks.rates [--minilm]

The network of the demo and the wide one learn the digits 0 to 4 and are measured on 5 to 9; a perceptron learns 20
clusters in 40 dimensions that are bent and noisy, and is measured on other points of them. Two seeds each. With
--minilm, MiniLM learns 10 questions of each of the 77 intents of Banking77 and is measured on 10 others of each (one
seed, minutes; needs FINETUNER_DATA). Held-out data and the guard are left out. Writes results/rates.json.
"""

import argparse
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import save

SEEDS = (0, 1)
Data = tuple[Any, Any]


def clusters(seed: int = 3) -> tuple[Data, Data]:
    """Points to learn from, and others."""
    rng = np.random.default_rng(seed)
    bend, labels = rng.standard_normal((10, 40)) / 10**0.5, np.repeat(np.arange(20), 40)
    centres = rng.standard_normal((20, 10))
    inner = centres[labels] + 0.5 * rng.standard_normal((800, 10))
    turn = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    points = (np.tanh(inner @ bend * 2) @ turn + 0.5 * rng.standard_normal((800, 40))).astype(np.float32)
    return (points[::2], labels[::2]), (points[1::2], labels[1::2])


def perceptron(seed: int, gain: float = 1.0, norm: bool = False) -> Any:
    """Three layers, their weights `gain` times as large as usual; or two with BatchNorm and dropout."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    if norm:
        return nn.Sequential(nn.Linear(40, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 32))
    model = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 32))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(gain)
    return model


def tasks() -> dict[str, tuple[Callable[[int], Any], Data, Data, dict[str, Any]]]:
    """By name the model of a seed, what it learns, what it is measured on, and arguments of `fit`."""
    from benchmarks.models import wide_cnn
    from finetuner.data.samples import digits
    from finetuner.demo import network

    images, labels = digits()
    few = labels < 5
    of_digits = (images[few], labels[few]), (images[~few], labels[~few])
    of_clusters = clusters()
    sgd, pushed = {'optimizer': 'SGD'}, {'optimizer': 'SGD', 'optimizer_options': {'momentum': 0.9}}

    def demo(seed: int) -> Any:
        return network('torch', seed)

    return {
        'digits CNN, AdamW': (demo, *of_digits, {}),
        'digits CNN, SGD': (demo, *of_digits, sgd),
        'digits CNN, SGD with momentum 0.9': (demo, *of_digits, pushed),
        'digits CNN, AdamW, TripletMarginLoss': (demo, *of_digits, {'loss': 'TripletMarginLoss'}),
        'wide CNN, AdamW': (lambda seed: wide_cnn('torch'), *of_digits, {}),
        'perceptron, AdamW': (perceptron, *of_clusters, {}),
        'perceptron, SGD': (perceptron, *of_clusters, sgd),
        'perceptron with BatchNorm, AdamW': (lambda seed: perceptron(seed, norm=True), *of_clusters, {}),
        'perceptron, weights five times as large, AdamW': (lambda seed: perceptron(seed, 5.0), *of_clusters, {}),
        'perceptron, weights five times as large, SGD': (lambda seed: perceptron(seed, 5.0), *of_clusters, sgd),
    }


def minilm() -> tuple[Callable[[int], Any], Data, Data, dict[str, Any]]:
    """The same of MiniLM."""
    from benchmarks.models import minilm as load
    from finetuner.data.samples import banking77

    def some(split: str) -> Any:
        found: dict[str, list[Any]] = {}
        for row in banking77(split):
            found.setdefault(row[1], []).append(row)
        return [row for rows in found.values() for row in rows[:10]]

    return lambda seed: load()[0], some('train'), some('test'), {'collate_fn': load()[1]}


def trained(task: tuple[Any, ...], seed: int, rate: float | str | None) -> dict[str, float]:
    """The rate that was trained at, and MAP@R."""
    import finetuner

    make, train, test, arguments = task
    model, history = finetuner.fit(
        make(seed), train, seed=seed, learning_rate=rate, guard=False, val_split=0, return_history=True, **arguments
    )
    how = {name: value for name, value in arguments.items() if name == 'collate_fn'}
    measured = finetuner.evaluate(model, test, metrics=['map_at_r'], limit=1, **how)['map_at_r']
    return {'rate': history.found.get('learning_rate', 0.0), 'usual': history.found.get('usual', 0.0), 'map': measured}


def main() -> None:
    """All tasks, then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--minilm', action='store_true')
    arguments = parser.parse_args()
    logging.getLogger('finetuner').setLevel('WARNING')
    from rich.console import Console
    from rich.table import Table

    table, results = Table(title='MAP@R at the usual rate and at the one that was found'), {}
    for column in ('task', 'usual rate', 'found', 'MAP@R at the usual rate', 'at the one found'):
        table.add_column(column)
    chosen = {'MiniLM': minilm()} if arguments.minilm else tasks()
    for name, task in chosen.items():
        seeds = SEEDS[: 1 if arguments.minilm else None]
        usual, found = ([trained(task, seed, rate) for seed in seeds] for rate in (None, 'find'))
        results[name] = {'usual': usual, 'found': found}
        means = [f'{np.mean([one["map"] for one in runs]):.3f}' for runs in (usual, found)]
        rates = ', '.join(f'{one["rate"]:g}' for one in found)
        table.add_row(name, f'{found[0]["usual"]:g}', rates, *means)
    save('rates_minilm' if arguments.minilm else 'rates', results)
    Console().print(table)


if __name__ == '__main__':
    main()
