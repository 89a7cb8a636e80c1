"""The main job in a minute: a small network learns to find handwritten digits it has never seen.

It is trained on the digits 0 to 5 of scikit-learn's collection and searched with 6 to 9, so what it learns is not the
classes but what makes two drawings the same digit.
"""

from pathlib import Path
from typing import Any

import numpy as np

from finetuner.api import embed, evaluate, fit, history
from finetuner.console import live_console
from finetuner.data.samples import digits
from finetuner.dispatch import load
from finetuner.evaluation.gallery import gallery
from finetuner.evaluation.search import top_k
from finetuner.evaluation.table import comparison
from finetuner.inference import encoder
from finetuner.tuner.history import History

METRICS = ['map_at_r', 'precision_at_k', 'reciprocal_rank']
SHOWN = 8  # queries in the picture, with as many results each


def run(framework: str = 'torch', epochs: int = 10, output: str | Path = 'demo') -> History:
    """Tune the network, print retrieval before and after, and draw some queries with their results.

    Args:
        framework: 'torch', 'keras' or 'paddle'.
        epochs: of training.
        output: a folder for the picture, `digits-<framework>.png`.
    """
    images, labels = digits()
    seen = labels < 6
    unseen = images[~seen], labels[~seen]
    model = network(framework)
    # Measured before and after, and not in between: epochs are so short here that a search would be a fifth of each.
    before, first = embed(model, unseen[0]), evaluate(model, unseen, metrics=METRICS, limit=10)
    fit(
        model,
        (images[seen], labels[seen]),
        epochs=epochs,
        guard=False,  # so that what is shown was not chosen by these digits
    )
    after, last = embed(model, unseen[0]), evaluate(model, unseen, metrics=METRICS, limit=10)
    live_console.print(comparison(first, last))
    path = Path(output) / f'digits-{framework}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(*unseen, before, after, path)
    live_console.print(f'Queries with their nearest results, before and after: {path}')
    return history(model)


def network(framework: str, seed: int = 0) -> Any:
    """The network of the demo, with first weights that are the same in every framework.

    Weights and biases are uniform within 1 / sqrt(fan-in).

    Args:
        framework: 'torch', 'keras' or 'paddle'.
        seed: of the weights.
    """
    part = load(framework, 'demo')
    model = part.digits_cnn()
    coder, rng = encoder(model), np.random.default_rng(seed)
    shapes = [(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (16, 64), (16,)]
    weights = {}
    for name, shape, fan_in in zip(coder.weights(), shapes, [9, 9, 288, 288, 64, 64], strict=True):
        value = rng.uniform(-(fan_in**-0.5), fan_in**-0.5, shape).astype(np.float32)
        weights[name] = part.native(value) if len(shape) > 1 else value
    coder.assign(weights)
    return model


def draw(images: np.ndarray, labels: np.ndarray, before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write the picture: evenly spaced queries, and the nearest others before and after."""
    queries = np.linspace(0, len(images) - 1, SHOWN).astype(int)
    found = [top_k(vectors[queries], vectors, SHOWN, exclude=queries)[0] for vectors in (before, after)]
    right = [labels[places] == labels[queries, None] for places in found]
    gallery(images, queries, found[0], found[1], right[0], right[1], path)
