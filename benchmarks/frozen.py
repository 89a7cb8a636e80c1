"""A head on a frozen model: its activations computed once, against computed in every epoch.

Both are `fit` with the same arguments but `cache_activations`, ten epochs, measured before and after every epoch on
what is held out, as always. Each part runs in a process of its own, in turn, on one thread; times are CPU seconds of
`fit` as a whole, with the one run of what is frozen, the least of several turns. Nothing was computed before.

    python -m benchmarks.frozen [--turns 2] [minilm | cnn]      # ten minutes; minilm needs FINETUNER_DATA
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.gradcache import load_everything
from benchmarks.measure import RESULTS, peak_megabytes, save
from finetuner.api import evaluate, fit
from finetuner.data.samples import banking77, digits
from finetuner.inference import encoder

EPOCHS, PER_INTENT, DIM = 10, 15, 128
FASTER, WITHIN = {'minilm': 8.0, 'cnn': 6.0}, 0.01  # times; of MAP@R


def some(split: str) -> list[tuple[str, str]]:
    """The first questions of every intent."""
    found: dict[str, list] = {}
    for row in banking77(split):
        found.setdefault(row[1], []).append(row)
    return [row for rows in found.values() for row in rows[:PER_INTENT]]


def minilm(cached: bool) -> dict[str, Any]:
    """MiniLM stands still, a projection is trained."""
    model, tokenize = models.minilm()
    data, judged = some('train'), some('test')
    arguments = {'freeze': True, 'output_dim': DIM, 'collate_fn': tokenize}
    return trained(model, data, judged, cached, **arguments)


def cnn(cached: bool) -> dict[str, Any]:
    """Digits of 40 x 40 points: the convolutions stand still, dropout and the last layer are trained."""
    import torch

    images, labels = digits()
    images = np.kron(images, np.ones((5, 5), np.float32))
    model = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 40)), *models.wide_cnn('torch')[1:])
    for weight in [weight for layer in model[:-1] for weight in layer.parameters()]:
        weight.requires_grad_(False)
    data, judged = ((images[rows], labels[rows]) for rows in (labels < 6, labels >= 6))
    return trained(model, data, judged, cached)


CASES = {'minilm': minilm, 'cnn': cnn}


def trained(model: Any, data: Any, judged: Any, cached: bool, **arguments: Any) -> dict[str, Any]:
    """Seconds, memory, weights, and MAP@R on other data."""
    found: dict[str, Any] = {}

    def train() -> None:
        wall, begun = perf_counter(), process_time()
        found['model'] = fit(model, data, epochs=EPOCHS, precision='32', seed=0, cache_activations=cached, **arguments)
        found.update(cpu_seconds=process_time() - begun, wall_seconds=perf_counter() - wall)

    megabytes = peak_megabytes(train)
    options = {'collate_fn': arguments.get('collate_fn'), 'metrics': ['map_at_r']}
    weights = encoder(found['model']).weights()
    metric = evaluate(found.pop('model'), judged, **options)['map_at_r']
    return {**{name: round(value, 3) for name, value in found.items()}, 'megabytes': round(megabytes, 1),
            'map_at_r': metric, 'weights': weights}  # fmt: skip


def child(case: str, part: str, path: str) -> None:
    load_everything()
    found = CASES[case](part == 'cached')
    np.savez(Path(path).with_suffix('.npz'), **found.pop('weights'))
    Path(path).write_text(json.dumps(found))


def measure(case: str, turns: int) -> dict[str, Any]:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'TOKENIZERS_PARALLELISM': 'false'}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns):
            for part in ('cached', 'plain'):
                path = Path(folder) / f'{part}.json'
                environment['FINETUNER_HOME'] = str(Path(folder) / str(turn))
                command = [sys.executable, '-m', 'benchmarks.frozen', '--child', case, part, str(path)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f'{case}, {part}:\n{done.stdout}\n{done.stderr}')
                new = json.loads(path.read_text())
                if part not in found or new['cpu_seconds'] < found[part]['cpu_seconds']:
                    found[part] = new
                print(f'{case} {part}: {json.dumps(new)}', flush=True)
        cached, plain = (np.load(Path(folder) / f'{part}.npz') for part in ('cached', 'plain'))
        found['weights_differ'] = max(float(np.abs(cached[name] - plain[name]).max()) for name in plain.files)
    found['times_faster'] = round(found['plain']['cpu_seconds'] / found['cached']['cpu_seconds'], 2)
    return {'epochs': EPOCHS, 'turns': turns, **found}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('case', nargs='*', choices=[[], *CASES])
    parser.add_argument('--turns', type=int, default=2)
    asked = parser.parse_args(arguments)
    known = RESULTS / 'frozen.json'
    results = json.loads(known.read_text()) if known.exists() else {}
    for case in asked.case or CASES:
        results[case] = found = measure(case, asked.turns)
        save('frozen', results)
        apart = found['cached']['map_at_r'] - found['plain']['map_at_r']
        print(f'{case}: {found["times_faster"]} times faster, MAP@R {apart:+.4f}')
        if found['times_faster'] < FASTER[case] or abs(apart) > WITHIN:
            raise SystemExit(f'Not {FASTER[case]} times faster, or another metric: {found}')


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
