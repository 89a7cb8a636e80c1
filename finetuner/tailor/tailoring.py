"""What people call: list the layers of a model, and make an embedding model of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from finetuner import inference
from finetuner.console import logger, whole
from finetuner.dispatch import get_namespace
from finetuner.errors import ArgumentError, enumerated, strict, whole_number
from finetuner.tailor import adapters, base, origin
from finetuner.tailor.heads import TAILORED, shows
from finetuner.tailor.kernels import SEED
from finetuner.tailor.layers import Layer, sample
from finetuner.tailor.plan import Arguments, Plan, plan
from finetuner.tailor.recipe import Recipe
from finetuner.tailor.table import table
from finetuner.typing import Inputs


@strict
def summary(
    model: Any, input_size: Any = None, input_dtype: Any = None, *, inputs: Inputs | None = None
) -> list[Layer]:
    """The layers of a model as data: one `Layer` for each call, in the order in which the calls end, the model last.

    Args:
        model: of any framework; it is called once, and left as it is.
        input_size: the shape of one item without the batch, (3, 224, 224); a list or dict of shapes for several inputs.
            Not needed for models that say what they take.
        input_dtype: of the inputs: 'float32', 'int64'; a list or dict of several.
        inputs: a batch to call the model with, in place of both.

    Raises:
        ArgumentError: what the model takes is not known.
        ModelError: the model cannot be called so.
    """
    worker = base.tailor(model)
    return worker.trace(model, _batch(worker, model, input_size, input_dtype, inputs))


@strict
def display(
    model: Any,
    input_size: Any = None,
    input_dtype: Any = None,
    *,
    inputs: Inputs | None = None,
    unfold: bool | str | Iterable[str] | None = None,
) -> None:
    """Print the layers of a model: name, path, output shape, parameters, and which can be embedding layers.

    Names and paths are what `to_embedding_model` and `fit` take as `layer_name` and `freeze`; the numbers of blocks are
    what `freeze_layer` counts.

    Args:
        model: of any framework; it is called once, and left as it is.
        input_size: the shape of one item without the batch, (3, 224, 224); a list or dict of shapes for several inputs.
            Not needed for models that say what they take.
        input_dtype: of the inputs: 'float32', 'int64'; a list or dict of several.
        inputs: a batch to call the model with, in place of both.
        unfold: True shows every layer, False one row for each of the blocks that repeat; names or patterns are of the
            blocks to show in full; None folds long tables.

    Raises:
        ArgumentError: what the model takes is not known.
        ModelError: the model cannot be called so.
    """
    layers = summary(model, input_size, input_dtype, inputs=inputs)
    caption = ''
    made = origin.of(model)
    if made is not None:
        caption = f'Made by to_embedding_model: at {made.recipe.at or "the output"}, way of cutting: {made.way}.'
    whole(table(layers, unfold, caption))


@strict
def to_embedding_model(
    model: Any,
    layer_name: str | None = None,
    input_size: Any = None,
    input_dtype: Any = None,
    *,
    inputs: Inputs | None = None,
    freeze: bool | str | Sequence[str] = False,
    freeze_layer: int | None = None,
    output_dim: int | None = None,
    pooling: str | Mapping[str, Any] | None = None,
    projection_head: Any = None,
    normalize: bool = False,
    adapter: str | None = None,
    adapter_options: Mapping[str, Any] | None = None,
    inplace: bool = False,
    seed: int | None = None,
) -> Any:
    """Make an embedding model of a general one: cut off its head, pool, freeze, and add a projection.

    Nothing after the cut runs any more and nothing before it changes; this is verified with the inputs.

    Args:
        model: a classifier or any other model, of any framework; it is left as it is.
        layer_name: the name or path of the last layer that runs, as `display` shows them, also a pattern. None takes
            the last one that carries the representation before the classification head, and says which.
        input_size: the shape of one item without the batch, (3, 224, 224); a list or dict of shapes for several inputs.
            Not needed for models that say what they take.
        input_dtype: of the inputs: 'float32', 'int64'; a list or dict of several.
        inputs: a batch to call the model with, in place of both; a few items are enough.
        freeze: True trains nothing but the head; names, paths or patterns are of layers that are not trained. The
            statistics of BatchNorm stand still with the weights.
        freeze_layer: freezes the first n blocks (stages, transformer layers) and what runs before them; -1 all but the
            last.
        output_dim: the width of the vectors, by a linear projection.
        pooling: how tokens or positions become one vector: 'mean' (the default; it leaves out what `attention_mask`
            does), 'max', 'cls', 'gem', 'attention', or `{'name': 'gem', 'p': 4.0, 'eps': 1e-6, 'learn': False}`.
        projection_head: 'linear', 'mlp' (two layers with BatchNorm), 'identity' (linear, and starts as the identity),
            or a module of the framework, which is not copied.
        normalize: whether vectors have length 1.
        adapter: 'lora' trains small matrices beside linear layers, in place of the weights of the body. What `freeze`
            means gets none, and `finetuner.save` merges them. PyTorch only, with peft.
        adapter_options: `r`, their rank (8); `alpha` (16), they count alpha / r times; `dropout` (0.0);
            `target_modules`, names, endings of paths or patterns of layers (where peft knows the architecture the
            attention's query and value, elsewhere all that are linear), or 'all-linear'.
        inplace: use the weights of `model` itself, in place of a copy.
        seed: of what head and adapters start from, the same in every framework; 42.

    Returns:
        A model of the framework that gives (B, D): it trains, saves and moves as any other.

    Raises:
        ArgumentError: a name means no layer or several, or arguments contradict each other.
        MissingExtraError: peft is not installed, and an adapter is asked for.
        ModelError: the model cannot be called, or cannot be cut there.
    """
    seed = _seed(seed)
    worker, options = base.tailor(model), adapters.check(adapter, adapter_options, freeze)
    places = {} if adapter is None else worker.adaptable(model)
    batch = _batch(worker, model, input_size, input_dtype, inputs)
    wanted = Arguments(layer_name, freeze, freeze_layer, output_dim, pooling, projection_head, normalize)
    layers = worker.trace(model, batch)
    gives = ''
    if layer_name is None:  # else nothing is to be recognised
        gives = TAILORED if origin.of(model) is not None else shows(worker.output(model, batch))
    if adapter is None:
        found = plan(layers, wanted, worker.channels_first, gives)
    else:
        found = adapters.plan_with_adapter(layers, wanted, worker.channels_first, adapter, options, places, gives)
    own = projection_head if ('module',) in found.recipe.head else None
    cut = base.apply(model, found.recipe, batch, projection_head=own, inplace=inplace, seed=seed)
    origin.note(model, cut, found.recipe, batch)
    logger.info('%s Weights that are trained: %s.', explained(found), f'{inference.encoder(cut.model).trainable():,}')
    return cut.model


@strict
def merge(model: Any, *, inplace: bool = False) -> Any:
    """The model without adapters, which gives the same vectors: what these learned is added to the weights beside them.

    The body stays frozen. `finetuner.save` merges by itself.

    Args:
        model: made by `to_embedding_model` or `fit` with an adapter; it is left as it is.
        inplace: take the adapters out of `model` itself, in place of a copy.

    Raises:
        ArgumentError: the model has no adapters.
    """
    worker, found = base.tailor(model), inference.origin_when_merged(model)
    plain = model if inplace else worker.copy(model)
    worker.merge(plain)
    if found is not None:
        vars(plain)[inference.ORIGIN] = found
    return plain


def rebuild(model: Any, recipe: Recipe, inputs: Inputs, projection_head: Any = None, *, seed: int | None = None) -> Any:
    """The embedding model that a recipe makes of the general model, with its weights.

    Args:
        model: the general model; it is left as it is.
        recipe: what `recipe_of` gave, or `Recipe.from_dict`.
        inputs: a batch of two items or more.
        projection_head: the module, if the recipe has one of your own.
        seed: of what head and adapters start from, as in `to_embedding_model`.
    """
    cut = base.apply(model, recipe, inputs, projection_head=projection_head, seed=_seed(seed))
    origin.note(model, cut, recipe, few(inputs))
    return cut.model


def recipe_of(model: Any) -> Recipe:
    """How `to_embedding_model` made this model, as data.

    Raises:
        ArgumentError: it did not make it.
    """
    made = origin.of(model)
    if made is None:
        raise ArgumentError('This model was not made by to_embedding_model here.')
    return made.recipe


def explained(found: Plan) -> str:
    """What is done, for the log: the cut and why there, pooling, what is frozen, the head."""
    recipe, parts = found.recipe, [found.why]
    if recipe.pooling:
        parts.append(f'Pooled by {recipe.pooling.name} to (B, {recipe.pooling.width}).')
    if recipe.adapter:
        paths = recipe.adapter.at
        what = f'adapters of rank {recipe.adapter.r} beside {len(paths)} layer{"s" if len(paths) > 1 else ""}'
        parts.append(f'Trained in place of the body: {what}, {enumerated(paths, most=2)}.')
    elif recipe.frozen:
        parts.append(
            'Everything but the head is frozen.' if '' in recipe.frozen else f'Frozen: {enumerated(recipe.frozen)}.'
        )
    if recipe.head:
        steps = [f'{s[0]} {s[1]} to {s[2]}' if s[0] == 'linear' else s[0] for s in recipe.head]
        parts.append(f'Head: {", ".join(steps)}.')
    return ' '.join(parts)


def _seed(seed: Any) -> int:
    return whole_number('seed', SEED if seed is None else seed, 0)


def _batch(worker: base.Tailor, model: Any, size: Any, dtype: Any, inputs: Inputs | None) -> Inputs:
    if inputs is not None:
        if size is not None or dtype is not None:
            raise ArgumentError('Give input_size and input_dtype, or inputs, not both.')
        arrays: list[Any] = []
        inference.leaves(lambda x: arrays.append(x) if getattr(x, 'shape', None) else None, inputs)
        if not arrays:
            raise ArgumentError(
                f'inputs={str(inputs)[:60]}: expected a batch as the model takes it: an array or a tensor, or a list '
                f'or dict of them.'
            )
        if inference.length(inputs) == 0:
            raise ArgumentError('inputs has no items: give a batch of at least one.')
        return few(inputs)
    if size is not None:
        return sample(size, dtype or 'float32')
    if dtype is not None:
        raise ArgumentError(f'input_dtype={dtype!r} is of input_size: give both, or neither.')
    found = worker.sample(model)
    if found is None:
        raise ArgumentError(
            'This model does not say what it takes: give input_size, the shape of one item without the batch, such as '
            '(784,) or (3, 224, 224) (of a batch x that you call it with, it is x.shape[1:]), with '
            "input_dtype='int64' if items are tokens; or give such a batch itself as inputs=x."
        )
    return found


def few(inputs: Inputs, most: int = 4) -> Inputs:
    """The first items of a batch, two at least: enough to see what a model does; one item comes twice."""
    n = inference.length(inputs)

    def part(x: Any) -> Any:
        if getattr(x, 'ndim', 0) < 1 or x.shape[0] != n:
            return x
        return get_namespace(x).concatenate([x, x]) if n == 1 else x[:most]

    return inference.leaves(part, inputs)
