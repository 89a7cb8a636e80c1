"""Drawings of classes that were not trained on: `finetuner.fit(model, data)` and the examples of its peer, in turns."""

from time import process_time
from typing import Any

import numpy as np

from benchmarks import models
from finetuner.api import fit
from finetuner.data.samples import mnist, omniglot
from finetuner.evaluation.evaluator import Evaluator

METRICS = ('map_at_r', 'precision_at_k')
TASKS = {
    'omniglot-2': ('Balinese', 'Early_Aramaic'),
    'omniglot-3': ('Greek', 'Korean', 'Latin'),
    'mnist': None,
}
"""By name the alphabets that are searched; the other three or two are trained on. Of MNIST it is 5 to 9, and 0 to 4."""
EPOCHS = 10
"""That `fit` takes for such a network."""

Data = tuple[np.ndarray, np.ndarray]


def data(task: str) -> tuple[Data, Data]:
    """What is trained on and what is searched: (images, labels) each, of other classes."""
    unseen = TASKS[task]
    if unseen is None:
        images, labels = mnist()
        seen = labels < 5
    else:
        images, characters, alphabets = omniglot(models.DRAWN)
        labels = np.unique(characters, return_inverse=True)[1].astype(np.int64)
        seen = ~np.isin(alphabets, unseen)
    return (images[seen], labels[seen]), (images[~seen], labels[~seen])


def compared(task: str, engine: str, seeds: int) -> dict[str, np.ndarray]:
    """Train with each seed from the same first weights, and search.

    Returns:
        'before' and 'after', (seeds, metrics, queries), and 'after seconds' (seeds,). On torch the peer's too:
        '<recipe>, time' after as much CPU time as ours took, '<recipe>, items' after as many items, each with seconds
        and items.
    """
    trained, judged = data(task)
    framework = engine.partition('-')[0]
    evaluator = Evaluator(judged, metrics=METRICS)

    def measured(model: Any) -> np.ndarray:
        evaluator.model = model
        evaluator.evaluate(limit=1, show_progress=False)
        return np.stack([evaluator.per_query[name] for name in METRICS])

    found: dict[str, list[Any]] = {}

    def note(name: str, model: Any, seconds: float, items: int) -> None:
        for key, value in ((name, measured(model)), (f'{name} seconds', seconds), (f'{name} items', items)):
            found.setdefault(key, []).append(value)

    items = EPOCHS * len(trained[1])
    few = np.r_[tuple(np.flatnonzero(trained[1] == label)[:8] for label in np.unique(trained[1])[:5])]
    fit(models.drawings_cnn(framework, 0), (trained[0][few], trained[1][few]), epochs=1)  # what is done once
    for seed in range(seeds):
        model = models.drawings_cnn(framework, seed)
        note('before', model, 0, 0)
        begun = process_time()
        fit(model, trained, seed=seed)
        seconds = process_time() - begun
        note('after', model, seconds, items)
        if engine == 'torch':
            from benchmarks import peers

            for name in peers.RECIPES:
                model = models.drawings_cnn(framework, seed)
                for part, spent, seen in peers.train(model, *trained, name, seed, seconds, items):
                    note(f'{name}, {part}', model, spent, seen)
    return {name: np.array(values) for name, values in found.items()}
