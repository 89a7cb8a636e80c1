"""Whether a model must be tailored before it can be tuned, and why."""

from typing import Any, NamedTuple

from finetuner import inference
from finetuner.console import logger
from finetuner.errors import ArgumentError, ModelError, enumerated
from finetuner.tailor import base, origin
from finetuner.tailor.heads import head, shows
from finetuner.tailor.layers import uncallable
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
    if wanted not in (None, True, False):
        raise ArgumentError(f'to_embedding_model={wanted!r}: expected True, False or None.')
    if input_size is not None:
        size = {'input_size': input_size, 'input_dtype': input_dtype}
    elif input_dtype is not None:
        raise ArgumentError(f'input_dtype={input_dtype!r} is of input_size: give both, or neither.')
    else:
        size = {'inputs': batch}
    coder = inference.encoder(model)
    model = coder.model
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if isinstance(given.get('freeze'), list | tuple) and not given['freeze']:
        del given['freeze']
    asked = [*given, *(name for name in size if name == 'input_size')]
    if wanted is False:
        if asked:
            raise ArgumentError(f'to_embedding_model=False, but {enumerated(asked)} can only be had with it.')
        return model
    if wanted is None and not asked:
        found = lack(coder, batch)
        if found is None:
            return model
        if not found.sure:
            logger.info(
                'The model is taken as it is. But %s: if so, cut it off with to_embedding_model=True; False says that '
                'it is none.', found.why,
            )  # fmt: skip
            return model
        logger.info(
            'An embedding model is made of this %s, which stays as it is: %s. (to_embedding_model=False takes the '
            'model as it is.)', type(model).__name__, found.why,
        )  # fmt: skip
    return to_embedding_model(model, seed=seed, **size, **given)


class Lack(NamedTuple):
    """Why a model is no embedding model.

    Attributes:
        why: for a sentence.
        sure: whether that is certain.
    """

    why: str
    sure: bool


def lack(model: Any, inputs: Inputs) -> Lack | None:
    """Why a model is no embedding model; None if it gives (B, D) and nothing looks like a classifier.

    Args:
        model: of any framework, or its encoder.
        inputs: a batch.
    """
    coder = inference.encoder(model)
    if origin.of(coder.model) is not None:
        return None
    try:
        output = coder.forward(inputs)
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise uncallable(inputs, f'{type(error).__name__}: {error}') from error
    what = inference.unlike_vectors(output, inference.length(inputs))
    if what is not None:
        return Lack(f'it gives {what}, and not (B, D)', True)
    try:
        layers = base.tailor(coder.model).trace(coder.model, few(inputs))
    except ModelError:  # it gives vectors, and how is not to be seen
        return None
    found = head(layers, shows(output))
    if found is None:
        return None
    verb = 'is' if found.sure else 'may be'
    return Lack(f'{layers[found.row].name} {verb} a classification head ({found.why})', found.sure)
