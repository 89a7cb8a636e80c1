"""Models that Tailor cuts against the same models cut by hand: forward, training step, memory, in every framework.

Both have the same weights, must give the same vectors, and take turns in one process, on one batch and one thread.
The ratio is the median of those of neighbours in time; turns end when its 95 % interval is narrower than a percent, or
when there were enough of them. In the forward pass two models that were cut by hand are compared as well: so one sees
what no difference looks like, for two copies of one model need not lie equally well in memory. A bound is missed where
the whole interval is above it, and above the whole interval of those two. The step is that of `finetuner.fit`, or a
loop of one's own. What ours takes longer by itself shows in a tiny model, where the least of many turns counts. A model
that is cut at half its depth is measured against that cut by hand and against the whole classifier; and processes of
their own measure how many megabytes of weights are alive when the classifier is gone, and what two steps need more.

    python -m benchmarks.tailor [--turns=N] [CASE or ENGINE …]
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle, permutations
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import by_hand, cut_by_hand
from benchmarks.cut_by_hand import CUTS, DIM, KINDS
from benchmarks.loop import ENGINES, ONE_THREAD, rounded
from benchmarks.measure import RESULTS, peak_megabytes, save, weights_megabytes
from finetuner.data.readers import read
from finetuner.dispatch import load
from finetuner.inference import encoder, leaves
from finetuner.losses import InfoNCELoss
from finetuner.losses.objective import Objective
from finetuner.tailor import to_embedding_model
from finetuner.tuner.loading import make_loader
from finetuner.tuner.schedule import Optimization

PARTS = ('whole', 'half', 'ours', 'by hand')
CASES = [f'{engine} {kind}' for engine in ENGINES for kind in KINDS]
BATCH = {'resnet': 8, 'bert': 16, 'tiny': 4}
WAYS = {'whole': ('forward', 'loop', 'fit'), 'half': ('forward', 'loop')}
RATE = 1e-5
BOUND = 1.01  # times the CPU time of a model cut by hand; missed if the whole interval is above it
LEAST = 10  # turns
TINY = 200  # turns, of a tiny model
NARROW = 0.01  # the width of the 95 % interval
AGREEMENT = 1e-5  # of vectors and losses, relative to the largest


class Case:
    """A classifier with its batch, and the embedding models that are made of it."""

    def __init__(self, name: str) -> None:
        engine, self.kind = name.split()
        self.framework = engine.partition('-')[0]
        self.batch = cut_by_hand.items(self.framework, self.kind, BATCH[self.kind])
        self.general = cut_by_hand.general(self.framework, self.kind)

    def ours(self, half: bool) -> Any:
        few = leaves(lambda x: x[:2], self.batch)
        return to_embedding_model(self.general, CUTS[self.framework, self.kind][half], inputs=few, output_dim=DIM)

    def by_hand(self, ours: Any, half: bool) -> Any:
        """Cut by hand, with the head of ours."""
        made = cut_by_hand.by_hand(self.framework, self.kind, self.general, half)
        keras = self.framework == 'keras'
        theirs, own = (made.layers[-1], ours.layers[-1]) if keras else (made.head, ours.projection[0])
        encoder(theirs).assign(encoder(own).weights())
        return made

    def loader(self) -> Any:
        """The batch, again and again."""
        single = leaves(list, self.batch)
        if isinstance(single, dict):
            single = [dict(zip(single, rows, strict=True)) for rows in zip(*single.values(), strict=True)]
        options = {'num_items_per_class': None, 'preprocess_fn': None, 'collate_fn': _stacked, 'num_workers': 0}
        data, n = read((single, np.arange(len(single)) // 2)), len(single)
        return make_loader(data, Objective(InfoNCELoss()), batch_size=n, seed=0, **options)

    def forward(self, model: Any) -> Callable[[], Any]:
        """The vectors of the batch, in evaluation mode."""
        if self.framework == 'keras':
            return lambda: model.predict_on_batch(self.batch)
        model.eval()
        no_grad, batch = sys.modules[self.framework].no_grad, encoder(model).native(self.batch)
        args, kwargs = ((), batch) if isinstance(batch, dict) else ((batch,), {})

        def forward() -> Any:
            with no_grad():
                output = model(*args, **kwargs)
                return getattr(output, 'logits', output).numpy()

        return forward

    def loop(self, model: Any) -> Callable[[], float]:
        """A step of a loop of one's own."""
        steps = getattr(by_hand, self.framework)(model, self.loader(), 1000, Optimization(learning_rate=RATE))
        return lambda: float(next(steps))

    def fit(self, model: Any) -> Callable[[], float]:
        """A step of `fit`."""
        loader, coder = self.loader(), encoder(model)
        coder.place('cpu')
        kind = load(self.framework, 'tuner').Tuner
        tuner = kind(coder, Objective(InfoNCELoss()), dim=DIM, optimization=Optimization(learning_rate=RATE))
        tuner.begin(loader)
        return lambda: float(tuner.step(*next(iter(loader.epoch(0)))))


def _stacked(rows: list[Any]) -> Any:
    if isinstance(rows[0], dict):
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return np.stack(rows)


def turns(functions: dict[str, Callable[[], Any]], against: str, most: int) -> dict[str, Any]:
    """CPU time of functions that take turns, and its ratio to that of one of them.

    Args:
        functions: called with nothing.
        against: the name of that one.
        most: turns.
    """
    for function in 2 * list(functions.values()):  # compiles, and warms up
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn, order in enumerate(cycle(permutations(functions)), 1):
        for name in order:
            begun = process_time()
            functions[name]()
            times[name].append(process_time() - begun)
        ratios = {name: np.divide(times[name], times[against]) for name in functions if name != against}
        narrow = turn >= LEAST and max(np.ptp(_interval(r)) for r in ratios.values()) < NARROW
        if narrow or turn == most:
            break
    return {
        'turns': turn,
        'more_us': {name: (min(times[name]) - min(times[against])) * 1e6 for name in ratios},
        'ms': {name: float(np.median(row)) * 1e3 for name, row in times.items()},
        'ratio': {name: float(np.median(r)) for name, r in ratios.items()},
        'interval': {name: _interval(r) for name, r in ratios.items()},
    }


def _interval(ratios: np.ndarray) -> list[float]:
    # 95 % of the median, by the ranks of what was seen.
    rows, n = np.sort(ratios), len(ratios)
    away = 0.98 * math.sqrt(n)
    return [float(rows[max(0, math.floor(n / 2 - away))]), float(rows[min(n - 1, math.ceil(n / 2 + away))])]


def compared(case: Case, half: bool, most: int) -> dict[str, Any]:
    """Our model and those by hand: weights, vectors, losses, and the time of a forward pass and of a training step."""
    ours = case.ours(half)
    models = {'ours': ours, 'by hand': case.by_hand(ours, half)}
    found: dict[str, Any] = {'weights': {name: encoder(model).size() for name, model in models.items()}}
    for way in WAYS['half' if half else 'whole']:
        functions = {name: getattr(case, way)(model) for name, model in models.items()}
        seen = {name: [function() for _ in range(1 if way == 'forward' else 3)] for name, function in functions.items()}
        if way == 'forward':
            functions['again'] = case.forward(case.by_hand(ours, half))
            if half:
                functions['whole'] = case.forward(case.general)
        found[way] = {'differ': _differ(seen['ours'], seen['by hand']), **turns(functions, 'by hand', most)}
        print(way, found[way], flush=True)
    return found


def _differ(a: Any, b: Any) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())


def memory(case: Case, who: str) -> dict[str, float]:
    """Of a model cut at half its depth, in megabytes: weights that are alive when the classifier is gone, and steps."""
    model = case.ours(half=True)
    if who == 'by hand':
        model = case.by_hand(model, half=True)
    del case.general
    alive = weights_megabytes()
    step = case.loop(model)
    return {'alive_mb': alive, 'steps_mb': peak_megabytes(lambda: [step() for _ in range(2)])}


def child(name: str, part: str, path: str, most: str) -> None:
    case = Case(name)
    found = compared(case, part == 'half', int(most)) if part in WAYS else memory(case, part)
    Path(path).write_text(json.dumps(found))


def measure(name: str, part: str, most: int) -> dict[str, Any]:
    """One part of a case, in a process of its own."""
    environment = {**os.environ, **ONE_THREAD}
    engine = name.split()[0]
    if engine.startswith('keras-'):
        environment['KERAS_BACKEND'] = engine.removeprefix('keras-')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'found.json'
        environment['FINETUNER_HOME'] = folder
        command = [sys.executable, '-m', 'benchmarks.tailor', '--child', name, part, str(path), str(most)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f'{name}, {part}:\n{done.stdout}\n{done.stderr}')
        return json.loads(path.read_text())


def main(names: list[str]) -> None:
    known = RESULTS / 'tailor.json'
    results = json.loads(known.read_text()) if known.exists() else {}
    most = next((int(name.partition('=')[2]) for name in names if name.startswith('--turns=')), 60)
    names = [name for name in names if not name.startswith('--')]
    for name in CASES:
        if names and name not in names and name.split()[0] not in names:
            continue
        parts, number = (PARTS[:1], TINY) if 'tiny' in name else (PARTS, most)
        results[name] = {part: measure(name, part, number) for part in parts}
        for part in [part for part in WAYS if part in results[name]]:
            ratios = {way: results[name][part][way]['ratio']['ours'] for way in WAYS[part]}
            print(name, part, *(f'{way} {ratio:.3f}' for way, ratio in ratios.items()), flush=True)
        save('tailor', rounded({name: results[name] for name in CASES if name in results}))
    results = {name: results[name] for name in CASES if name in results}
    Console(width=180).print(table(results))
    missed = [line for name, found in results.items() for line in _missed(name, found)]
    if missed:
        raise SystemExit('\n'.join(missed))


def table(results: dict[str, Any]) -> Table:
    made = Table(title='Cut by Tailor against cut by hand: CPU time on one thread, median ratio and its 95 % interval')
    headings = (
        'model|step|by hand ms|ratio|interval|more µs|by hand twice|of the whole|differ|turns|weights MB|steps MB'
    )
    for heading in headings.split('|'):
        made.add_column(heading, justify='left' if heading in ('model', 'step') else 'right')
    for name, found in results.items():
        for part in [part for part in WAYS if part in found]:
            for way in WAYS[part]:
                one = found[part][way]
                ratio, (low, high) = one['ratio'], one['interval']['ours']
                figures = [f'{one["ms"]["by hand"]:.0f}', f'{ratio["ours"]:.3f}', f'{low:.3f} to {high:.3f}']
                figures.append(f'{one["more_us"]["ours"]:.0f}' if 'tiny' in name else '')
                figures.append(f'{ratio["again"]:.3f}' if 'again' in ratio else '')
                figures.append(f'{ratio["ours"] / ratio["whole"]:.2f}' if 'whole' in ratio else '')
                figures += [f'{one["differ"]:.0e}', str(one['turns'])]
                if part == 'half' and way == 'loop' and 'ours' in found:
                    for key in ('alive_mb', 'steps_mb'):
                        figures.append(' / '.join(f'{found[who][key]:.0f}' for who in ('by hand', 'ours')))
                made.add_row(f'{name}, half' if part == 'half' else name, way, *figures)
    return made


def _missed(name: str, found: dict[str, Any]) -> list[str]:
    lines = []
    for part in [part for part in WAYS if part in found]:
        for way in WAYS[part]:
            one = found[part][way]
            bound = max(BOUND, *one['interval'].get('again', [0.0]))
            slower = one['interval']['ours'][0] > bound and 'tiny' not in name
            if slower or one['differ'] > AGREEMENT:
                lines.append(f'{name}, {part}, {way}: {one["interval"]["ours"]} times, differs by {one["differ"]:.0e}')
        if found[part]['weights']['ours'] != found[part]['weights']['by hand']:
            lines.append(f'{name}, {part}: other weights than by hand, {found[part]["weights"]}')
    return lines


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
