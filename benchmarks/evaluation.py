"""Retrieval metrics of vectors that are given, against four peers, and what measuring costs the demo.

    complete    10,000 x 10,000 vectors, all ranked: AccuracyCalculator() of pytorch-metric-learning but its clusters
    classes     the same, as many results as the largest class has: k='max_bin_count'
    retrieval   3,080 queries in 50,000 documents: InformationRetrievalEvaluator of sentence-transformers
    metrics     the metrics alone, 100 results of 3,080 queries: ranx, warm
    documents   1,000 documents in 60,000 of 32 numbers: match and evaluate of docarray
    wide        the same, 128 numbers
    demo        the part of `finetuner demo` that measuring takes

Both sides get the same vectors and must come to equal metrics. Time is the least CPU time of several turns on one
thread, memory the highest above that before.

    python -m benchmarks.evaluation [CASE …]
"""

import os
import sys

os.environ.setdefault('OMP_NUM_THREADS', '1')

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.measure import RESULTS, peak_megabytes, save, tell, told
from finetuner.evaluation import Evaluator, measures, metrics
from finetuner.evaluation.ground_truth import LabelTruth
from finetuner.evaluation.search import ExactIndex

# By how many times less CPU time, and by how many times less memory.
TARGETS = {'complete': (4, 8), 'retrieval': (1.8, 5), 'metrics': (20, None), 'documents': (10, None)}
ROUNDS = {'complete': 1}
# Peers that are not installed for the tests: pip install sentence-transformers ranx
PEERS = {'retrieval': 'sentence_transformers', 'metrics': 'ranx'}


def judged(
    vectors: np.ndarray,
    labels: np.ndarray,
    names: Any,
    limit: Any,
    distance: str,
    queries: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, float]:
    """What `Evaluator.evaluate` does when the model has given its vectors."""
    asked = (vectors, labels) if queries is None else queries
    evaluator = Evaluator(asked, index_data=None if queries is None else (vectors, labels), metrics=names)
    wanted, truth = measures.measures(evaluator.metrics, limit), evaluator.truth()
    rows = np.arange(len(truth.queries))
    return evaluator.judge(truth, ExactIndex(vectors, distance), asked[0], wanted, rows)


def clusters() -> tuple[np.ndarray, np.ndarray]:
    """10,000 vectors of 128 numbers around 77 centres."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 77, 10_000)
    return (chance.standard_normal((77, 128))[labels] + 2 * chance.standard_normal((10_000, 128))).astype('f4'), labels


def complete(k: str | None = None) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    torch.set_num_threads(1)
    vectors, labels = clusters()
    limit = None if k is None else int(np.bincount(labels).max())
    names = {
        'mean_average_precision': 'average_precision',
        'mean_average_precision_at_r': 'map_at_r',
        'mean_reciprocal_rank': 'reciprocal_rank',
        'precision_at_1': 'precision_at_1',
        'r_precision': 'r_precision',
    }
    if k is not None:
        del names['mean_average_precision']  # of a cut list another definition
    calculator = AccuracyCalculator(include=tuple(names), k=k)

    def ours() -> dict[str, float]:
        return judged(vectors, labels, list(names.values()), limit, 'euclidean')

    def theirs() -> dict[str, float]:
        found = calculator.get_accuracy(vectors, labels)
        return {names[name]: value for name, value in found.items()}

    return ours, theirs


def classes() -> tuple[Callable[[], Any], Callable[[], Any]]:
    return complete('max_bin_count')


def documents_of() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """3,080 queries and 50,000 documents of 384 numbers, two documents for each of 25,000 subjects."""
    chance = np.random.default_rng(0)
    subjects = chance.standard_normal((25_000, 384))
    of = np.arange(50_000) % 25_000
    asked = chance.integers(0, 25_000, 3_080)
    index, queries = (subjects[x] + 1.2 * chance.standard_normal((len(x), 384)) for x in (of, asked))
    return queries.astype('f4'), asked, index.astype('f4'), of


def retrieval() -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    torch.set_num_threads(1)
    queries, asked, index, of = documents_of()

    class Encoded:
        """What theirs asks of a model, with the vectors at hand."""

        similarity_fn_name, similarity = 'cosine', staticmethod(cos_sim)
        model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *_: None)

        def encode_query(self, texts: list[str], **_: object) -> torch.Tensor:
            return torch.from_numpy(queries)

        def encode_document(self, texts: list[str], **_: object) -> torch.Tensor:
            return torch.from_numpy(index[int(texts[0]) : int(texts[0]) + len(texts)])

    evaluator = InformationRetrievalEvaluator(
        {str(i): str(i) for i in range(len(queries))},
        {str(i): str(i) for i in range(len(index))},
        {str(i): {str(label), str(label + 25_000)} for i, label in enumerate(asked)},
        write_csv=False,
    )
    names = {f'precision_at_{k}': f'cosine_precision@{k}' for k in (1, 3, 5, 10)}
    names |= {f'recall_at_{k}': f'cosine_recall@{k}' for k in (1, 3, 5, 10)}
    names |= {f'hit_at_{k}': f'cosine_accuracy@{k}' for k in (1, 3, 5, 10)}
    names |= {'ndcg_at_10': 'cosine_ndcg@10'}
    wanted = {}
    for name in names:
        base, _, k = name.rpartition('_')
        wanted[name] = (metrics.METRICS[f'{base}_k'], {'k': int(k)})
    wanted['mrr'] = (metrics.reciprocal_rank, {'k': 10})
    wanted['map'] = (metrics.average_precision, {'k': 100})
    names |= {'mrr': 'cosine_mrr@10', 'map': 'cosine_map@100'}

    def ours() -> dict[str, float]:
        return judged(index, of, wanted, 100, 'cosine', (queries, asked))

    def theirs() -> dict[str, float]:
        found = evaluator(Encoded())
        return {name: found[theirs] for name, theirs in names.items()}

    return ours, theirs


def metrics_alone() -> tuple[Callable[[], Any], Callable[[], Any]]:
    from ranx import Qrels, Run, evaluate

    queries, asked, index, of = documents_of()
    places, distances = ExactIndex(index).search(queries, 100)
    scores = 2 - distances
    names = [f'{name}@{k}' for name in ('precision', 'recall', 'hit_rate', 'ndcg') for k in (1, 5, 10)]
    names += ['map@100', 'mrr@10', 'r-precision']
    known = {'hit_rate': 'hit', 'precision': 'precision', 'recall': 'recall', 'ndcg': 'ndcg'}

    def ours() -> dict[str, float]:
        nobody, rows = np.full(len(asked), -1), np.arange(len(asked))
        truth = LabelTruth(rows, np.arange(len(of)), nobody, asked[:, None], of[:, None])
        found, relevant = truth.relevance(rows, places), truth.n_relevant
        values = {}
        for name in names[:-3]:
            metric, _, k = name.partition('@')
            values[name] = getattr(metrics, f'{known[metric]}_at_k')(found, relevant, int(k))
        values['map@100'] = metrics.average_precision(found, relevant, 100)
        values['mrr@10'] = metrics.reciprocal_rank(found, relevant, 10)
        values['r-precision'] = metrics.r_precision(found, relevant)
        return {name: float(value.mean()) for name, value in values.items()}

    def built() -> tuple[Any, Any]:
        relevant = Qrels({f'q{i}': {f'd{x}': 1, f'd{x + 25_000}': 1} for i, x in enumerate(asked.tolist())})
        run = {
            f'q{i}': {f'd{place}': score for place, score in zip(*row, strict=True)}
            for i, row in enumerate(zip(places.tolist(), scores.tolist(), strict=True))
        }
        return relevant, Run(run)

    def theirs() -> dict[str, float]:
        return {name: float(value) for name, value in evaluate(*built(), names).items()}

    theirs()  # Numba compiles at the first call
    ready = built()
    least = np.inf
    for _ in range(3):
        start = process_time()
        evaluate(*ready, names)
        least = min(least, process_time() - start)
    EXTRA['metrics'] = {'theirs_without_building_s': round(least, 3)}
    return ours, theirs


EXTRA: dict[str, dict[str, Any]] = {}


def documents(dim: int = 32) -> tuple[Callable[[], Any], Callable[[], Any]]:
    from docarray import Document, DocumentArray

    chance = np.random.default_rng(0)
    labels, asked = chance.integers(0, 2_000, 60_000), chance.integers(0, 2_000, 1_000)
    centres = chance.standard_normal((2_000, dim))

    def filled(of: np.ndarray) -> DocumentArray:
        vectors = (centres[of] + 1.5 * chance.standard_normal((len(of), dim))).astype('f4')
        return DocumentArray(
            Document(embedding=vector, tags={'label': int(label), 'finetuner_label': int(label)})
            for vector, label in zip(vectors, of, strict=True)
        )

    index, queries = filled(labels), filled(asked)
    sizes = {label: int(count) for label, count in enumerate(np.bincount(labels, minlength=2_000))}
    names = ['precision_at_k', 'recall_at_k', 'hit_at_k', 'average_precision', 'reciprocal_rank', 'f1_score_at_k']

    def ours() -> dict[str, float]:
        # Definitions of the original are those of docarray.
        return Evaluator(queries, index, metrics=names).evaluate(limit=20, legacy=True)

    def theirs() -> dict[str, float]:
        queries.match(index, limit=20, metric='cosine')
        return queries.evaluate(names, num_relevant_documents_per_label=sizes)

    return ours, theirs


def wide() -> tuple[Callable[[], Any], Callable[[], Any]]:
    return documents(128)


CASES = {
    'complete': complete,
    'classes': classes,
    'retrieval': retrieval,
    'metrics': metrics_alone,
    'documents': documents,
    'wide': wide,
}


def measure(case: str) -> dict[str, Any]:
    """Both sides of one case, in turn."""
    ours, theirs = CASES[case]()
    sides = {'ours': ours, 'theirs': theirs}
    values: dict[str, dict[str, float]] = {}
    cpu, memory = dict.fromkeys(sides, np.inf), dict.fromkeys(sides, 0.0)
    judged(*(part[:500] for part in clusters()), ['hit_at_k'], 1, 'cosine')  # what is imported when first used

    def timed(side: str) -> None:
        start = process_time()
        values[side] = sides[side]()
        cpu[side] = min(cpu[side], process_time() - start)

    for side in sides:
        memory[side] = peak_megabytes(partial(timed, side))
    for _ in range(ROUNDS.get(case, 4) - 1):
        for side in sides:
            timed(side)
    apart = max(abs(values['ours'][name] - values['theirs'][name]) for name in values['theirs'])
    assert apart < 1e-5, values
    return {
        'cpu_s': {side: round(float(seconds), 3) for side, seconds in cpu.items()},
        'ratio': round(float(cpu['theirs'] / cpu['ours']), 2),
        'peak_mb': {side: round(mb, 1) for side, mb in memory.items()},
        'less_memory': round(memory['theirs'] / max(memory['ours'], 0.1), 1),
        'largest_difference': float(f'{apart:.1e}'),
        'metrics': len(values['theirs']),
        **EXTRA.get(case, {}),
    }


def demo() -> dict[str, Any]:
    """The CPU time of the demo's evaluations and of its training."""
    from finetuner import demo as module

    spent: dict[str, list[float]] = {'evaluate': [], 'fit': []}

    def timed(name: str) -> Callable[..., Any]:
        call = getattr(module, name)

        def of(*args: Any, **options: Any) -> Any:
            start = process_time()
            result = call(*args, **options)
            spent[name].append(process_time() - start)
            return result

        return of

    for name in spent:
        setattr(module, name, timed(name))
    with tempfile.TemporaryDirectory() as folder:
        module.run(output=folder)
    evaluation, training = sum(spent['evaluate']), sum(spent['fit'])
    return {
        'evaluations': len(spent['evaluate']),
        'cpu_s': {'evaluation': round(evaluation, 3), 'training': round(training, 3)},
        'share': round(evaluation / training, 4),
        'target': 0.05,
    }


def main(names: list[str]) -> int:
    """Measure the cases, each in a process of its own; 1 if ours misses a target."""
    import json

    path = RESULTS / 'evaluation.json'
    results = json.loads(path.read_text()) if path.exists() else {}
    missed = False
    for name in names or [*CASES, 'demo']:
        if name in PEERS and find_spec(PEERS[name]) is None:
            print(f'{name} is left out: {PEERS[name]} is not installed')
            continue
        results[name] = told('evaluation', '--tell', name)
        if name in TARGETS:
            faster, smaller = TARGETS[name]
            results[name] |= {'target': faster, 'target_memory': smaller}
            missed |= results[name]['ratio'] < faster or results[name]['less_memory'] < (smaller or 0)
        missed |= results[name].get('share', 0) > 0.05
        print(name, results[name], flush=True)
        save('evaluation', results)
    return int(missed)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--tell']:
        tell(demo() if sys.argv[2] == 'demo' else measure(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
