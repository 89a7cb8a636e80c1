"""Whether a model must be tailored before it can be tuned, and why."""

from typing import Any

from finetuner import inference
from finetuner.console import logger
from finetuner.errors import ArgumentError, ModelError, enumerated
from finetuner.tailor import base, origin
from finetuner.tailor.heads import head
from finetuner.tailor.tailoring import few, to_embedding_model
from finetuner.typing import Inputs


def as_needed(
    model: Any,
    batch: Inputs,
    wanted: bool | None = None,
    input_size: Any = None,
    input_dtype: Any = None,
    *,
    seed: int | None = None,
    **options: Any,
) -> Any:
    """The model, or the embedding model made of it if that is asked for or needed; says why in the log.

    Args:
        model: of any framework, or its encoder.
        batch: what it is called with.
        wanted: True tailors, False does not; None does if any argument is given, if the model does not give (B, D), or
            if its last layer is certainly a classifier.
        input_size: as `to_embedding_model` takes it, in place of the batch.
        input_dtype: the same.
        seed: of what the head starts from.
        **options: others of `to_embedding_model`; what is None or False is not given.

    Raises:
        ArgumentError: arguments are given and `wanted` is False.
    """
    if input_size is not None:
        size = {'input_size': input_size, 'input_dtype': input_dtype}
    elif input_dtype is not None:
        raise ArgumentError(f'input_dtype={input_dtype!r} is of input_size: give both, or neither.')
    else:
        size = {'inputs': batch}
    coder = inference.encoder(model)
    model = coder.model
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    asked = [*given, *(name for name in size if name == 'input_size')]
    if wanted is False:
        if asked:
            raise ArgumentError(f'to_embedding_model=False, but {enumerated(asked)} can only be had with it.')
        return model
    if wanted is None and not asked:
        why = lack(coder, batch)
        if why is None:
            return model
        logger.info(
            'An embedding model is made of this %s, which stays as it is: %s. (to_embedding_model=False takes the '
            'model as it is.)', type(model).__name__, why,
        )  # fmt: skip
    return to_embedding_model(model, seed=seed, **size, **given)


def lack(model: Any, inputs: Inputs) -> str | None:
    """Why a model is no embedding model, for a sentence; None if it gives (B, D) and is certainly no classifier.

    Args:
        model: of any framework, or its encoder.
        inputs: a batch.
    """
    coder = inference.encoder(model)
    if origin.of(coder.model) is not None:
        return None
    what = inference.unlike_vectors(coder.forward(inputs), inference.length(inputs))
    if what is not None:
        return f'it gives {what}, and not (B, D)'
    try:
        layers = base.tailor(coder.model).trace(coder.model, few(inputs))
    except ModelError:  # it gives vectors, and how is not to be seen
        return None
    found = head(layers)
    if found is not None and found.sure:
        return f'{layers[found.row].name} is a classification head ({found.why})'
    return None
