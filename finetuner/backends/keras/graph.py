"""Keras models that are graphs: what tells them, and how they are run on other symbols."""

from functools import partial
from typing import Any

import keras


def is_graph(model: Any) -> bool:
    """Whether the model computes what its graph says: functional, with the `call` of all functional models."""
    kind: Any = next((base for base in type(model).__mro__ if base.__name__ == 'Functional'), None)
    return kind is not None and kind.__module__.partition('.')[0] == 'keras' and type(model).call is kind.call


def is_chain(model: Any) -> bool:
    """Whether the model is a Sequential that computes one layer after the other."""
    return isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call


def fresh(model: Any) -> Any:
    """Symbolic inputs like those of a functional or sequential model, in the same structure."""
    given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), given)


def rerun(model: Any, inputs: Any, call: Any) -> Any:
    """A functional model on other symbolic inputs, each node as `call(operation, *args, **kwargs)`."""
    return model._run_through_graph(inputs, operation_fn=lambda operation: partial(call, operation))
