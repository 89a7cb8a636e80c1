"""What a guide, another model, makes of the items: vectors by which losses and miners tell false negatives."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from finetuner import inference
from finetuner.console import track
from finetuner.data.chance import seeded
from finetuner.data.dataset import Dataset
from finetuner.data.records import Records
from finetuner.dispatch import get_framework, get_namespace
from finetuner.encoding.records import embed_records
from finetuner.errors import ArgumentError, ModelError
from finetuner.losses.objective import Objective
from finetuner.typing import CollateFn, PreprocessFn


def check(guide: Any, objective: Objective) -> None:
    """Refuse a guide that nobody asks, and an objective that lacks one.

    Args:
        guide: as in `finetuner.fit`.
        objective: what training lowers.

    Raises:
        ArgumentError: says what to give or to leave out.
    """
    asking = [one for one in (*objective.members(), objective.miner) if _guided(one)]
    if asking and guide is None:
        raise ArgumentError(
            f'{type(asking[0]).__name__} needs a guide: fit(…, guide=model), a function from a list of contents to '
            f'(n, G) vectors, or an array with a vector for each item.'
        )
    if guide is not None and not asking:
        raise ArgumentError(
            "No loss and no miner asks the guide: take loss='GISTEmbedLoss' or miner='GuidedMiner', or leave it out."
        )


def _guided(one: Any) -> bool:
    return bool(getattr(one, 'guided', False) or getattr(getattr(one, 'miner', None), 'guided', False))


def parts(guide: Any) -> tuple[Any, Any]:
    """The guide of the training data and that of `eval_data`, None where there is none.

    Args:
        guide: a model or function, which is both; an array, which is the first; or a tuple of two arrays.
    """
    if isinstance(guide, tuple) and len(guide) == 2:
        return guide
    return guide, None if is_array(guide) else guide


def is_array(guide: Any) -> bool:
    """Whether it is vectors, and nothing that could be asked for more of them."""
    return guide is not None and not _is_model(guide) and not callable(guide)


def vectors(
    guide: Any,
    records: Records,
    *,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    device: str | None = None,
    num_workers: int = 0,
) -> np.ndarray:
    """The (n, G) float32 vectors that a guide gives the items of some records, in their order.

    Args:
        guide: a model of any framework, whose mode stays as it is; `f(list of contents) -> (n, G)`; or the vectors.
        records: the items.
        preprocess_fn: from an item to its content.
        collate_fn: from contents to a model's input.
        device: where a model runs.
        num_workers: processes that prepare batches for a model.

    Raises:
        ArgumentError: there is not one vector of finite numbers for each item.
    """
    found: np.ndarray
    if _is_model(guide):
        found = embed_records(
            guide,
            records,
            preprocess_fn=preprocess_fn,
            collate_fn=collate_fn,
            device=device,
            num_workers=num_workers,
        )
    elif callable(guide):
        found = np.concatenate(list(_asked(guide, Dataset(records, preprocess_fn).alone())))
    else:
        found = _array(guide)
    if found.ndim != 2 or len(found) != len(records):
        raise ArgumentError(
            f'The guide gives an array of shape {found.shape}: expected a vector for each item, ({len(records)}, G), '
            f'in the order of finetuner.embed(model, data).'
        )
    if not np.isfinite(found).all():
        raise ArgumentError('The guide gives vectors with NaN or infinite numbers.')
    return found


def _asked(guide: Callable[[list[Any]], Any], dataset: Dataset) -> Iterator[np.ndarray]:
    size = inference.BATCH_SIZE
    starts = range(0, len(dataset), size)
    for number, start in enumerate(track(starts, len(starts), 'Asking the guide', None)):
        with seeded(0, 0, number):
            contents = [dataset.content(slot) for slot in range(start, min(start + size, len(dataset)))]
        given = _array(guide(contents))
        if given.ndim != 2 or len(given) != len(contents):
            raise ArgumentError(
                f'The guide gives an array of shape {given.shape} for {len(contents)} contents: '
                f'expected ({len(contents)}, G).'
            )
        yield given


def _array(given: Any) -> np.ndarray:
    try:
        return np.asarray(get_namespace(given).to_numpy(given), np.float32)  # also of a tensor on a device
    except TypeError:
        pass
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise ArgumentError(
            f'guide={given!r} is none: expected a model, a function from a list of contents to (n, G) vectors, or an '
            f'array with a vector for each item.'
        ) from None


def _is_model(guide: Any) -> bool:
    try:
        get_framework(guide)
    except ModelError:
        return False
    return True
