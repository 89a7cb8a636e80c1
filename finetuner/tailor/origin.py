"""How a tailored model was made of which general one, kept beside the model and saved with it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from finetuner import inference
from finetuner.errors import CheckpointError
from finetuner.inference import ORIGIN
from finetuner.tailor import base
from finetuner.tailor.layers import dtype_of, sample
from finetuner.tailor.recipe import Recipe
from finetuner.typing import Inputs


class Origin(NamedTuple):
    """How a model was made.

    Attributes:
        recipe: what was done.
        way: in which way it was cut.
    """

    recipe: Recipe
    way: str


def of(model: Any) -> Origin | None:
    """The origin of a model; None if it was not made by Tailor."""
    found = vars(model).get(ORIGIN)
    return None if found is None else Origin(Recipe.from_dict(found['recipe']), found['way'])


def note(general: Any, cut: base.Cut, recipe: Recipe, batch: Inputs) -> None:
    """Remember how a model was made, so that it can be made again where its framework cannot say how.

    Args:
        general: the model that it was made of.
        cut: what was made.
        recipe: how.
        batch: what the general model was called with.
    """
    found = {'recipe': recipe.to_dict(), 'way': cut.way, 'inputs': _form(batch)}
    if general is not cut.model and inference.encoder(cut.model).architecture() is None:
        found['general'] = inference.encoder(general).facts()
    vars(cut.model)[ORIGIN] = found


def again(general: Any, facts: Mapping[str, Any]) -> Any:
    """The tailored model, made of the general one as another was before.

    Args:
        general: the general model; it is left as it is.
        facts: the `ORIGIN` of the other.

    Raises:
        CheckpointError: it had a head of the user's own.
    """
    recipe = Recipe.from_dict(facts['recipe'])
    if ('module',) in recipe.head:
        raise CheckpointError(
            'The saved model has a projection_head of your own: make the model with to_embedding_model(…, '
            'projection_head=…) again, and give it to load() as its second argument.'
        )
    sizes, dtypes = facts['inputs']
    batch = sample(_tuples(sizes), dtypes)
    cut = base.apply(general, recipe, batch)
    note(general, cut, recipe, batch)
    return cut.model


def _form(batch: Any) -> tuple[Any, Any]:
    # The sizes and the types of the inputs, as `layers.sample` takes them.
    if isinstance(batch, Mapping):
        parts = {name: _form(value) for name, value in batch.items()}
        return {name: size for name, (size, _) in parts.items()}, {name: dtype for name, (_, dtype) in parts.items()}
    if isinstance(batch, list | tuple):
        return [_form(value)[0] for value in batch], [_form(value)[1] for value in batch]
    return list(batch.shape[1:]), dtype_of(batch)


def _tuples(sizes: Any) -> Any:
    # JSON made lists of tuples; a list of lists is several inputs.
    if isinstance(sizes, Mapping):
        return {name: _tuples(size) for name, size in sizes.items()}
    several = bool(sizes) and all(isinstance(size, list) for size in sizes)
    return [_tuples(size) for size in sizes] if several else tuple(sizes)
