"""What it costs until one may begin: CPU time of an import in a fresh interpreter, beside its peers.

`import finetuner` leaves frameworks alone until a model shows which one is used; peers import PyTorch at once. So the
time of `import torch`, which `fit` on a PyTorch model also needs, stands beside it, and that of Python itself.

    python -m benchmarks.startup [RUNS]
"""

import json
import os
import subprocess
import sys
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.measure import save

IMPORTS = {
    'python': 'pass',
    'finetuner': 'import finetuner',
    'finetuner.fit': 'from finetuner import fit',
    'torch': 'import torch',
    'sentence-transformers': 'import sentence_transformers',
    'pytorch-metric-learning': 'import pytorch_metric_learning, pytorch_metric_learning.losses',
}
FRAMEWORKS = ('torch', 'tensorflow', 'keras', 'paddle', 'jax')
LIMIT = 0.3  # CPU seconds that `import finetuner` may take, Python included


def cpu_seconds(code: str) -> float:
    """User and system time of a process that runs `code`."""
    process = subprocess.Popen([sys.executable, '-c', code], env={**os.environ, 'OMP_NUM_THREADS': '1'})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f'{code!r} failed.')
    return used.ru_utime + used.ru_stime


def loaded(code: str) -> list[str]:
    """The frameworks in `sys.modules` after `code`."""
    show = f'{code}\nimport sys, json; print(json.dumps([x for x in {FRAMEWORKS} if x in sys.modules]))'
    return json.loads(subprocess.run([sys.executable, '-c', show], capture_output=True, text=True, check=True).stdout)


def main(runs: int = 20) -> None:
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for code in IMPORTS.values():
        cpu_seconds(code)  # fills the disk cache and compiles
    for _ in range(runs):
        for name, code in IMPORTS.items():
            times[name].append(cpu_seconds(code))
    results = {
        name: {
            'cpu_seconds': round(min(found), 3),
            'median': round(median(found), 3),
            'frameworks': loaded(IMPORTS[name]),
        }
        for name, found in times.items()
    }
    save('startup', {'runs': runs, 'imports': results})

    table = Table(title=f'CPU seconds of an import in a fresh interpreter, {runs} runs')
    for heading in ('import', 'least', 'median', 'frameworks that it loads'):
        table.add_column(heading, justify='right' if heading in ('least', 'median') else 'left')
    for name, found in results.items():
        figures = (f'{found[key]:.3f}' for key in ('cpu_seconds', 'median'))
        table.add_row(IMPORTS[name].partition(',')[0], *figures, ', '.join(found['frameworks']))
    Console().print(table)
    own = results['finetuner']
    if own['cpu_seconds'] > LIMIT or own['frameworks']:
        raise SystemExit(f'import finetuner takes more than {LIMIT} s, or loads a framework.')


if __name__ == '__main__':
    main(*map(int, sys.argv[1:]))
