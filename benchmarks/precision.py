"""What bf16 and groups of like length save for MiniLM on questions of Banking77, and that neither costs quality.

    python -m benchmarks.precision [--seeds 3] [--epochs 2]

Trained on 16 questions of each of 50 intents, searched with those of the 27 others, in float32 and bf16, on whole
batches and in groups; all take turns, each in a process of its own, on one thread. A figure is the CPU time of a step,
the median of the training without its first step. Needs FINETUNER_DATA. Writes results/precision.json.
"""

import argparse
from time import process_time
from typing import Any

import numpy as np

from benchmarks.loop import ONE_THREAD
from benchmarks.measure import save, tell, told

WAYS = {
    'float32': {'precision': '32', 'group_by_length': False},
    'bf16': {'precision': 'bf16', 'group_by_length': False},
    'float32, in groups': {'precision': '32'},
    'bf16, in groups': {'precision': 'bf16'},
}


def run(way: str, seed: int, epochs: int) -> dict[str, Any]:
    """One training: CPU seconds of a step, and MAP@R before and after."""
    import finetuner
    from benchmarks.models import minilm
    from finetuner.callback import Callback
    from finetuner.data.samples import banking77

    class Clock(Callback):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_train_batch_begin(self, tuner: Any) -> None:
            self.begun = process_time()

        def on_train_batch_end(self, tuner: Any) -> None:
            float(tuner.state.loss)
            self.seconds.append(process_time() - self.begun)

    found: dict[str, list[tuple[str, str]]] = {}
    for row in banking77('train'):
        found.setdefault(row[1], []).append(row)
    intents = np.random.default_rng(0).permutation(sorted(found)).tolist()
    train = [row for intent in intents[:50] for row in found[intent][:16]]
    held_out = [row for intent in intents[50:] for row in found[intent][:20]]
    model, tokenize = minilm()
    options: dict[str, Any] = {'metrics': ['map_at_r'], 'collate_fn': tokenize}
    clock, before = Clock(), finetuner.evaluate(model, held_out, **options)['map_at_r']
    finetuner.fit(
        model, train, epochs=epochs, seed=seed, guard=False, collate_fn=tokenize, callbacks=[clock], **WAYS[way]
    )
    after = finetuner.evaluate(model, held_out, **options)['map_at_r']
    return {'seconds': float(np.median(clock.seconds[1:])), 'before': before, 'after': after}


def main() -> None:
    """Every way with every seed, in turn, then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--one', nargs=2, metavar=('WAY', 'SEED'))
    arguments = parser.parse_args()
    if arguments.one:
        tell(run(arguments.one[0], int(arguments.one[1]), arguments.epochs))
        return
    from rich.console import Console
    from rich.table import Table

    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for seed in range(arguments.seeds):
        for way, runs in found.items():
            runs.append(told('precision', '--epochs', arguments.epochs, '--one', way, seed, **ONE_THREAD))
    table, results = Table(title='MiniLM, batches of 64 questions'), {}
    for column in ('', 'CPU seconds a step', 'times faster', 'MAP@R before', 'after', 'difference to float32'):
        table.add_column(column)
    plain = found['float32']
    for way, runs in found.items():
        seconds, after = (float(np.median([one[name] for one in runs])) for name in ('seconds', 'after'))
        row = {
            'seconds': seconds,
            'faster': float(np.median([a['seconds'] / b['seconds'] for a, b in zip(plain, runs, strict=True)])),
            'after': after,
            'differences': [b['after'] - a['after'] for a, b in zip(plain, runs, strict=True)],
            'runs': runs,
        }
        results[way] = row
        shown = ' '.join(f'{value:+.4f}' for value in row['differences'])
        table.add_row(way, f'{seconds:.2f}', f'{row["faster"]:.2f}', f'{runs[0]["before"]:.3f}', f'{after:.3f}', shown)
    save('precision', {'seeds': arguments.seeds, 'epochs': arguments.epochs, 'ways': results})
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
