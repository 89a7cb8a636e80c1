"""What a user calls: one function a job, dispatched by the kind of model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetuner import saved
from finetuner.data.csv import CSVOptions
from finetuner.data.readers import contents
from finetuner.dispatch import get_framework
from finetuner.encoding.records import embed_records
from finetuner.errors import ArgumentError, ModelError, strict
from finetuner.evaluation.evaluator import Evaluator
from finetuner.synthesis import mining
from finetuner.tuner import callbacks as known
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.history import History
from finetuner.tuner.train import HISTORIES, train
from finetuner.typing import CollateFn, PreprocessFn


@strict
def fit(
    model: Any,
    train_data: Any,
    eval_data: Any = None,
    *,
    epochs: int | None = None,
    batch_size: int | str | None = None,
    mini_batch_size: int | None = None,
    accumulate: int = 1,
    loss: Any = None,
    loss_options: dict[str, Any] | None = None,
    loss_optimizer: str | None = None,
    loss_optimizer_options: dict[str, Any] | None = None,
    miner: Any = None,
    miner_options: dict[str, Any] | None = None,
    optimizer: str | None = None,
    optimizer_options: dict[str, Any] | None = None,
    learning_rate: float | str | None = None,
    configure_optimizer: Callable[[Any], Any] | None = None,
    scheduler: str | None = None,
    scheduler_options: dict[str, Any] | None = None,
    scheduler_step: str = 'batch',
    layer_wise_lr_decay: float | None = None,
    head_learning_rate: float | None = None,
    num_items_per_class: int | None = None,
    supervision: str | None = None,
    csv_options: CSVOptions | None = None,
    allow_urls: bool = False,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    augmentation: Any = None,
    guide: Any = None,
    to_embedding_model: bool | None = None,
    layer_name: str | None = None,
    freeze: bool | str | Sequence[str] = False,
    freeze_layer: int | None = None,
    output_dim: int | None = None,
    pooling: str | Mapping[str, Any] | None = None,
    projection_head: Any = None,
    adapter: str | None = None,
    adapter_options: dict[str, Any] | None = None,
    input_size: Any = None,
    input_dtype: Any = None,
    callbacks: Sequence[Callback] | None = None,
    num_workers: int = 0,
    device: str | None = None,
    precision: str | int | None = None,
    compile: bool = False,
    gradient_checkpointing: bool = False,
    group_by_length: bool | None = None,
    cache_activations: bool | None = None,
    devices: int | None = None,
    num_nodes: int | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    val_split: float | None = None,
    guard: bool = True,
    refit: bool = False,
    resume: str | Path | None = None,
    return_history: bool = False,
) -> Any:
    """Tune an embedding model on labelled data, so that what belongs together is found together.

    The framework is that of the model: a `torch.nn.Module`, a Keras 3 model or layer on any engine, or a
    `paddle.nn.Layer`. What is None is chosen for you and printed.

    Args:
        model: if it gives (B, D) vectors it is tuned in place and returned. Of any other, and of a classifier, an
            embedding model is made, tuned and returned, and the one given stays as it is.
        train_data: a DocumentArray, DocList, list of tuples, `(contents, labels)` arrays, DataFrame, Hugging Face
            dataset, or the path of a CSV file. What is in it decides how it teaches: labels, sessions of matches,
            pairs, scored pairs, or nothing but items.
        eval_data: the like, never trained on: gives `val_loss`, and retrieval metrics before and after.
        epochs: how often all data are seen; 10, or 3 for transformers.
        batch_size: items in a batch (rows for pairs and scores); 64, in chunks if they do not fit into memory.
            'largest' looks for the largest that fits, of 64, 128 and so on, such that an epoch keeps ten batches.
        mini_batch_size: items that are in the model at a time, for a batch larger than memory: it learns what the whole
            batch teaches, in the memory of this many, for one more forward pass. None is for whole batches.
        accumulate: batches whose slopes are averaged into one update. Each meets only itself: for negatives from more
            items take a larger `batch_size` with `mini_batch_size`, for calmer updates this. What is left at the end of
            an epoch makes an update of its own.
        loss: a name, an instance, or `f(anchors, candidates, relation) -> scalar` in the model's framework; chosen by
            the kind of data.
        loss_options: parameters of a loss that is given by name.
        loss_optimizer: what trains the proxies, class weights, temperature or margins that a loss learns: 'AdamW', or
            another of those that `optimizer` can be. Its rate follows the schedule of the model's.
        loss_optimizer_options: `learning_rate` (0.01, of SGD 0.1) and those of the optimizer; there is no weight decay
            by default.
        miner: a name or an instance; none by default.
        miner_options: parameters of a miner that is given by name.
        optimizer: 'AdamW', 'Adam', 'SGD', 'RMSprop', 'Adagrad', 'Adadelta', 'Adamax', 'NAdam', 'RAdam' (PyTorch and
            Paddle) or 'Lion' (Keras); all with clipping. Bring any other with `configure_optimizer`.
        optimizer_options: `weight_decay`, `beta_1`, `beta_2`, `epsilon`, `momentum`, `nesterov`, `rho` and
            `momentum_decay`, as far as the optimizer has them.
        learning_rate: the highest; 1e-3, or 1e-4 to 3e-5 for transformers by their size, 3e-3 to 1e-3 for adapters,
            1e-5 for transformers whose views differ by dropout alone; of some optimizers a multiple of that. 'find'
            looks for it first, by a short training at rates that rise, of which nothing stays.
        configure_optimizer: `f(model) -> optimizer` or `(optimizer, scheduler)` of the model's framework, in place of
            the other arguments of the optimizer and the schedule.
        scheduler: 'linear', 'cosine', 'cosine_with_restarts', 'polynomial', 'constant' or 'constant_with_warmup'.
        scheduler_options: `num_warmup_steps` (0.1, a part of all; or a whole number), `num_training_steps` ('auto'),
            `scheduler_step`, `num_cycles`, `power` and `lr_end`, as far as the schedule has them.
        scheduler_step: whether the rate changes with every 'batch' or 'epoch'; of 'epoch' all steps are epochs. A Keras
            schedule of your own steps by itself.
        layer_wise_lr_decay: the rate of each block, as a part of the rate of the block above it; 0.9, for instance.
        head_learning_rate: of the head that was attached to the model, by Tailor.
        num_items_per_class: of labelled data, items of one class in a batch; at least 4 where there are as many.
        supervision: what the data are read as: 'class', 'session', 'pair', 'score' or 'instance' (items alone); what
            they look like by default.
        csv_options: how a CSV file is read.
        allow_urls: whether addresses in a CSV file may be fetched.
        preprocess_fn: from an item (a document, or the content as given) to its content, when it is needed. Where a
            model is measured or encodes, its `still` form is taken, if it has one.
        collate_fn: from a list of contents to the model's input, or a tokenizer of transformers. By default arrays are
            stacked, and texts go through the tokenizer of a SentenceTransformer.
        augmentation: what changes the contents at random, in training alone: 'image', 'points' or 'text', an instance
            such as `finetuner.data.augmentation.ImageAugmentation(…)`, or a function from a content to a content. None
            changes items without labels as suits them, unless `preprocess_fn` is random, and no others; where nothing
            suits them, and with 'dropout', the views of an item differ by the dropout of the model. False changes
            nothing.
        guide: for losses and miners that ask one, such as GISTEmbedLoss and GuidedMiner: a model of any framework,
            which sees the same inputs; `f(list of contents) -> (n, G)`; or an array with a vector for each item, in
            the order of `embed(model, train_data)`, or a tuple of two, for `train_data` and `eval_data`. It is asked
            once, before the training.
        to_embedding_model: whether to make an embedding model of the model first, as `finetuner.to_embedding_model`
            does. None does if one of the arguments from here to `input_dtype` is given, which are that function's, if
            the model does not give (B, D), or if its last layer is certainly a classifier. False never does.
        layer_name: the layer whose output is taken.
        freeze: True, or names of layers whose weights stay as they are.
        freeze_layer: freezes the first blocks, -1 all but the last.
        output_dim: attaches a projection to vectors of this size.
        pooling: 'mean', 'max', 'cls', 'gem' or 'attention', where the layer has places or tokens.
        projection_head: a module of the framework to attach (it is not copied), or 'linear', 'mlp' or 'identity'.
        adapter: 'lora' trains small matrices beside linear layers, in place of the weights of the model (PyTorch).
        adapter_options: `r`, `alpha`, `dropout` and `target_modules` of the adapter.
        input_size: of one item, where it shall not be seen from the first batch.
        input_dtype: of one item, with `input_size`.
        callbacks: told of everything that happens, see `finetuner.callback`.
        num_workers: processes that prepare batches; 0 prepares them in between.
        device: 'cpu' or 'cuda'; a GPU if there is one.
        precision: what the model computes in while it trains: '32', 'bf16', or '16' on a GPU (PyTorch). Weights,
            optimizer, loss and evaluation stay in float32. None or 'auto' takes bf16 where it is faster and as good: on
            a GPU with units for it, and for large transformers on a CPU with them (PyTorch).
        compile: whether the framework compiles the model for training: the first step takes long, the others less.
            Keras on jax always does, on torch never.
        gradient_checkpointing: whether the model keeps few activations and computes the others again for the slopes:
            less memory, for a third more time. For models of transformers.
        group_by_length: whether the texts of a batch go through the model in groups of like length, so that little
            padding is computed (PyTorch and Paddle). Which items meet does not change. None does where it is less work
            and padding does not change what the model gives, which is tried.
        cache_activations: whether what the frozen part of a model gives, below all that trains, is computed once, kept
            in a file and trained on; dropout in that part then rests. None does so where it can be and is worth while,
            and says so; True refuses where it cannot; False computes it in every epoch.
        devices: on each machine, that train together on batches of `batch_size` in all. For PyTorch and Paddle these
            are processes that `torchrun`, Slurm or `paddle.distributed.launch` started, and None takes all of them; for
            Keras on jax they are those that jax sees in this process, and None takes one.
        num_nodes: machines; as many as the launcher says by default.
        strategy: 'ddp', the only one: every device has the whole model.
        seed: of everything left to chance; 42.
        val_split: the part of `train_data` that is held out and never trained on: the training is judged by it before
            and after. None holds out a tenth, at most 2,000, of 20 classes or more some as a whole; nothing if that is
            too little to judge by (30 queries), or if `eval_data` or an EvaluationCallback is given.
        guard: whether to end with the weights of the best epoch, and with those from before the training if the best
            are worse than these by more than a standard error, where there are held-out data; see
            `finetuner.callback.Guard`.
        refit: whether to train once more, on the held-out data too, for as many epochs as were best, if the guard found
            nothing worse. What was measured is of the first training.
        resume: the folder of a `TrainingCheckpoint`, or the one that the log of an interrupted training names, to go
            on where it was written.
        return_history: whether to return `(model, history)`.

    Returns:
        The tuned model: the one given, or the embedding model that was made of it.

    Raises:
        ArgumentError: an argument is unknown or impossible.
        DataError: the data cannot teach anything; names the items.
        ModelError: the model is none, or no embedding model can be made of it.
        CheckpointError: `resume` is no whole checkpoint of this training.
        TrainingError: the loss is not finite, or there is no memory left.
    """
    model, record = train(
        model,
        train_data,
        eval_data,
        epochs=epochs,
        batch_size=batch_size,
        mini_batch_size=mini_batch_size,
        accumulate=accumulate,
        loss=loss,
        loss_options=loss_options,
        loss_optimizer=loss_optimizer,
        loss_optimizer_options=loss_optimizer_options,
        miner=miner,
        miner_options=miner_options,
        optimizer=optimizer,
        optimizer_options=optimizer_options,
        learning_rate=learning_rate,
        configure_optimizer=configure_optimizer,
        scheduler=scheduler,
        scheduler_options=scheduler_options,
        scheduler_step=scheduler_step,
        layer_wise_lr_decay=layer_wise_lr_decay,
        head_learning_rate=head_learning_rate,
        num_items_per_class=num_items_per_class,
        supervision=supervision,
        csv_options=csv_options,
        allow_urls=allow_urls,
        preprocess_fn=preprocess_fn,
        collate_fn=collate_fn,
        augmentation=augmentation,
        guide=guide,
        to_embedding_model=to_embedding_model,
        tailoring={
            'layer_name': layer_name,
            'freeze': freeze,
            'freeze_layer': freeze_layer,
            'output_dim': output_dim,
            'pooling': pooling,
            'projection_head': projection_head,
            'adapter': adapter,
            'adapter_options': adapter_options,
            'input_size': input_size,
            'input_dtype': input_dtype,
        },
        callbacks=callbacks,
        num_workers=num_workers,
        device=device,
        precision=precision,
        compile=compile,
        gradient_checkpointing=gradient_checkpointing,
        group_by_length=group_by_length,
        cache_activations=cache_activations,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
        seed=seed,
        val_split=val_split,
        guard=guard,
        refit=refit,
        resume=resume,
    )
    return (model, record) if return_history else model


def history(model: Any) -> History:
    """What happened when `model` was tuned last in this process.

    Raises:
        ArgumentError: it was not.
    """
    if model not in HISTORIES:
        raise ArgumentError('This model was not tuned in this process: there is no history of it.')
    return HISTORIES[model]


list_callbacks = known.list_callbacks


@strict
def embed(
    model: Any,
    data: Any,
    *,
    batch_size: int | None = None,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    device: str | None = None,
    num_workers: int = 0,
    show_progress: bool | None = None,
    precision: str | int | None = '32',
    normalize: bool = False,
    output: str | Path | None = None,
    processes: int = 1,
) -> np.ndarray:
    """The vectors of all items, in evaluation mode, in float32; `encode` is another name of it.

    Texts of like length go through the model together, the longest first, and their vectors come back in the order of
    the data. Where a batch does not fit into memory, halves of it do.

    Args:
        model: gives (B, D) vectors; its mode is left as it was. `embed(docs, model)`, the original's order, is
            recognised.
        data: anything that `fit` takes, or contents alone: a list or an array (N, …). Documents also get their
            `embedding`; of a document with matches only the document itself is encoded.
        batch_size: items at a time, at most. None chooses: texts with a tokenizer by their tokens, all else 64.
            Vectors do not depend on it beyond rounding.
        preprocess_fn: as in `fit`.
        collate_fn: as in `fit`; the tokenizer of a SentenceTransformer by default.
        device: 'cpu' or 'cuda'; a GPU if there is one.
        num_workers: processes that prepare batches.
        show_progress: None shows a bar on a terminal.
        precision: what the model computes in: '32', 'bf16', or '16' on a GPU; weights and vectors stay in float32.
            'auto' takes bf16 where it is faster, as in `fit`, and on some of the items gives vectors with a cosine of
            0.9999 or more to those in float32.
        normalize: whether vectors are of length 1; vectors of zeros stay.
        output: the path of an .npy file to write the vectors to. It is there when it is whole; the same call goes on
            where one was interrupted or killed, and finds its file when it is done.
        processes: how many share the work, each with one thread and the same model (PyTorch on a CPU, where there is
            fork). The vectors are the same.

    Returns:
        (N, D) float32; with `output` mapped from the file, to be read.

    Raises:
        ArgumentError: an argument is impossible, or `output` is another file.
        ModelError: the model is none, or gives no (B, D) output.
        DataError: an item cannot be read, or does not fit into memory; names it.
        CheckpointError: a part of `output` is there, of another model, other data or settings.
        StorageError: there is no room for `output`.
    """
    if _is_model(data) and not _is_model(model):
        model, data = data, model
    records = contents(data)
    vectors = embed_records(
        model,
        records,
        batch_size=batch_size,
        preprocess_fn=preprocess_fn,
        collate_fn=collate_fn,
        device=device,
        num_workers=num_workers,
        show_progress=show_progress,
        precision=precision,
        normalize=normalize,
        output=output,
        processes=processes,
    )
    records.fill(vectors)
    return vectors


encode = embed


mine_hard_negatives = strict(mining.mine_hard_negatives)


@strict
def evaluate(
    model: Any,
    query_data: Any,
    index_data: Any = None,
    *,
    metrics: Any = None,
    limit: int | Sequence[int] = 20,
    distance: str = 'cosine',
    exclude_self: bool = True,
    legacy: bool = False,
    engine: str | None = None,
    batch_size: int | None = None,
    preprocess_fn: PreprocessFn | None = None,
    collate_fn: CollateFn | None = None,
    device: str | None = None,
    num_workers: int = 0,
    show_progress: bool | None = None,
) -> dict[str, float]:
    """Retrieval metrics of a model: every query searches the index.

    Args:
        model: gives (B, D) vectors.
        query_data: what is searched for, with labels, matches or pairs.
        index_data: what is searched; None searches the queries themselves.
        metrics: names, or `{name: (function, options)}`; None takes the usual ones, which do not include those of the
            vectors themselves: 'nmi', 'purity', 'knn_accuracy', 'alignment' and 'uniformity'.
        limit: how many results count; a list gives the metrics at each.
        distance: 'cosine', 'euclidean', 'sqeuclidean' or 'dot'.
        exclude_self: whether a query is no result of its own search.
        legacy: the original's definitions of the metrics.
        engine: what searches: 'numpy', 'torch' or 'faiss', with the same results; None chooses.
        batch_size: as in `embed`, like all that follow.
        preprocess_fn: from an item to its content.
        collate_fn: from a list of contents to the model's input.
        device: 'cpu' or 'cuda'; a GPU if there is one.
        num_workers: processes that prepare batches.
        show_progress: None shows a bar on a terminal.

    Returns:
        The mean over queries, by the name of the metric.
    """
    return Evaluator(query_data, index_data, model, metrics=metrics).evaluate(
        limit=limit,
        distance=distance,
        exclude_self=exclude_self,
        legacy=legacy,
        engine=engine,
        batch_size=batch_size,
        preprocess_fn=preprocess_fn,
        collate_fn=collate_fn,
        device=device,
        num_workers=num_workers,
        show_progress=show_progress,
    )


save = saved.save


load = saved.load


def _is_model(thing: Any) -> bool:
    try:
        get_framework(thing)
    except ModelError:
        return False
    return True
