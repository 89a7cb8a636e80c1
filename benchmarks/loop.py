"""A step of `finetuner.fit` against the same step written by hand, in each framework.

Both start from the same weights and see the same batches; they take turns step by step in one process, so that
whatever else the machine does falls on both, and must end with the same weights. A step of ours is all that happens
from the end of one batch to the end of the next: loading, hooks, schedule, seeding and the update. "More" is what
ours takes longer, within an epoch and where one ends and the next begins; there is a ratio of steps within an epoch, to
which the target applies, and one with both in it (an epoch has eight steps here). Figures are CPU
time on one thread: of every step the least of several rounds of the same training. Total and peak memory come from
processes of their own, where `fit` or the loop by hand runs alone.

    python -m benchmarks.loop [CASE …]
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import by_hand, models
from benchmarks.measure import RESULTS, save
from finetuner.api import fit
from finetuner.callback import Callback
from finetuner.data.readers import read
from finetuner.data.samples import banking77, digits
from finetuner.inference import encoder
from finetuner.losses import InfoNCELoss
from finetuner.losses.objective import Objective
from finetuner.tuner.loading import make_loader
from finetuner.tuner.schedule import Optimization

ENGINES = ('torch', 'paddle', 'keras-tensorflow', 'keras-torch', 'keras-jax')
CASES = [f'{engine} {model}' for engine in ENGINES for model in ('digits', 'wide')] + ['torch minilm']
ONE_THREAD = {
    'OMP_NUM_THREADS': '1',
    'TF_NUM_INTRAOP_THREADS': '1',
    'TF_NUM_INTEROP_THREADS': '1',
    'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1',
    'TF_CPP_MIN_LOG_LEVEL': '3',
    'TOKENIZERS_PARALLELISM': 'false',
}
LONG, TARGET = 20.0, 1.03  # of a step in ms, and the largest ratio that it may have


class Case:
    """A model with its data, and what `fit` is told about them."""

    def __init__(self, name: str) -> None:
        engine, self.kind = name.split()
        self.framework = engine.partition('-')[0]
        self.rounds = 3 if self.kind == 'minilm' else 5
        self.options = {'batch_size': 256, 'epochs': 8 if self.kind == 'digits' else 5, 'seed': 0}
        if self.kind == 'minilm':
            texts: dict[str, list[tuple[str, str]]] = {}
            for text, intent in banking77():
                texts.setdefault(intent, []).append((text, intent))
            self.data = [row for intent in sorted(texts)[:16] for row in texts[intent][:20]]
            tokenize = models.minilm()[1]
            self.options |= {'batch_size': 64, 'epochs': 3, 'learning_rate': 1e-4, 'collate_fn': tokenize}
        else:
            self.data = digits()
            self.options |= {'learning_rate': 1e-3}

    def model(self):
        if self.kind == 'minilm':
            return models.minilm()[0]
        return {'digits': models.digits_cnn, 'wide': models.wide_cnn}[self.kind](self.framework)

    def loader(self):
        options = {'num_items_per_class': None, 'preprocess_fn': None, 'collate_fn': None, 'num_workers': 0}
        options |= {k: v for k, v in self.options.items() if k not in ('epochs', 'learning_rate')}
        return make_loader(read(self.data), Objective(InfoNCELoss()), **options)

    def by_hand(self, model, loader):
        numbers = Optimization(learning_rate=self.options['learning_rate'])
        return getattr(by_hand, self.framework)(model, loader, self.options['epochs'], numbers)

    def fit(self, model, callbacks=()):
        same = {'loss': 'InfoNCELoss', 'precision': '32', 'group_by_length': False, 'guard': False}
        fit(model, self.data, callbacks=callbacks, **same, **self.options)


def turns(case: Case) -> dict:
    """Ours and by hand, step by step in turn; the same training several times over."""
    rounds = [_turns(case) for _ in range(case.rounds)]
    found = {key: rounds[0][key] for key in ('items_in_a_batch', 'steps_of_an_epoch', 'loss_first_and_last')}
    for key in ('weights_differ', 'losses_differ'):
        found[key] = max(one[key] for one in rounds)
    times = np.array([one['times'] for one in rounds])  # (rounds, who, steps, clocks); the rounds' steps are the same
    times = times[:, :, found['steps_of_an_epoch'] :]  # the first epoch compiles and warms up
    for i, clock in enumerate(('cpu', 'wall')):
        least = times[..., i].min(0)
        ours, other = least.mean(1)
        each = least.reshape(2, -1, found['steps_of_an_epoch']).mean(1)  # the first of an epoch has what an epoch costs
        more = (each[0] - each[1]) * 1e3
        a, b = np.median(times[..., i], (0, 2))
        found[clock] = {'ours_ms': ours, 'by_hand_ms': other, 'ratio': ours / other}
        found[clock] |= {'step_ratio': each[0, 1:].mean() / each[1, 1:].mean()}
        found[clock] |= {'more_us': more[1:].mean(), 'more_us_an_epoch': more[0] - more[1:].mean()}
        found[clock] |= {'ours_median_ms': a, 'by_hand_median_ms': b, 'median_ratio': a / b}
    loader, loading = case.loader(), []
    for epoch in range(case.rounds):
        begun = process_time()
        for _ in loader.epoch(epoch):
            pass
        loading.append((process_time() - begun) / len(loader) * 1e3)
    found['loading_ms'] = min(loading)
    return found


class Turns(Callback):
    """Lets the loop by hand do a step after every step of ours, and times both."""

    def __init__(self, steps: Iterator[Any], other: Any) -> None:
        self.steps, self.other = steps, other
        self.times: dict[str, list] = {'ours': [], 'by hand': []}
        self.losses: dict[str, list] = {'ours': [], 'by hand': []}

    def begin(self) -> None:
        self.wall, self.cpu = perf_counter(), process_time()

    def note(self, who: str, loss: Any) -> None:
        cpu, wall = process_time() - self.cpu, perf_counter() - self.wall
        self.times[who].append((cpu * 1e3, wall * 1e3))
        self.losses[who].append(loss)

    def on_fit_begin(self, tuner: Any) -> None:
        self.begin()

    def on_train_batch_end(self, tuner: Any) -> None:
        self.note('ours', tuner.state.loss)
        self.seed(tuner)
        self.begin()
        self.note('by hand', next(self.steps))
        self.begin()

    def seed(self, tuner: Any) -> None:
        """Give the loop by hand the dropout that ours had, at nobody's cost."""
        state = tuner.state
        number = int(np.random.SeedSequence((tuner.seed, state.step - 1)).generate_state(1)[0])
        if tuner.encoder.framework != 'keras':
            tuner.reseed(number)
            return
        seeds, tuner.seeds = tuner.seeds, [v for v in self.other.variables if v.name == 'seed_generator_state']
        tuner.reseed(number)
        tuner.seeds = seeds


def _turns(case: Case) -> dict:
    ours, other, loader = case.model(), case.model(), case.loader()
    encoder(other).assign(encoder(ours).weights())
    watch = Turns(case.by_hand(other, loader), other)
    case.fit(ours, [watch])
    losses = [[float(loss) for loss in watch.losses[who]] for who in ('ours', 'by hand')]
    weights = [encoder(model).weights().values() for model in (ours, other)]
    return {
        'items_in_a_batch': loader.layout.rows,
        'steps_of_an_epoch': len(loader),
        'loss_first_and_last': [losses[0][0], losses[0][-1]],
        'losses_differ': float(np.abs(np.subtract(*losses)).max()),
        'weights_differ': max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True)),
        'times': [watch.times[who] for who in ('ours', 'by hand')],
    }


def alone(case: Case, who: str) -> dict:
    """A whole training, with everything but imports that both need."""
    model = case.model()
    begun = process_time()
    if who == 'ours':
        case.fit(model)
    else:
        for _ in case.by_hand(model, case.loader()):
            pass
    return {
        'cpu_seconds': process_time() - begun,
        'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def child(name: str, part: str, path: str) -> None:
    case = Case(name)
    found = turns(case) if part == 'turns' else alone(case, part)
    Path(path).write_text(json.dumps(found))


def measure(name: str, part: str) -> dict:
    """One part of a case, in a process of its own."""
    engine = name.split()[0]
    environment = {**os.environ, **ONE_THREAD}
    if engine.startswith('keras-'):
        environment['KERAS_BACKEND'] = engine.removeprefix('keras-')
    if 'FINETUNER_DATA' not in environment:
        environment['FINETUNER_DATA'] = str(Path(__file__).parents[2] / 'shared' / 'data')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'found.json'
        environment['FINETUNER_HOME'] = folder
        command = [sys.executable, '-m', 'benchmarks.loop', '--child', name, part, str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f'{name}, {part}:\n{done.stdout}\n{done.stderr}')
        return json.loads(path.read_text())


def main(names: list[str]) -> None:
    known = RESULTS / 'loop.json'
    results = json.loads(known.read_text()) if known.exists() else {}
    for name in CASES:
        if names and name not in names and name.split()[0] not in names:
            continue
        results[name] = {part: measure(name, part) for part in ('turns', 'ours', 'by hand')}
        cpu = results[name]['turns']['cpu']
        ratios = f'{cpu["step_ratio"]:.3f}, with epochs {cpu["ratio"]:.3f}'
        print(f'{name}: {cpu["ours_ms"]:.2f} / {cpu["by_hand_ms"]:.2f} ms, ratio {ratios}', flush=True)
        results = {name: results[name] for name in CASES if name in results}
        save('loop', rounded(results))

    Console(width=140).print(table(results))
    missed = [name for name, found in results.items() if not _held(found['turns'])]
    if missed:
        raise SystemExit(f'Other weights, or a ratio above {TARGET}: {", ".join(missed)}')


def table(results: dict) -> Table:
    made = Table(title='A step of fit against the same step by hand, CPU time on one thread')
    headings = 'model|by hand ms|ours ms|a step|with epochs|(median)|more µs|an epoch|loading ms|weights differ|'
    for heading in [*headings.split('|')[:-1], 'training s', 'peak MB']:
        made.add_column(heading, justify='left' if heading == 'model' else 'right')
    for name, found in results.items():
        steps, cpu = found['turns'], found['turns']['cpu']
        figures = [f'{cpu[key]:.2f}' for key in ('by_hand_ms', 'ours_ms')]
        figures += [f'{cpu[key]:.3f}' for key in ('step_ratio', 'ratio', 'median_ratio')]
        figures += [f'{cpu[key]:.0f}' for key in ('more_us', 'more_us_an_epoch')]
        figures += [f'{steps["loading_ms"]:.2f}', f'{steps["weights_differ"]:.1g}']
        for key, places in (('cpu_seconds', 1), ('peak_mb', 0)):
            figures.append(' / '.join(f'{found[who][key]:.{places}f}' for who in ('by hand', 'ours')))
        made.add_row(name, *figures)
    return made


def _held(found: dict) -> bool:
    cpu = found['cpu']
    return found['weights_differ'] == 0 and (cpu['by_hand_ms'] < LONG or cpu['step_ratio'] <= TARGET)


def rounded(value):
    """Figures with four digits."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f'{value:.4g}') if isinstance(value, float) else value


if __name__ == '__main__':
    if sys.argv[1:2] == ['--child']:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
