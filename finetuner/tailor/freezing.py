"""What people call to stop the training of parts of a model, and to let them train again."""

from collections.abc import Sequence
from typing import Any

from finetuner.errors import ArgumentError, strict
from finetuner.tailor.base import tailor
from finetuner.tailor.layers import Layer, meant, topmost
from finetuner.tailor.tailoring import summary
from finetuner.typing import Inputs


@strict
def freeze(
    model: Any,
    names: bool | str | Sequence[str] = True,
    *,
    input_size: Any = None,
    input_dtype: Any = None,
    inputs: Inputs | None = None,
) -> Any:
    """Stop the training of parts of a model, in place; the statistics of norms in them stand still as well.

    Args:
        model: of any framework.
        names: True for all of it, or names, paths or patterns of layers as `display` shows them.
        input_size: the shape of one item without the batch; the layers are found in a call of the model. It is not
            needed for models that say what they take, nor where all is meant.
        input_dtype: of the inputs: 'float32', 'int64'; a list or dict of several.
        inputs: a batch to call the model with, in place of both.

    Returns:
        The model.

    Raises:
        ArgumentError: a name means nothing, or what the model takes is not known.
        ModelError: the model cannot be called so.
    """
    tailor(model).freeze(model, _meant('freeze', model, names, input_size, input_dtype, inputs))
    return model


@strict
def unfreeze(
    model: Any,
    names: bool | str | Sequence[str] = True,
    *,
    input_size: Any = None,
    input_dtype: Any = None,
    inputs: Inputs | None = None,
) -> Any:
    """Let parts of a model train again, in place; the statistics of norms in them move again as well.

    What `freeze` froze is as it was before, for as much of it as the names mean: a weight that did not train before
    does not train now. What was frozen in another way trains. In a training that is under way, `tuner.rebuild()`
    must follow.

    Args:
        model: of any framework.
        names: True for all of it, or names, paths or patterns of layers as `display` shows them.
        input_size: the shape of one item without the batch; the layers are found in a call of the model. It is not
            needed for models that say what they take, nor where all is meant.
        input_dtype: of the inputs: 'float32', 'int64'; a list or dict of several.
        inputs: a batch to call the model with, in place of both.

    Returns:
        The model.

    Raises:
        ArgumentError: a name means nothing, or what the model takes is not known.
        ModelError: the model cannot be called so.
    """
    tailor(model).unfreeze(model, _meant('unfreeze', model, names, input_size, input_dtype, inputs))
    return model


def paths(verb: str, layers: Sequence[Layer], names: str | Sequence[str]) -> tuple[str, ...]:
    """The paths that names, paths or patterns mean.

    Args:
        verb: what an error begins with.
        layers: of the model.
        names: one or several.

    Raises:
        ArgumentError: one of them means nothing.
    """
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        found += [layers[row].path for row in meant(verb, layers, name)]
    return topmost(found)


def _meant(verb: str, model: Any, names: Any, size: Any, dtype: Any, inputs: Inputs | None) -> tuple[str, ...]:
    if names is True:
        return ('',)
    if not isinstance(names, str | Sequence) or not names:
        raise ArgumentError(f'{verb}: names={names!r}. Expected True, or names as display() shows them, such as fc.')
    return paths(verb, summary(model, size, dtype, inputs=inputs), names)
