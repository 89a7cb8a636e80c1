"""A training in this process: data, defaults and checks, then the loop of the model's framework."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any
from weakref import WeakKeyDictionary

from finetuner import inference
from finetuner.console import logger
from finetuner.data.augmentation.choice import choose, still
from finetuner.data.batch import Loader
from finetuner.data.csv import CSVOptions
from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.split import JUDGED
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, whole_number
from finetuner.losses import registry
from finetuner.losses.base import Loss
from finetuner.precision import is_transformer
from finetuner.tailor.needed import as_needed
from finetuner.tuner import (
    activations,
    devices as spread,
    execution,
    fitting,
    found,
    guide as guides,
    optimizers,
    range_test,
    refit as again,
    schedule,
)
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.evaluation import EvaluationCallback
from finetuner.tuner.callbacks.progress_bar import ProgressBarCallback
from finetuner.tuner.callbacks.views import DropoutViews
from finetuner.tuner.chunks import chunks
from finetuner.tuner.course import course
from finetuner.tuner.held import asked, guarded, held
from finetuner.tuner.history import History
from finetuner.tuner.loading import by_batch, in_chunks, make_eval_loader, make_loader, resized
from finetuner.tuner.means import class_means
from finetuner.typing import CollateFn, PreprocessFn

SEED = 42

OF_DROPOUT = 1e-5
"""The highest learning rate for a transformer whose views differ by dropout alone: a faster one forgets much of what it
knows of meaning, for it drives apart whatever is near. The rates of Gao et al., 2021 (SimCSE) begin here."""

HISTORIES: WeakKeyDictionary[Any, History] = WeakKeyDictionary()


@spread.together
def train(
    model: Any,
    train_data: Any,
    eval_data: Any = None,
    *,
    epochs: int | None,
    batch_size: int | str | None,
    mini_batch_size: int | None,
    accumulate: int,
    loss: Any,
    loss_options: dict[str, Any] | None,
    loss_optimizer: str | None,
    loss_optimizer_options: dict[str, Any] | None,
    miner: Any,
    miner_options: dict[str, Any] | None,
    optimizer: str | None,
    optimizer_options: dict[str, Any] | None,
    learning_rate: float | str | None,
    configure_optimizer: Callable[[Any], Any] | None,
    scheduler: str | None,
    scheduler_options: dict[str, Any] | None,
    scheduler_step: str,
    layer_wise_lr_decay: float | None,
    head_learning_rate: float | None,
    num_items_per_class: int | None,
    supervision: str | None,
    csv_options: CSVOptions | None,
    allow_urls: bool,
    preprocess_fn: PreprocessFn | None,
    collate_fn: CollateFn | None,
    augmentation: Any,
    guide: Any,
    to_embedding_model: bool | None,
    tailoring: dict[str, Any],
    callbacks: Sequence[Callback] | None,
    num_workers: int,
    device: str | None,
    precision: str | int | None,
    compile: bool,
    gradient_checkpointing: bool,
    group_by_length: bool | None,
    cache_activations: bool | None,
    devices: int | None,
    num_nodes: int | None,
    strategy: str | None,
    seed: int | None,
    resume: str | Path | None,
    val_split: float | None,
    guard: bool,
    refit: bool,
) -> tuple[Any, History]:
    """Tune `model` in place, or what Tailor makes of it; the arguments are those of `finetuner.fit`."""
    coder = inference.encoder(model)
    world, n_devices = spread.join(coder, device, devices, num_nodes, strategy)
    device = world.device or device
    of_csv = {'csv_options': csv_options, 'allow_urls': allow_urls or None}
    reading: dict[str, Any] = {name: value for name, value in of_csv.items() if value is not None}
    reading['supervision'] = supervision
    everything = read(train_data, **reading)
    collate_fn = inference.collating(coder, everything, preprocess_fn, collate_fn)
    objective = registry.resolve(
        loss,
        miner,
        loss_options=loss_options,
        miner_options=miner_options,
        kind=everything.kind,
        width=everything.width,
        scores=None if everything.scores is None else everything.scores.shape[1],
    )
    kind = coder.layers()
    transformer = is_transformer(kind)
    seed = whole_number('seed', SEED if seed is None else seed, 0)
    epochs = whole_number('epochs', (3 if transformer else 10) if epochs is None else epochs, 1)
    accumulate = whole_number('accumulate', accumulate, 1)
    watching = [one for one in _watching(callbacks) if not (world.rank and one.writes)]
    sought = found.sought(batch_size, mini_batch_size, learning_rate, resume, n_devices)
    planned = course(
        coder.framework,
        optimizer=optimizer,
        optimizer_options=optimizer_options,
        learning_rate=learning_rate,
        configure_optimizer=configure_optimizer,
        scheduler=scheduler,
        scheduler_options=scheduler_options,
        scheduler_step=scheduler_step,
        layer_wise_lr_decay=layer_wise_lr_decay,
        head_learning_rate=head_learning_rate,
    ).known(sought.rate)
    if planned.finds and any(callback.unfreezes for callback in watching):
        raise ArgumentError(
            "learning_rate='find' tries rates on the weights that train in the beginning, and a callback has others "
            'train later: give learning_rate a number.'
        )
    learns = any(isinstance(loss, Loss) and loss.parameters(1, 1) for loss in objective.members())
    of_loss = planned.schedule if learns else None
    learning = optimizers.for_loss(loss_optimizer, loss_optimizer_options, coder.framework, of_loss)
    if not learns and (loss_optimizer is not None or loss_optimizer_options):
        raise ArgumentError(f'{objective.loss!r} learns nothing: leave loss_optimizer and its options out.')
    guides.check(guide, objective)
    of_train, of_eval = guides.parts(guide)
    settings: dict[str, Any] = {
        'batch_size': sought.rows,
        'num_items_per_class': num_items_per_class,
        'preprocess_fn': still(preprocess_fn),
        'collate_fn': collate_fn,
        'num_workers': num_workers,
        'seed': seed,
    }
    brought = eval_data if eval_data is None else read(eval_data, **reading)
    parted = held(everything, val_split, guard, brought, watching, seed)
    records, judged = parted.train, parted.judged if brought is None else brought
    if isinstance(guide, tuple) and brought is None:
        raise ArgumentError(
            'guide=(array, array): the second is of eval_data, which is not given. Give the first alone.'
        )
    of_all = of_train
    if parted.judged is not None and guides.is_array(of_train):
        of_all = guides.vectors(of_train, everything)
        of_train, of_eval = of_all[parted.kept], of_all[parted.out]
    views = choose(augmentation, Dataset(records, preprocess_fn), collate_fn)
    of_views: dict[str, Any] = settings | {'preprocess_fn': preprocess_fn, 'augmentation': views.augmentation}
    loader = make_loader(records, objective, **of_views)
    planned.schedule.check(epochs, -(-len(loader) // accumulate))
    here = spread.share(loader, world, kind)
    eval_loader = None
    if judged is not None:
        # Of items alone a loss can only be had of two views; they are the same in every epoch.
        how = of_views if judged.kind == 'instance' else settings
        what = 'eval_data' if brought is not None else 'val_split' if val_split is not None else None
        unguided = guide is not None and of_eval is None
        eval_loader = make_eval_loader(judged, objective, loader, what, unguided, views.dropout, **how)
        if judged.kind in JUDGED and not any(isinstance(c, EvaluationCallback) for c in watching):
            watching.insert(0, EvaluationCallback(judged, num_workers=num_workers))
    if guard:
        watching = guarded(watching)
    again.check(refit, parted.judged, guard, resume)
    watching.insert(0, ProgressBarCallback())
    if views.dropout:
        watching.insert(0, DropoutViews())
    mini_batch_size = in_chunks(sought.chunk, sought.rows, loader, kind)
    inputs, _ = next(iter(loader.epoch(0)))
    _, first = next(chunks(inputs, here, mini_batch_size))
    general, model = model, as_needed(coder, first, to_embedding_model, seed=seed, **tailoring)
    if model is not general:
        coder = inference.encoder(model)
    coder.place(device)  # not the general model, which stays where it is
    running = execution.resolve(precision, compile, gradient_checkpointing, coder, group_by_length, n_devices)
    load(coder.framework, 'halves')  # before large arrays come and go: what stays lies in their midst otherwise
    vectors, taken, fits = fitting.embedded(coder, first, sought.fit)
    dim = vectors.shape[1]  # refuses a model that gives no vectors, before anything is trained
    if not coder.trainable() and not any(callback.unfreezes for callback in watching):
        raise ArgumentError('Every weight of the model is frozen: there is nothing to train. Unfreeze some.')
    activations.cache(
        cache_activations,
        coder,
        Dataset(everything, preprocess_fn, augmentation=views.augmentation),
        [*([] if brought is None else [brought]), *asked(watching)],
        epochs=epochs,
        unfreezes=any(callback.unfreezes for callback in watching),
        views=any(data is not None and data.kind == 'instance' for data in (everything, brought)),
        devices=n_devices,
        collate_fn=collate_fn,
        size=mini_batch_size or fits,
        num_workers=num_workers,
    )
    running = execution.of_what_trains(running, precision, coder)
    if eval_loader is not None:
        eval_loader.keep(coder.rows(eval_loader.dataset, collate_fn))
    own = {name: settings[name] for name in ('preprocess_fn', 'collate_fn', 'num_workers')}
    if eval_loader is not None and of_eval is not None:
        eval_loader.dataset.guide = guides.vectors(of_eval, eval_loader.dataset.records, device=device, **own)
    adapted = coder.adapters() > 0
    whole = adapted or any(callback.unfreezes for callback in watching)
    n_weights = coder.size() if whole else coder.trainable()
    usual = schedule.learning_rate(kind, n_weights, adapted)
    if views.dropout and transformer and not adapted:
        usual = min(usual, OF_DROPOUT)
    optimization = planned.optimization(usual)
    scales = planned.scales(coder, first, optimization.learning_rate)

    def tuner_of(loader: Loader, callbacks: list[Callback], guide: Any) -> Any:
        loader.keep(coder.rows(loader.dataset, collate_fn))
        if guide is not None:
            loader.dataset.guide = guides.vectors(guide, loader.dataset.records, device=device, **own)
        means = None
        if resume is None and any(getattr(loss, 'candidates', None) == 'classes' for loss in objective.members()):
            means = class_means(
                coder,
                loader.dataset,
                batch_size=fits or inference.length(first),
                collate_fn=collate_fn,
                num_workers=num_workers,
                seed=seed,
            )
        return load(coder.framework, 'tuner').Tuner(
            coder,
            objective,
            dim=dim,
            optimization=optimization,
            loss_optimization=learning,
            configure_optimizer=configure_optimizer,
            scheduler_step=scheduler_step,
            callbacks=callbacks,
            seed=seed,
            means=means,
            mini_batch_size=mini_batch_size,
            scales=scales,
            accumulate=accumulate,
            execution=running,
        )

    tuner = tuner_of(loader, watching, of_train)
    tuner.fresh = model is not general

    def of_size(loader: Loader) -> Callable[[int], Loader]:
        return lambda size: resized(loader, objective, size, num_items_per_class)

    rows, loader = loader.layout.rows, sought.sized(tuner, loader, of_size(loader), taken, by_batch(kind))
    mini_batch_size, size = tuner.mini_batch_size, tuner.state.found.get('batch_size', sought.rows)
    if loader.layout.rows != rows:
        of_views['batch_size'] = size
        planned.schedule.check(epochs, -(-len(loader) // accumulate))
        eval_loader = eval_loader and of_size(eval_loader)(size)
    if planned.finds and resume is None:
        tuner.state.found |= range_test.find(tuner, loader, epochs * -(-len(loader) // accumulate))
        planned = planned.known(tuner.state.found['learning_rate'])
        tuner.optimization = optimization = planned.optimization(usual)
    logger.info(
        '%s on %s in %s · %s · %r%s · %s%s · %d batches of %d an epoch%s · %d epochs · seed %d',
        coder.framework, coder.device, running, records.summary(), objective.loss,
        '' if objective.miner is None else f' · {objective.miner!r}',
        planned.described(optimization) if configure_optimizer is None else 'own optimizer',
        f' · {learning.name}, {learning.learning_rate:g} for what the loss learns' if learns else '',
        len(loader), loader.layout.items, f', {accumulate} an update' if accumulate > 1 else '', epochs, seed,
    )  # fmt: skip
    if views.told:
        logger.info('%s', views.told)
    tuner.fit(loader, epochs, eval_loader, resume)
    HISTORIES[model] = history = History.of(tuner.state)
    if refit:

        def of_everything(callbacks: list[Callback], epochs: int) -> tuple[Any, Loader]:
            loader = make_loader(everything, objective, **of_views)
            spread.share(loader, world, [])
            planned.schedule.check(epochs, -(-len(loader) // accumulate))
            return tuner_of(loader, callbacks, of_all), loader

        again.train_anew(tuner, of_everything)
    return model, history


def _watching(callbacks: Sequence[Callback] | None) -> list[Callback]:
    # The user's callbacks, but the progress bar, which every training has.
    if not isinstance(callbacks, list | tuple | NoneType):
        raise ArgumentError(f'callbacks={callbacks!r}: expected a list, such as [EarlyStopping()].')
    for callback in callbacks or ():
        if not isinstance(callback, Callback):
            raise ArgumentError(
                f'callbacks=[…, {callback!r}]: expected instances of finetuner.callback.Callback, '
                f'for example EarlyStopping().'
            )
    return [callback for callback in callbacks or () if not isinstance(callback, ProgressBarCallback)]
