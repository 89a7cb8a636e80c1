"""A general model becomes an embedding model: what is asked of a framework, and the order in which it is done.

A backend answers the verbs of `Tailor`. Names, the default cut, blocks, pooling by shape and the head as data are
decided once, in the modules beside this one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from finetuner.dispatch import get_framework, load
from finetuner.errors import ArgumentError, ModelError
from finetuner.inference import checked, encoder, length
from finetuner.tailor.kernels import SEED, kernels
from finetuner.tailor.layers import Layer
from finetuner.tailor.plan import Arguments, Plan, plan
from finetuner.tailor.recipe import Adapter, Pooling, Recipe
from finetuner.typing import Inputs

__all__ = ['Arguments', 'Cut', 'Layer', 'Plan', 'Pooling', 'Recipe', 'Tailor', 'apply', 'plan', 'tailor']


class Cut(NamedTuple):
    """A model that ends at a layer.

    Attributes:
        model: it gives that layer's output, a tensor.
        way: how it was cut: 'whole', 'structural', 'graph' or 'wrapper'.
    """

    model: Any
    way: str


class Tailor(ABC):
    """What a framework does to a model; no verb but `freeze` and `unfreeze` changes the model it is given."""

    framework: str
    in_place_of_adapters: str = ''
    """Where the framework has no adapters: what to do, for an error."""
    channels_first: bool = True
    """Whether images are (B, C, H, W)."""
    numbered: bool = False
    """Whether layers without a name of their own are numbered through the process: Keras' dense_7."""

    @abstractmethod
    def sample(self, model: Any) -> Inputs | None:
        """A batch of two items, if the model says what it takes; else None."""

    @abstractmethod
    def trace(self, model: Any, inputs: Inputs) -> list[Layer]:
        """All calls of layers during one pass without training, in the order in which they end; the model last.

        Raises:
            ModelError: the model cannot be called with these inputs; says what was given.
        """

    @abstractmethod
    def output(self, model: Any, inputs: Inputs) -> Any:
        """What the model gives in one pass without training; it is left as it is."""

    @abstractmethod
    def copy(self, model: Any) -> Any:
        """A model with weights of its own."""

    @abstractmethod
    def freeze(self, model: Any, paths: Sequence[str]) -> None:
        """Stop the training of all weights below these paths, in place; their statistics stand still as well."""

    @abstractmethod
    def unfreeze(self, model: Any, paths: Sequence[str]) -> None:
        """Undo `freeze` below these paths, in place, also where more was frozen than they name.

        Weights train again, statistics move again, and norms are in the mode that the model is in. What did not train
        when it was frozen does not train now; where that is not known, it does.
        """

    @abstractmethod
    def cut(self, model: Any, at: str, call: int, inputs: Inputs) -> Cut:
        """A model that gives what the layer gives in this call, and does nothing more; it may share weights.

        Raises:
            ModelError: no way of cutting gives the same numbers.
        """

    def adaptable(self, model: Any) -> Mapping[str, bool]:
        """The paths of the layers that can have an adapter, each with whether it has one unless others are asked for.

        Raises:
            ArgumentError: there are no adapters in this framework.
        """
        raise ArgumentError(f"adapter='lora' is for PyTorch, through peft. {self.in_place_of_adapters}")

    def adapt(self, cut: Cut, adapter: Adapter, seed: int) -> None:
        """Put adapters beside layers of a cut model, in place; its numbers stay the same.

        Args:
            cut: of a general model that is frozen.
            adapter: where they are, by the paths of the general model.
            seed: of what they start from.
        """
        raise ArgumentError(f"adapter='lora' is for PyTorch, through peft. {self.in_place_of_adapters}")

    def merge(self, model: Any) -> None:
        """Add what adapters learned to the weights beside them, and take them out, in place.

        Raises:
            ArgumentError: there are none.
        """
        raise ArgumentError('This model has no adapters to merge: they are made by to_embedding_model(…, adapter=…).')

    @abstractmethod
    def attach(
        self,
        model: Any,
        pooling: Pooling | None,
        head: Sequence[tuple[Any, ...]],
        module: Any,
        kernels: Sequence[np.ndarray | None],
    ) -> Any:
        """The model followed by pooling and head.

        Args:
            model: gives a tensor.
            pooling: None if that is (B, D).
            head: the steps of a recipe.
            module: stands for `('module',)`.
            kernels: for each step the (inputs, outputs) weights of a linear layer; its bias starts as zeros.
        """


def tailor(model: Any) -> Tailor:
    """The tailor of the model's framework.

    Raises:
        ModelError: `model` belongs to no framework that Finetuner knows.
    """
    found: Tailor = load(get_framework(model), 'tailor').Tailor()
    return found


def _check_head(head: Any, framework: str) -> None:
    said = f"projection_head={head!r}: expected 'linear', 'mlp', 'identity' or a module of {framework}, as the model"
    if isinstance(head, type):
        raise ArgumentError(f'{said} is; this is a class, so make one: {head.__name__}(…).')
    try:
        found = get_framework(head)
    except ModelError as error:
        raise ArgumentError(f'{said} is.') from error
    if found != framework:
        raise ArgumentError(f'{said} is; this one is of {found}.')


def apply(
    model: Any,
    recipe: Recipe,
    inputs: Inputs,
    *,
    projection_head: Any = None,
    inplace: bool = False,
    seed: int = SEED,
) -> Cut:
    """The embedding model that a recipe makes of a general model.

    Args:
        model: the general model; it is left as it is.
        recipe: what `plan` gave, or `Recipe.from_dict`.
        inputs: a batch of at least two items.
        projection_head: the module that stands for `('module',)`.
        inplace: whether the weights may be those of `model` itself.
        seed: of what head and adapters start from.

    Returns:
        The embedding model, and the way in which it was cut.
    """
    if (('module',) in recipe.head) != (projection_head is not None):
        raise ArgumentError('The recipe has a head of your own: give the module as projection_head.')
    worker = tailor(model)
    if projection_head is not None:
        _check_head(projection_head, worker.framework)
    if recipe.places:
        recipe = recipe.located(worker.trace(model, inputs), worker.numbered)
    model = model if inplace else worker.copy(model)
    worker.freeze(model, recipe.frozen)
    try:
        return _made(worker, model, recipe, inputs, projection_head, seed)
    except Exception:
        if inplace:
            worker.unfreeze(model, recipe.frozen)
        raise


def _made(worker: Tailor, model: Any, recipe: Recipe, inputs: Inputs, projection_head: Any, seed: int) -> Cut:
    if recipe.adapter is not None:
        known = worker.adaptable(model)
        missing = next((path for path in recipe.adapter.at if path not in known), None)
        if missing is not None:
            raise ModelError(f'The recipe has an adapter at {missing!r}, and this model has no such layer.')
    cut = worker.cut(model, recipe.at, recipe.call, inputs)
    if recipe.adapter is not None:
        worker.adapt(cut, recipe.adapter, seed)
    if recipe.pooling is None and not recipe.head:
        return cut
    starts = kernels(recipe.head, seed)
    try:
        made = worker.attach(cut.model, recipe.pooling, recipe.head, projection_head, starts)
        if projection_head is not None:
            checked(encoder(made).forward(inputs), length(inputs))
    except Exception as error:
        if projection_head is None:
            raise
        raise ModelError(
            f'projection_head cannot follow the layer {recipe.at or "at the end"}: {type(error).__name__}: {error}'
        ) from error
    return cut._replace(model=made)
