"""The samplers, and the one for some data."""

from finetuner.data.dataset import Dataset
from finetuner.data.problems import refuse
from finetuner.data.samplers.base import Sampler
from finetuner.data.samplers.classes import ClassSampler
from finetuner.data.samplers.plain import InstanceSampler, SequentialSampler, ShuffledSampler
from finetuner.data.samplers.rows import RowSampler
from finetuner.data.samplers.sessions import SessionSampler

__all__ = [
    'ClassSampler',
    'InstanceSampler',
    'RowSampler',
    'Sampler',
    'SequentialSampler',
    'SessionSampler',
    'ShuffledSampler',
    'make_sampler',
]


def make_sampler(
    dataset: Dataset,
    batch_size: int,
    *,
    num_items_per_class: int | None = None,
    pairs: bool = True,
    seed: int = 0,
) -> Sampler:
    """The sampler for some data by their kind of supervision.

    Args:
        dataset: what is sampled from.
        batch_size: items in a batch; rows of pairs and scores.
        num_items_per_class: of labelled data, items of one class in a batch.
        pairs: whether items are compared with each other; False for losses that compare items with classes.
        seed: what chance starts from.

    Raises:
        DataError: the data cannot teach anything; says why.
        ArgumentError: no batch of that size can.
    """
    refuse(dataset.records, pairs)
    records = dataset.records
    if records.rows is not None:
        return RowSampler(records.rows, batch_size, seed, apart=records.kind == 'pair')
    if records.session is not None and records.grade is not None:
        return SessionSampler(records.session, records.grade, batch_size, seed)
    if dataset.label is None:
        return InstanceSampler(len(dataset), batch_size, seed=seed)
    if pairs:
        return ClassSampler(dataset.label, batch_size, num_items_per_class, seed)
    return ShuffledSampler(len(dataset), batch_size, seed, most=dataset.label.shape[1])
