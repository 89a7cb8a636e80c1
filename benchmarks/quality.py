"""What tuning with nothing but defaults gives: retrieval before and after, on data that were not trained on.

    python -m benchmarks.quality [--per-intent 20]

Digits: the network of the demo, trained on 0 to 5, searched with 6 to 9, on every framework. Questions: MiniLM on
Banking77, some questions of every intent to train on and to search in, others of the same intents as queries (needs
FINETUNER_DATA). Writes results/quality.json.
"""

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.measure import tell, told

RESULTS = Path(__file__).parent / 'results' / 'quality.json'
METRICS = ['map_at_r', 'precision_at_k']
TASKS = ('digits torch', 'digits keras', 'digits paddle', 'banking77 torch')


def digits(framework: str) -> dict[str, Any]:
    """The demo's task."""
    import finetuner
    from finetuner.data.samples import digits as load
    from finetuner.demo import network

    images, labels = load()
    judged = (images[labels >= 6], labels[labels >= 6])
    model = network(framework)
    before = finetuner.evaluate(model, judged, metrics=METRICS, limit=1)
    start = process_time()
    finetuner.fit(model, (images[labels < 6], labels[labels < 6]))
    seconds = process_time() - start
    return {'before': before, 'after': finetuner.evaluate(model, judged, metrics=METRICS, limit=1), 'seconds': seconds}


def banking77(per_intent: int) -> dict[str, Any]:
    """Questions of bank customers."""
    import finetuner
    from benchmarks.models import minilm
    from finetuner.data.samples import banking77 as load

    def some(split: str) -> list[tuple[str, str]]:
        found: dict[str, list] = {}
        for row in load(split):
            found.setdefault(row[1], []).append(row)
        return [row for rows in found.values() for row in rows[:per_intent]]

    encoder, tokenize = minilm()
    gallery, queries = some('train'), some('test')
    options: dict[str, Any] = {'metrics': METRICS, 'limit': 1, 'collate_fn': tokenize}
    before = finetuner.evaluate(encoder, queries, gallery, **options)
    start = process_time()
    finetuner.fit(encoder, gallery, collate_fn=tokenize)
    seconds = process_time() - start
    return {'before': before, 'after': finetuner.evaluate(encoder, queries, gallery, **options), 'seconds': seconds}


def main() -> None:
    """Every task in a process of its own, then the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--per-intent', type=int, default=20)
    parser.add_argument('--task', choices=TASKS)
    arguments = parser.parse_args()
    if arguments.task:
        name, framework = arguments.task.split()
        result = digits(framework) if name == 'digits' else banking77(arguments.per_intent)
        tell(result)
        return
    from rich.console import Console
    from rich.table import Table

    table, results = Table(title='Defaults: before and after'), {'per_intent': arguments.per_intent, 'tasks': {}}
    for column in ('task', 'MAP@R', 'P@1', 'CPU seconds of fit'):
        table.add_column(column)
    for task in TASKS:
        found = results['tasks'][task] = told('quality', '--task', task, '--per-intent', arguments.per_intent)
        changes = [f'{found["before"][name]:.3f} -> {found["after"][name]:.3f}' for name in METRICS]
        table.add_row(task, *changes, f'{found["seconds"]:.0f}')
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + '\n')
    Console().print(table)


if __name__ == '__main__':
    main()
