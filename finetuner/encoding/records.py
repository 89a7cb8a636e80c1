"""From a model and items to vectors: what `finetuner.embed`, evaluation, guides and class means stand on."""

from contextlib import closing
from typing import Any

import numpy as np

from finetuner import precision as precisions
from finetuner.console import logger, progress
from finetuner.data.augmentation.choice import still
from finetuner.data.dataset import Dataset
from finetuner.data.records import Records
from finetuner.data.samplers.plain import counted
from finetuner.encoding import trial
from finetuner.encoding.batches import Place, plan
from finetuner.encoding.halving import Halving
from finetuner.encoding.identity import identity
from finetuner.encoding.output import File, Memory, Output, checked_path
from finetuner.errors import ArgumentError, DataError
from finetuner.inference import collating, encoder
from finetuner.typing import CollateFn, PreprocessFn


def embed_records(
    model: Any,
    records: Records,
    *,
    batch_size: int | None = None,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    device: str | None = None,
    num_workers: int = 0,
    show_progress: bool | None = None,
    precision: Any = '32',
    normalize: bool = False,
    output: Any = None,
) -> np.ndarray:
    """The (n_items, D) float32 vectors of all items of some records, in their order.

    Args:
        model: a model or an `Encoder`; an encoder stays where it is placed.
        records: what `finetuner.data.readers.read` gives.
        batch_size: items at a time, at most; chosen by default. Vectors do not depend on it beyond rounding.
        preprocess_fn: from an item to its content; in its `still` form, if it has one.
        collate_fn: from a list of contents to the model's input; None as `collating` has it.
        device: 'cpu', 'cuda', or None for a GPU if there is one.
        num_workers: processes that prepare batches.
        show_progress: None shows a bar on a terminal.
        precision: as in `finetuner.embed`, like all that follow.
        normalize: whether vectors are of length 1.
        output: the path of an .npy file.
    """
    precisions.named(precision)
    if not isinstance(normalize, bool):
        raise ArgumentError(f'normalize={normalize!r}: expected True or False.')
    if batch_size is not None:
        counted(batch_size)
    path = None if output is None else checked_path(output)
    count = len(records.contents)
    if path is not None and not count:
        raise DataError(f'There is nothing to encode, and so nothing to write to {str(output)!r}: the data are empty.')
    coder = encoder(model)
    if coder is not model:
        coder.place(device)
    wanted = trial.chosen(precision, coder, count)
    dataset = Dataset(records, preprocess_fn=still(preprocess_fn))
    collate_fn = collating(coder, records, preprocess_fn, collate_fn)
    rows = coder.rows(dataset, collate_fn)
    used = coder if rows is None else coder.trained
    batches = plan(used, dataset, collate_fn, batch_size, rows, num_workers)
    target: Output = Memory(count)
    if path is not None:
        used.embed(batches.sample(1))  # what cannot be encoded is refused, and what is built late has weights
        settings = {'precision': str(precision), 'normalize': normalize, 'batch_size': batch_size}
        target = File(path, count, identity(coder, dataset, collate_fn, **settings))
    with closing(target):
        if target.start != Place():
            logger.info('Going on with %s.', path)
        if target.precision is None and not target.done:
            sampled = precision == 'auto' and wanted == 'bf16'
            target.precision = trial.tried(used, batches.sample(trial.SAMPLE)) if sampled else wanted
        if not target.done and count:
            call = Halving(used)
            with used.computing(target.precision or '32'), progress(count, 'Encoding', show_progress) as advance:
                with closing(batches.batches(target.start)) as coming:
                    for batch in coming:
                        names = [batches.name(item) for item in batch.items[:1]]
                        vectors = call(batch.inputs, names)[: len(batch.items)]
                        target.write(batch.items, unit(vectors) if normalize else vectors, batch.after)
                        advance(len(batch.items))
        return target.finish()


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    found: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found
