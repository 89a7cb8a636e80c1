"""Losses over a batch, forward and backward, against pytorch-metric-learning: CPU time and peak memory.

Both see the same embeddings and labels and take turns in one process on one thread. Ours is called as in training,
with the codes of a batch; making masks of them is part of the time. Time is the least of several turns, memory the
highest of one. In float64 both must agree in value and slope (at N = 128, for more is more than memory holds of
theirs); the errors shown are those of float32 against float64.

    python -m benchmarks.losses [N …]
"""

import os
import sys
from functools import partial

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning import losses as theirs
from rich.console import Console
from rich.table import Table

from benchmarks.measure import cpu_seconds, peak_megabytes, save
from finetuner.losses import InfoNCELoss, TripletMarginLoss
from finetuner.losses.objective import Objective
from finetuner.typing import Layout

PER_CLASS, DIM = 4, 128
LOSSES = {
    'InfoNCE, T = 0.07': (InfoNCELoss(0.07), theirs.NTXentLoss(0.07), 300),
    'all triplets, margin 0.05': (TripletMarginLoss(0.05), theirs.TripletMarginLoss(0.05), 8),
}
AGREEMENT = 1e-6  # of values and slopes in float64, and of ours in float32 with those


def compare(name: str, n: int) -> dict[str, float]:
    """Measure one loss of ours and its counterpart on a batch of n items."""
    ours, peer, target = LOSSES[name]
    x = torch.tensor(np.random.default_rng(0).standard_normal((n, DIM)), dtype=torch.float32)
    labels = torch.arange(n) // PER_CLASS
    codes = {'item': torch.arange(n, dtype=torch.int32), 'label': labels[:, None].int()}
    objective, layout = Objective(ours), Layout(n, most=PER_CLASS - 1)

    def run(loss, dtype=torch.float32):
        leaf = x.to(dtype, copy=True).requires_grad_()
        value = loss(leaf)
        value.backward()
        return value.item(), leaf.grad

    functions = {'ours': lambda leaf: objective(leaf, codes, layout), 'theirs': lambda leaf: peer(leaf, labels)}
    runs = {side: partial(run, loss) for side, loss in functions.items()}
    exact = run(functions['ours'], torch.float64)
    if n <= 128:
        agree = difference(run(functions['theirs'], torch.float64), exact)
        assert agree < AGREEMENT, f'{name} differs by {agree}'
    error = {side: difference(once(), exact) for side, once in runs.items()}
    peak = {side: peak_megabytes(run) for side, run in runs.items()}
    cpu = cpu_seconds({'ours': runs['ours']}, rounds=20)  # warm, and again in turns
    both = cpu_seconds(runs, rounds=5)
    cpu = {'ours': min(cpu['ours'], both['ours']), 'theirs': both['theirs']}
    return {
        'cpu_ms_ours': round(1e3 * cpu['ours'], 3),
        'cpu_ms_theirs': round(1e3 * cpu['theirs'], 3),
        'ratio': round(cpu['theirs'] / cpu['ours'], 1),
        'target': target,
        'peak_mb_ours': round(peak['ours'], 1),
        'peak_mb_theirs': round(peak['theirs'], 1),
        'error_ours': float(f'{error["ours"]:.2g}'),
        'error_theirs': float(f'{error["theirs"]:.2g}'),
    }


def difference(result: tuple, exact: tuple) -> float:
    """Of values, and of slopes, relative to the largest: the larger of the two."""
    (value, slope), (right, slopes) = result, exact
    return max(abs(value - right) / abs(right), float((slope - slopes).abs().max() / slopes.abs().max()))


def main(sizes: list[int]) -> int:
    """Measure all losses; 1 if one of N = 512 misses its target, or ours errs by more than 1e-6."""
    torch.set_num_threads(1)
    results = {name: {str(n): compare(name, n) for n in sizes} for name in LOSSES}
    table = Table(title=f'forward and backward, {PER_CLASS} items a class, {DIM} dimensions, one thread')
    for column in ('loss', 'N', 'CPU ms', 'theirs', 'ratio', 'target', 'peak MB', 'theirs', 'error', 'theirs'):
        table.add_column(column, justify='left' if column == 'loss' else 'right')
    missed = 0
    for name, by_size in results.items():
        for n, r in by_size.items():
            missed += r['error_ours'] > AGREEMENT or (n == '512' and r['ratio'] < r['target'])
            table.add_row(
                *(name, n, f'{r["cpu_ms_ours"]:.2f}', f'{r["cpu_ms_theirs"]:.1f}', f'{r["ratio"]:.0f} x'),
                *(f'{r["target"]} x' if n == '512' else '', f'{r["peak_mb_ours"]:.1f}', f'{r["peak_mb_theirs"]:.0f}'),
                *(f'{r["error_ours"]:.0e}', f'{r["error_theirs"]:.0e}'),
            )
    Console(width=120).print(table)
    versions = {'torch': torch.__version__, 'pytorch-metric-learning': pytorch_metric_learning.__version__}
    save('losses', {'versions': versions, 'losses': results})
    return int(missed > 0)


if __name__ == '__main__':
    sys.exit(main([int(argument) for argument in sys.argv[1:]] or [128, 256, 512]))
