"""Models that an engine of Keras cannot compile, because something in them hangs on the values of tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from finetuner.errors import ModelError

_BY_VALUE = (
    'TracerBoolConversionError',
    'TracerArrayConversionError',
    'TracerIntegerConversionError',
    'ConcretizationTypeError',
    'OperatorNotAllowedInGraphError',
    'InaccessibleTensorError',
)


def depends_on_values(error: BaseException | None) -> bool:
    """Whether an engine says that it cannot compile what asks for the values of tensors."""
    while error is not None:
        if type(error).__name__ in _BY_VALUE:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """In here, a model that its engine cannot compile is refused with what to do."""
    try:
        yield
    except Exception as error:
        if not depends_on_values(error):
            raise
        raise ModelError(
            f'{keras.backend.backend()} cannot compile {type(model).__name__}: something in it asks for the values of '
            f'a tensor, as `if x.sum() > 0:` does, or it ends within a branch or a loop. Write it with '
            f'keras.ops.where or keras.ops.cond, cut at a layer before it (layer_name=…), or take '
            f'KERAS_BACKEND=torch, which compiles nothing.'
        ) from error
