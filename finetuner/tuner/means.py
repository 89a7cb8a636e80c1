"""Where what a loss learns of each class starts: the mean direction of the class in the untuned model."""

import numpy as np

from finetuner import inference
from finetuner.console import logger
from finetuner.data.dataset import Dataset, occurrence
from finetuner.encoding.records import embed_records
from finetuner.losses.classes import unit
from finetuner.typing import CollateFn

PER_CLASS = 32
IN_ALL = 20_000
_CHANCE = 2  # tells this chance from that of batches


def class_means(
    coder: inference.Encoder,
    dataset: Dataset,
    *,
    batch_size: int | None = None,
    collate_fn: CollateFn | None = None,
    num_workers: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """The (C, D) float32 mean directions, of length 1, of the classes as the model sees them in evaluation mode.

    A sample of the items is embedded, `PER_CLASS` of a class and `IN_ALL` together at most; of a class that is not
    among them the direction is zeros.

    Args:
        coder: the model, placed on its device.
        dataset: items with labels.
        batch_size: items at a time.
        collate_fn: from contents to the model's input.
        num_workers: processes that prepare batches.
        seed: of the sample.
    """
    assert dataset.label is not None
    places = sample(dataset.label, seed)
    logger.info('%d classes start from the mean vectors of %d items.', len(dataset.classes), len(places))
    vectors = embed_records(
        coder,
        dataset.records.chosen(places),
        batch_size=batch_size,
        preprocess_fn=dataset.preprocess_fn,
        collate_fn=collate_fn,
        num_workers=num_workers,
    )
    return directions(vectors, dataset.label[places], len(dataset.classes))


def sample(label: np.ndarray, seed: int, per_class: int = PER_CLASS, in_all: int = IN_ALL) -> np.ndarray:
    """The numbers of some items, in order, such that all classes have about as many.

    Args:
        label: (n, L) codes, -1 is none.
        seed: what chance starts from.
        per_class: items that are looked for in a class.
        in_all: items at most.
    """
    item, column = np.nonzero(label >= 0)
    shuffled = np.random.default_rng((seed % 2**63, _CHANCE)).permutation(len(item))
    item, own = item[shuffled], label[item, column][shuffled]
    rank = occurrence(own)
    order = np.argsort(rank, kind='stable')
    found, first = np.unique(item[order[rank[order] < per_class]], return_index=True)
    return np.sort(found[np.argsort(first)][:in_all])


def directions(vectors: np.ndarray, label: np.ndarray, n_classes: int) -> np.ndarray:
    """The (C, D) means of unit vectors, of length 1; zeros where there is none.

    Args:
        vectors: (n, D).
        label: (n, L) codes, -1 is none.
        n_classes: C.
    """
    item, column = np.nonzero(label >= 0)
    total = np.zeros((n_classes, vectors.shape[1]))
    np.add.at(total, label[item, column], unit(vectors.astype(np.float64))[item])
    return unit(total).astype(np.float32)
