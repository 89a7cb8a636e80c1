"""From a model and items to vectors: what `finetuner.embed`, evaluation, guides and class means stand on."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from finetuner import precision as precisions
from finetuner.console import logger, progress
from finetuner.data.augmentation.choice import still
from finetuner.data.dataset import Dataset
from finetuner.data.records import Records
from finetuner.data.samplers.plain import counted
from finetuner.data.workers import ordered
from finetuner.dispatch import get_namespace
from finetuner.encoding import trial
from finetuner.encoding.batches import Batch, Place, plan
from finetuner.encoding.halving import Halving
from finetuner.encoding.identity import identity
from finetuner.encoding.output import File, Memory, Output, checked_path
from finetuner.errors import ArgumentError, DataError, whole_number
from finetuner.inference import Encoder, collating, encoder, leaves
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
    processes: int = 1,
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
        processes: how many compute.
    """
    precisions.named(precision)
    if not isinstance(normalize, bool):
        raise ArgumentError(f'normalize={normalize!r}: expected True or False.')
    if batch_size is not None:
        counted(batch_size)
    whole_number('processes', processes, 1)
    path = None if output is None else checked_path(output)
    count = len(records.contents)
    if path is not None and not count:
        raise DataError(f'There is nothing to encode, and so nothing to write to {str(output)!r}: the data are empty.')
    coder = encoder(model)
    if coder is not model:
        coder.place(device)
    if processes > 1 and (why := coder.no_processes()):
        raise ArgumentError(f'processes={processes}: {why}')
    wanted = trial.chosen(precision, coder, count)
    dataset = Dataset(records, preprocess_fn=still(preprocess_fn))
    collate_fn = collating(coder, records, preprocess_fn, collate_fn)
    rows = coder.rows(dataset, collate_fn)
    used = coder if rows is None else coder.trained
    batches = plan(used, dataset, collate_fn, batch_size, rows, num_workers)
    call = Halving(used, batches.name)
    target: Output = Memory(count)
    if path is not None:
        call(*batches.sample(1))  # what cannot be encoded is refused, and what is built late has weights
        settings = {'precision': precisions.named(precision), 'normalize': normalize, 'batch_size': batch_size}
        target = File(path, count, identity(coder, dataset, collate_fn, **settings))
    with closing(target):
        if target.start != Place():
            logger.info('Going on with %s.', path)
            used.pads = target.pads  # tried again, on other texts, it might come out otherwise, and with it the batches
        if target.precision is None and not target.done:
            untried = precisions.named(precision) == 'auto' and wanted == 'bf16'
            target.precision = trial.tried(call, [*batches.sample(trial.size(count))]) if untried else wanted
        if not target.done:
            with (
                used.computing(target.precision or '32'),  # before processes begin, which compute so too
                progress(count, 'Encoding', show_progress) as advance,
                closing(batches.batches(target.start)) as coming,
                closing(_computed(call, _drawn(used, coming), processes)) as computed,
            ):
                for batch, vectors in computed:
                    target.pads = used.pads
                    target.write(batch.items, unit(vectors) if normalize else vectors, batch.after)
                    advance(len(batch.items))
        return target.finish()


def _drawn(coder: Encoder, batches: Iterator[Batch]) -> Iterator[Batch]:
    # What prepares them is people's own, and not to compute as the model does.
    while True:
        with coder.as_is():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _computed(
    call: Halving, batches: Iterable[Batch], processes: int
) -> Generator[tuple[Batch, np.ndarray], None, None]:
    many = 0 if processes == 1 else processes
    # As numpy arrays: tensors of PyTorch would go through shared memory, of which there may be little.
    jobs = ((batch._replace(inputs=leaves(_array, batch.inputs)) if many else batch,) for batch in batches)
    with closing(ordered(call, jobs, many, call.called, 'processes')) as made:
        for (batch,), vectors in made:
            yield batch, vectors


def _array(leaf: Any) -> Any:
    try:
        return get_namespace(leaf).to_numpy(leaf)
    except TypeError:
        return leaf


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    found: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found
