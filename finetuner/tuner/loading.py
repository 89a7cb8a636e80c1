"""Batches for an objective, and how many of their items are in the model at a time."""

from typing import Any

from finetuner.console import logger
from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.records import Label, Records
from finetuner.data.sampler import make_sampler
from finetuner.errors import ArgumentError, DataError, enumerated, whole_number
from finetuner.losses import registry
from finetuner.losses.base import Loss
from finetuner.losses.objective import Objective
from finetuner.typing import CollateFn, PreprocessFn


def make_loader(
    records: Records,
    objective: Objective,
    *,
    batch_size: int,
    num_items_per_class: int | None,
    preprocess_fn: PreprocessFn | None,
    collate_fn: CollateFn | None,
    num_workers: int,
    seed: int,
    classes: list[Label] | None = None,
    augmentation: PreprocessFn | None = None,
) -> Loader:
    """Batches of some records for an objective.

    Args:
        records: what to make them of.
        objective: what they are for.
        batch_size: as in `finetuner.fit`, like all that follow.
        num_items_per_class: of labelled data.
        preprocess_fn: from an item to its content.
        collate_fn: from contents to the model's input.
        num_workers: processes that prepare batches.
        seed: what chance starts from.
        classes: the classes that the loss has learned, where these are not the data that it learns from.
        augmentation: from a content to a random change of it.

    Raises:
        DataError, ArgumentError: there can be no batch that teaches anything; says why.
    """
    dataset = Dataset(records, preprocess_fn, classes if knows_classes(objective) else None, augmentation)
    sampler = make_sampler(
        dataset, batch_size, num_items_per_class=num_items_per_class, pairs=_pairs(objective), seed=seed
    )
    return Loader(dataset, sampler, collate_fn=collate_fn, num_workers=num_workers, seed=seed, lots=objective.lots)


def make_eval_loader(
    records: Records,
    objective: Objective,
    trained: Loader,
    asked: str | None,
    unguided: bool,
    dropout: bool,
    **settings: Any,
) -> Loader | None:
    """Batches to measure the loss on; None, and a line in the log, where there is no loss of these data.

    Args:
        records: what to measure on.
        objective: what is measured.
        trained: the batches that are trained on.
        asked: the argument of `finetuner.fit` that asks for these data; None for what is held out unasked.
        unguided: whether the objective has a guide that knows nothing of these data.
        dropout: whether views differ by the dropout of the model alone.
        **settings: as those of `make_loader`.

    Raises:
        DataError, ArgumentError: there can be no batch, and they were asked for.
    """
    try:
        registry.check(objective.loss, records.kind, records.width, objective.miner)
        known = Dataset(records, classes=trained.dataset.classes) if knows_classes(objective) else None
        if known is not None and known.label is not None and (known.label < 0).all():
            what = 'eval_data' if asked == 'eval_data' else 'what is held out'
            logger.info('No class of %s is trained: there is no val_loss, only retrieval is measured.', what)
        elif unguided:
            logger.info('The guide is of train_data alone: no val_loss. Give guide=(its array, that of eval_data).')
        elif records.kind == 'instance' and dropout:
            logger.info('Views differ by dropout alone, which rests in evaluation: eval_data gives no val_loss.')
        else:
            return make_loader(records, objective, **settings, classes=trained.dataset.classes)
    except (ArgumentError, DataError) as error:
        if asked is not None:
            raise type(error)(f'{asked}: {error}') from error
        logger.info('There is no val_loss of what is held out: %s', error)
    return None


def resized(loader: Loader, objective: Objective, batch_size: int, num_items_per_class: int | None) -> Loader:
    """The same data in batches of another size; as `make_loader`."""
    data, seed = loader.dataset, loader.seed
    sampler = make_sampler(
        data, batch_size, num_items_per_class=num_items_per_class, pairs=_pairs(objective), seed=seed
    )
    made = Loader(data, sampler, loader.collate_fn, loader.num_workers, seed, objective.lots)
    made.keep(loader.rows)
    return made


def _pairs(objective: Objective) -> bool:
    return any(getattr(loss, 'candidates', 'items') == 'items' for loss in objective.members())


def knows_classes(objective: Objective) -> bool:
    """Whether it learns something of each class, so that the codes of classes must stay the same."""
    return any(
        isinstance(loss, Loss) and (loss.candidates == 'classes' or bool(loss.by_class)) for loss in objective.members()
    )


def in_chunks(size: Any, batch_size: int, loader: Loader, layers: list[str]) -> int | None:
    """The `mini_batch_size` that was asked for, if it can be; None where there is none.

    Args:
        size: as asked for; compared with the batch that was asked for, which may be larger than the data.
        batch_size: as asked for.
        loader: of the batches.
        layers: the class names of the model's layers.

    Raises:
        ArgumentError: it is no part of a batch.
    """
    if size is None:
        return None
    whole, items = whole_number('mini_batch_size', size, 1), batch_size * loader.layout.width
    if whole >= items:
        raise ArgumentError(
            f'mini_batch_size={whole}, and a batch has no more than {items} items: expected a part of it. '
            f'Give a larger batch_size, or leave mini_batch_size out.'
        )
    norms = by_batch(layers)
    if norms and whole < loader.layout.items:
        logger.warning(
            'The model has %s, which normalises every chunk of mini_batch_size=%d items by itself: it learns something '
            'else than from whole batches. LayerNorm would not.', enumerated(norms), whole,
        )  # fmt: skip
    return whole


def by_batch(layers: list[str]) -> list[str]:
    """Which of the class names of a model's layers normalise by batch."""
    return sorted({name for name in layers if 'BatchNorm' in name})
