"""Pairs of evaluators to report on."""

import numpy as np

from finetuner.evaluation import Evaluator

MARKUP = '<script>alert(1)</script> & "more"'


class Given(Evaluator):
    """Compares vectors that are given, one an item of the query data and one an item of the index data."""

    def __init__(self, data, vectors, index_data=None, index_vectors=None, metrics=None):
        super().__init__(data, index_data, metrics=metrics)
        self.given = vectors, vectors if index_data is None else index_vectors

    def vectors(self, truth, asked, **options):
        queries, index = self.given
        return queries[truth.queries[asked]], index[truth.index]


def spread(labels, noise, seed=0, dim=6):
    """Vectors around one centre a class; the more noise, the more they overlap."""
    centres = np.random.default_rng(99).standard_normal((int(labels.max()) + 1, dim))
    return (centres[labels] + noise * np.random.default_rng(seed).standard_normal((len(labels), dim))).astype('float32')


def before_and_after(data, labels, before=2.0, after=0.3, **options):
    """Two that have evaluated, worse and better vectors."""
    found = [Given(data, spread(labels, noise)) for noise in (before, after)]
    for evaluator in found:
        evaluator.evaluate(**options)
    return found


def images(count=60, classes=4):
    """Pictures of one colour a class, and their labels."""
    labels = np.arange(count) % classes
    pictures = np.zeros((count, 20, 24, 3), np.uint8)
    pictures[..., 0] = np.linspace(30, 220, classes).astype(np.uint8)[labels][:, None, None]
    pictures[:, 4:12, 4:12, 1] = 200
    return pictures, labels


def texts(count=60, classes=4):
    """Labelled texts, of which some would be markup like some of their labels; and the numbers of these labels."""
    labels = np.arange(count) % classes
    names = [f'class {label}' if label else MARKUP for label in labels]
    return [(f'text {i}' if i % 3 else f'{MARKUP} {i}', name) for i, name in enumerate(names)], labels
