"""Photos of clothes: a small ResNet and a small ViT with random weights, before and after `finetuner.fit`."""

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks import models
from finetuner.api import embed, fit
from finetuner.data.augmentation import vision_preprocessor
from finetuner.data.samples import clothing
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.gallery import gallery
from finetuner.evaluation.search import top_k

METRICS = ('map_at_r', 'precision_at_k')
NEW = ('dress', 'pants', 'shirt')
CASES = ('photos resnet', 'kinds resnet', 'photos vit')
"""What is searched, and the model."""
SHOWN_OF = ('photos', 'resnet')
SHOWN = 6  # queries in the picture, and results of each
SIDE = 72  # pixels of a cell

Photos = tuple[list[np.ndarray], list[str]]


def data(task: str) -> tuple[Photos, Photos]:
    """What is trained on, and what is searched.

    'photos': new ones of the kinds that are trained on, the validation part. 'kinds': all photos of three kinds that
    are not.
    """
    trained, judged = clothing('train'), clothing('validation')
    if task == 'photos':
        return trained, judged
    every = [*zip(*trained, strict=True), *zip(*judged, strict=True)]
    seen = [(photo, kind) for photo, kind in zip(*trained, strict=True) if kind not in NEW]
    unseen = [(photo, kind) for photo, kind in every if kind in NEW]
    return tuple(map(list, zip(*seen, strict=True))), tuple(map(list, zip(*unseen, strict=True)))


def tuned(task: str, kind: str, seeds: int, picture: Path | None = None, **options: Any) -> dict[str, np.ndarray]:
    """Train with each seed, and search all photos that are not trained on with each of them.

    Args:
        task: 'photos' or 'kinds', see `data`.
        kind: of the model, 'resnet' or 'vit'.
        seeds: how many, from 0.
        picture: where to draw what the first seed finds before and after.
        **options: for `fit`.

    Returns:
        'before' and 'after', (seeds, metrics, queries), and 'after seconds' (seeds,).
    """
    trained, judged = data(task)
    still = vision_preprocessor(models.PHOTO, models.PHOTO, normalize=True, phase='validation')
    options = {'preprocess_fn': still, **options}
    evaluator = Evaluator(judged, metrics=METRICS)
    found: dict[str, list[Any]] = {'before': [], 'after': [], 'after seconds': []}

    def note(name: str, model: Any) -> np.ndarray:
        evaluator.model = model
        evaluator.evaluate(limit=1, preprocess_fn=still, show_progress=False)
        found[name].append(np.stack([evaluator.per_query[metric] for metric in METRICS]))
        return embed(model, judged[0], preprocess_fn=still)

    for seed in range(seeds):
        model = models.photos_model(kind, seed)
        before = note('before', model)
        begun = process_time()
        fit(model, trained, seed=seed, **options)
        found['after seconds'].append(process_time() - begun)
        after = note('after', model)
        if picture is not None and not seed:
            draw(*judged, before, after, picture)
    return {name: np.array(values) for name, values in found.items()}


def draw(photos: list[np.ndarray], kinds: list[str], before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Write the picture: queries evenly spaced in the order of the data, each with its nearest before and after.

    Args:
        photos: (N,) what is searched, by itself.
        kinds: (N,) labels.
        before: (N, D) vectors.
        after: (N, D) vectors.
        path: where to.
    """
    queries = np.linspace(0, len(photos) - 1, SHOWN + 2).astype(int)[1:-1]
    labels = np.array(kinds)
    places = [top_k(vectors[queries], vectors, SHOWN, exclude=queries)[0] for vectors in (before, after)]
    right = [labels[one] == labels[queries, None] for one in places]
    picture = gallery(photos, queries, *places, *right, size=SIDE)
    picture.quantize(128).save(path, optimize=True)  # a third of the size, and looks the same
