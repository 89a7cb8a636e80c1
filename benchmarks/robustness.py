"""The robustness matrix: every loss on batches that break formulas, ours beside those of pytorch-metric-learning.

Each cell is two steps of gradient descent on one of the batches of `tests/losses/matrix.py`. A cell is bad if it
crashes, if a value or slope is no number, or if nothing is learned where there is something to learn.

    python -m benchmarks.robustness
"""

import inspect
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning import losses as pml
from rich.console import Console
from rich.table import Table

from benchmarks.measure import save
from tests.losses import matrix
from tests.losses.conftest import Library

# Where theirs has something to learn that ours of the same name does not have, or the other way, theirs is not blamed.
ALIASES = {'NTXentLoss': 'InfoNCELoss'}
BASES = {'BaseMetricLossFunction', 'GenericPairLoss', 'BaseLossWrapper'}
# Those want to be called otherwise.
OTHERS = {
    'CrossBatchMemory',
    'InstanceLoss',
    'ManifoldLoss',
    'MultipleLosses',
    'SelfSupervisedLoss',
    'VICRegLoss',
}  # want other calls
SIZES = {'num_classes': matrix.N, 'embedding_size': matrix.DIM, 'descriptors_dim': matrix.DIM}
OPTIONS: dict[str, dict[str, Any]] = {
    'RankedListLoss': {'margin': 0.4, 'Tn': 10},
}


def peers() -> dict[str, Callable[[], torch.nn.Module]]:
    """Their losses by name; each made anew for a cell, for some keep a state."""
    found = {}
    for name in sorted(dir(pml)):
        made = getattr(pml, name)
        if isinstance(made, type) and name.endswith('Loss') and name not in BASES | OTHERS:
            needed = {
                parameter.name
                for base in made.__mro__[:-1]
                for parameter in inspect.signature(base.__init__).parameters.values()
                if parameter.default is parameter.empty and parameter.name in SIZES
            }
            options = OPTIONS.get(name, {}) | {size: SIZES[size] for size in needed}
            found[name] = partial(made, **options)
    return found


def theirs(make: Callable[[], torch.nn.Module], cell: matrix.Cell, teaches: bool) -> str:
    """What becomes of a cell: '' if all is well."""
    torch.manual_seed(0)
    loss = make()
    dtype = getattr(torch, cell.dtype)
    x, labels = torch.tensor(cell.x), torch.tensor(cell.labels)
    largest = 0.0
    for step in range(2):
        leaf = x.to(dtype).detach().requires_grad_()
        try:
            value = loss(leaf, labels)
            value.backward()
        except Exception:  # whatever it is, it ends a training
            return 'crash'
        slope = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        if not (torch.isfinite(value).all() and torch.isfinite(slope).all()):
            return 'no number'
        largest = float(slope.abs().max()) if step == 0 else largest
        x = (x - 0.1 * slope.float()).detach()
    return 'nothing learned' if teaches and largest <= matrix.NONE else ''


def ours(name: str, cell: matrix.Cell, zero: bool) -> str:
    """The same of ours."""
    try:
        found = matrix.steps(Library('torch'), name, cell)
    except Exception:  # alike
        return 'crash'
    if not np.isfinite(found.values).all() or not all(np.isfinite(slope).all() for slope in found.slopes):
        return 'no number'
    return 'nothing learned' if not zero and np.abs(found.slopes[0]).max() <= matrix.NONE else ''


def main() -> int:
    """Print both matrices; 1 if ours has a bad cell."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    sides: dict[str, dict[str, dict[str, str]]] = {'ours': {}, 'theirs': {}}
    for name in matrix.NAMES:
        sides['ours'][name] = {
            cell: ours(name, matrix.CELLS[cell], cell in matrix.ZERO.get(name, ())) for cell in matrix.cells(name)
        }
    for name, make in peers().items():
        row = sides['theirs'][name] = {}
        for cell in matrix.CELLS:
            if cell == 'no positives':  # they know no items, only labels
                continue
            like = ALIASES.get(name, name)
            teaches = like in matrix.NAMES and cell not in matrix.ZERO.get(like, ())
            row[cell] = theirs(make, matrix.CELLS[cell], teaches)
    console = Console(width=190)
    bad = {}
    for side, rows in sides.items():
        table = Table(title=f'{side}: {len(rows)} losses')
        table.add_column('loss', no_wrap=True)
        for cell in matrix.CELLS:
            table.add_column(cell, overflow='fold')
        for name, row in rows.items():
            if side == 'ours' or any(row.values()):
                table.add_row(name, *(row.get(cell, '-') or '·' for cell in matrix.CELLS))
        console.print(table)
        bad[side] = dict(Counter(what for row in rows.values() for what in row.values() if what))
        cells = sum(len(row) for row in rows.values())
        console.print(f'{side}: {sum(bad[side].values())} bad of {cells} cells {bad[side] or ""}\n')
    shown = {
        side: {name: {c: w for c, w in row.items() if w} for name, row in rows.items()} for side, rows in sides.items()
    }
    versions = {'torch': torch.__version__, 'pytorch-metric-learning': pytorch_metric_learning.__version__}
    save('robustness', {'versions': versions, 'bad': bad, 'cells': shown})
    return int(bool(bad['ours']))


if __name__ == '__main__':
    sys.exit(main())
