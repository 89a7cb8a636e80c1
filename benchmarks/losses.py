"""Losses and miners over a batch, forward and backward, against the peers: CPU time and peak memory.

Both see the same embeddings and labels and take turns in one process on one thread. Ours is called as in training,
with the codes of a batch; making masks of them is part of the time. Time is the least of several turns, memory the
highest of one. Before that both must agree: in value and slope in float64 (at N = 128, for more is more than memory
holds of theirs), or in what a miner chose. Where there is no peer, it cannot run the size, and only ours is measured.

    python -m benchmarks.losses [GROUP …]
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning import losses as pml, miners as pml_miners
from rich.console import Console
from rich.table import Table

from benchmarks.measure import RESULTS, cpu_seconds, peak_megabytes, save
from finetuner.losses import distances, get, triplets
from finetuner.losses.base import mine
from finetuner.losses.objective import Objective
from finetuner.losses.relation import same_class
from finetuner.typing import Layout

DIM = 128
AGREEMENT = 1e-6  # of values and slopes in float64


class Case(NamedTuple):
    """One line of the table.

    Attributes:
        group: what is measured.
        size: of the batch, in words.
        ours: a step; gives what both must agree in.
        theirs: the same of a peer, or None where it cannot run.
        agree: the same two in float64 and small, or None where the steps themselves are compared.
        target: how many times less CPU ours shall take.
        most: megabytes that ours may take.
    """

    group: str
    size: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    agree: tuple[Callable[[], Any], Callable[[], Any]] | None = None
    target: float | None = None
    most: float | None = None


def vectors(n: int, dim: int = DIM, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).standard_normal((n, dim)), dtype=torch.float32)


def step(f: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, dtype: torch.dtype) -> tuple[float, torch.Tensor]:
    """Value and slope."""
    leaf = x.to(dtype, copy=True).requires_grad_()
    value = f(leaf)
    value.backward()
    return value.item(), leaf.grad


def batch(n: int, per_class: int) -> tuple[dict[str, torch.Tensor], Layout, torch.Tensor]:
    """The codes, the layout and the labels of a batch."""
    labels = torch.arange(n) // per_class
    codes = {'item': torch.arange(n, dtype=torch.int32), 'label': labels[:, None].int()}
    return codes, Layout(n, most=per_class - 1), labels


def loss(group: str, ours: Any, theirs: Any, n: int, per_class: int = 4, **limits: float) -> Case:
    """A loss of ours and its counterpart on a batch of n items."""

    def both(n: int, dtype: torch.dtype) -> tuple[Callable, Callable | None]:
        codes, layout, labels = batch(n, per_class)
        objective = Objective(ours)
        peer = None if theirs is None else partial(step, lambda x: theirs(x, labels), vectors(n), dtype)
        return partial(step, lambda x: objective(x, codes, layout), vectors(n), dtype), peer

    agree = both(128, torch.float64) if theirs is not None else None
    return Case(group, f'N = {n:,}', *both(n, torch.float32), agree=agree, **limits)


def memory(size: int, peer: bool, **limits: float) -> Case:
    """A step of 64 items against a full memory."""

    def both(size: int, dtype: torch.dtype) -> tuple[Callable, Callable | None]:
        rows, classes = 64, 77
        ours = Objective(get('CrossBatchMemory', loss=get('NTXentLoss', temperature=0.07), memory_size=size))
        theirs = pml.CrossBatchMemory(pml.NTXentLoss(0.07), DIM, memory_size=size)
        theirs.embedding_memory = theirs.embedding_memory.to(dtype)
        chance = np.random.default_rng(0)
        _x, held = vectors(rows), {}
        layout = Layout(rows, most=rows - 1)
        for start in range(0, size + rows, rows):  # fills both
            labels = torch.tensor(chance.integers(0, classes, rows))
            codes = {
                'item': torch.arange(start, start + rows, dtype=torch.int32),
                'label': labels[:, None].int(),
            }
            seen = vectors(rows, seed=start + 1).to(dtype)
            if not held:
                empty = ours.memory(DIM, {name: code.numpy() for name, code in codes.items()}, layout)
                held = {name: torch.from_numpy(value) for name, value in empty.items()}
                held['embedding'] = held['embedding'].to(dtype)
            last = held
            held = ours.remember(held, seen, codes, layout)
            if peer:
                theirs.add_to_memory(seen, labels, rows)
        run = partial(step, lambda leaf: ours(leaf, codes, layout, memory=last), seen.float(), dtype)

        # Theirs puts the batch into its memory itself: where it stands last already, take it back first.
        def other(leaf: torch.Tensor) -> torch.Tensor:
            theirs.queue_idx = (theirs.queue_idx - rows) % size
            return theirs(leaf, labels)

        return run, partial(step, other, seen.float(), dtype) if peer else None

    agree = both(256, torch.float64) if peer else None
    return Case('cross-batch memory', f'64 against {size:,}', *both(size, torch.float32), agree=agree, **limits)


def angular_miner(n: int, per_class: int, **limits: float) -> Case:
    """The triplets of the angular miner, counted by anchor."""
    _codes, layout, labels = batch(n, per_class)
    x, ours, theirs = vectors(n), get('AngularMiner', 'miner'), pml_miners.AngularMiner()
    judge = get('TripletMarginLoss')

    def run() -> torch.Tensor:
        relation = same_class(labels, like=x)._replace(most=layout.most)
        mined = mine(ours, judge, x, x, relation)
        return triplets.counts(mined, judge.measure(x, x))[1].sum(1)

    def peer() -> torch.Tensor:
        return torch.bincount(theirs(x, labels)[0], minlength=n).float()

    return Case('angular miner', f'N = {n}, {per_class} a class', run, peer, **limits)


def pair_miner(group: str, ours: str, theirs: Any, n: int) -> Case:
    """The pairs that a miner chooses, counted by anchor."""
    _codes, layout, labels = batch(n, 4)
    x, miner, judge = vectors(n), get(ours, 'miner'), get('TripletMarginLoss')

    def run() -> torch.Tensor:
        relation = same_class(labels, like=x)._replace(most=layout.most)
        mined = mine(miner, judge, x, x, relation)
        return (mined.positives | mined.negatives).sum(1).float()

    def peer() -> torch.Tensor:
        chosen = theirs(x, labels)
        counts = [torch.bincount(chosen[place], minlength=n) for place in ((0, 2) if len(chosen) == 4 else (0, 0))]
        return (counts[0] + counts[1]).float()

    return Case(group, f'N = {n}', run, peer)


def guide_similarity(n: int, **limits: float) -> Case:
    """The matrix of cosines that a guided loss makes several of."""
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss

    theirs = GISTEmbedLoss.__new__(GISTEmbedLoss)
    torch.nn.Module.__init__(theirs)
    theirs.similarity_fct = torch.nn.CosineSimilarity(dim=-1)
    x, other = vectors(n, 384), vectors(n, 384, seed=1)

    def both(dtype: torch.dtype) -> tuple[Callable, Callable]:
        fixed, weights = other.to(dtype), vectors(n, n, seed=2).to(dtype)
        ours = partial(step, lambda leaf: (weights * distances.cosine_similarity(leaf, fixed)).sum(), x, dtype)
        return ours, partial(step, lambda leaf: (weights * theirs.sim_matrix(leaf, fixed)).sum(), x, dtype)

    return Case(
        'GIST similarity, 384 dimensions', f'N = {n}', *both(torch.float32), agree=both(torch.float64), **limits
    )


def cases() -> Iterator[Case]:
    """Every line of the table, made when it is measured."""
    for n, target in ((128, 50), (256, 350), (512, 500)):
        yield loss('InfoNCE', get('InfoNCELoss'), pml.NTXentLoss(0.07), n, target=target)
    yield memory(1024, True, target=500)
    yield memory(2048, True, target=1000)
    yield memory(50_000, False)
    yield loss('tuplet margin', get('TupletMarginLoss'), pml.TupletMarginLoss(), 256, target=300)
    yield loss('lifted structure', get('LiftedStructureLoss'), pml.LiftedStructureLoss(), 256, target=300)
    yield angular_miner(512, 16, target=50, most=200)
    yield guide_similarity(256, target=150)
    for n in (512, 1024):
        yield loss('all triplets', get('TripletMarginLoss'), pml.TripletMarginLoss(), n, target=8)
    yield loss('all triplets', get('TripletMarginLoss'), None, 8192, most=2000)
    yield pair_miner('batch-hard miner', 'BatchHardMiner', pml_miners.BatchHardMiner(), 512)
    yield pair_miner('multi-similarity miner', 'MultiSimilarityMiner', pml_miners.MultiSimilarityMiner(), 512)


def measure(case: Case) -> dict[str, Any]:
    """Time and memory of a case, after both have agreed."""
    if case.theirs is not None:
        pair = case.agree or (case.ours, case.theirs)
        off = difference(*(once() for once in pair))
        assert off < AGREEMENT, f'{case.group} differs by {off}'
    slow = case.size.startswith('N = 8,192')
    ours = {'ours': case.ours}
    result: dict[str, Any] = {'peak_mb_ours': round(peak_megabytes(case.ours), 1)}
    cpu = cpu_seconds(ours, rounds=1 if slow else 20)
    if case.theirs is not None:
        result['peak_mb_theirs'] = round(peak_megabytes(case.theirs), 1)
        both = cpu_seconds(ours | {'theirs': case.theirs}, rounds=3)
        cpu = {'ours': min(cpu['ours'], both['ours']), 'theirs': both['theirs']}
        result['cpu_ms_theirs'] = round(1e3 * cpu['theirs'], 3)
        result['ratio'] = round(cpu['theirs'] / cpu['ours'], 1)
    limits = {'target': case.target, 'most_mb': case.most}
    return result | {'cpu_ms_ours': round(1e3 * cpu['ours'], 3)} | {k: v for k, v in limits.items() if v is not None}


def difference(a: Any, b: Any) -> float:
    """Of values and slopes, or of counts, relative to the largest: the larger."""
    parts = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    tensors = [(torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)) for x, y in parts]
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in tensors)


def main(groups: list[str]) -> int:
    """Measure all cases, or those of some groups; 1 if one misses its target."""
    torch.set_num_threads(1)
    table = Table(title='forward and backward, 4 items a class, 128 dimensions, one thread')
    for column in ('', '', 'CPU ms', 'theirs', 'ratio', 'target', 'peak MB', 'theirs'):
        table.add_column(column, justify='left' if not column else 'right')
    results: dict[str, Any] = {}
    missed = 0
    for case in cases():
        if groups and case.group not in groups:
            continue
        r = results.setdefault(case.group, {})[case.size] = measure(case)
        missed += r.get('ratio', 0) < (case.target or 0) or r['peak_mb_ours'] > (case.most or float('inf'))
        table.add_row(
            *(case.group, case.size, f'{r["cpu_ms_ours"]:,.2f}', f'{r.get("cpu_ms_theirs", float("nan")):,.1f}'),
            *(f'{r.get("ratio", float("nan")):,.1f} x', '' if case.target is None else f'{case.target} x'),
            *(f'{r["peak_mb_ours"]:,.1f}', f'{r.get("peak_mb_theirs", float("nan")):,.0f}'),
        )
        print(case.group, case.size, r, file=sys.stderr, flush=True)
    Console(width=120).print(table)
    versions = {'torch': torch.__version__, 'pytorch-metric-learning': pytorch_metric_learning.__version__}
    before = json.loads((RESULTS / 'losses.json').read_text())['losses'] if groups else {}
    save('losses', {'versions': versions, 'losses': before | results})
    return int(missed > 0)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
