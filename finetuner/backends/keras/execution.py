"""Precision, compilation and gradient checkpointing of a Keras model, on any engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

POLICIES = {'bf16': 'mixed_bfloat16', '16': 'mixed_float16'}


def no_precision(precision: str, model: Any, device: str, training: bool = True) -> str | None:
    """Why the model cannot compute in 'bf16' or '16' on a device, to be trained or to encode; None if it can."""
    if precision == '16' and training:
        return (
            "float16 needs a loss that is scaled, which is not done here for Keras. precision='bf16' needs none, and "
            'is as fast.'
        )
    if _plain(model):
        return None
    return (
        f'expected layers in float32, got {model.dtype_policy.name!r}: the model says itself what it computes in. '
        f"Leave precision out, or take '32', to run it so."
    )


def bf16_is_faster(device: str) -> bool:
    """Whether a large model is trained faster in bf16 on a device; of CPUs, one with units for it."""
    if device == 'cpu':
        return False
    return keras.backend.backend() == 'torch' and _capability(device) >= 8


def no_compile() -> str | None:
    """Why nothing can be compiled; None if it can."""
    if keras.backend.backend() != 'torch':
        return None
    return 'Keras on torch compiles nothing. Take KERAS_BACKEND=tensorflow, or jax, which always compiles.'


def jit(compile: bool) -> bool:
    """What `keras.Model.compile(jit_compile=…)` is to be."""
    return keras.backend.backend() == 'jax' or (compile and keras.backend.backend() == 'tensorflow')


def no_checkpointing(model: Any) -> str | None:
    """Why the model cannot compute activations again; None if it can."""
    return (
        'Keras decides on it when a layer is made: make the model, or the layers in it that are large, under '
        'keras.RematScope(), and leave it out here.'
    )


@contextmanager
def computing(model: Any, precision: str) -> Iterator[list[tuple[Any, Any]]]:
    """In here, the layers of a model compute in a precision; what is compiled in here goes on to do so.

    Afterwards they have their own policies again, so that evaluation is in float32, and nothing that a callback saves
    says otherwise.

    Yields:
        The layers that compute otherwise in here, and their own policies.
    """
    if precision == '32':
        yield []
        return
    policy, layers = keras.DTypePolicy(POLICIES[precision]), _plain(model)
    own = [(layer, layer.dtype_policy) for layer in layers]
    with changed([(layer, policy) for layer in layers]):
        yield own


@contextmanager
def changed(policies: list[tuple[Any, Any]]) -> Iterator[None]:
    """In here, layers have these policies, and afterwards those of before.

    Args:
        policies: layers and what they have in here.
    """
    before = [(layer, layer.dtype_policy) for layer, _ in policies]
    try:
        for layer, policy in policies:
            layer.dtype_policy = policy
        yield
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy


def _plain(model: Any) -> list[Any]:
    # The layers that compute in float32, and are not quantized.
    return [layer for layer in model._flatten_layers() if layer.dtype_policy.name == 'float32']


def _capability(device: str) -> int:
    from torch import cuda

    return cuda.get_device_capability(device)[0]
