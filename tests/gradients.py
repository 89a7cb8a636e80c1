"""Values and gradients of one function in every framework, and central differences to compare them with."""

from collections.abc import Callable
from typing import Any

import numpy as np

Gradients = list[np.ndarray]


def native(backend: str, array: Any, dtype: str | None = None) -> Any:
    """`array` as a tensor of the backend; floats in `dtype`, if one is given."""
    array = np.asarray(array)
    real = dtype if array.dtype.kind == 'f' else None
    if backend == 'numpy':
        return array.astype(real) if real else array
    if backend in ('torch', 'keras-torch'):
        import torch

        return torch.tensor(array, dtype=getattr(torch, real) if real else None)
    if backend == 'keras-tensorflow':
        import tensorflow as tf

        return tf.cast(tf.constant(array), real) if real else tf.constant(array)
    if backend == 'keras-jax':
        import jax.numpy as jnp

        return jnp.asarray(array, dtype=real)
    from finetuner.backends.paddle import paddle

    return paddle.to_tensor(array).astype(real) if real else paddle.to_tensor(array)


def slope(backend: str, f: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """The gradient at `x` of `f(tensor) -> scalar`."""
    return value_and_grad(backend, f, x, dtype=str(x.dtype))[1][0]


def value_and_grad(
    backend: str, f: Callable[..., Any], *arrays: np.ndarray, dtype: str = 'float32', compiled: bool = False
) -> tuple[float, Gradients]:
    """The value of the scalar `f(*arrays)`, and its gradient with respect to each of them.

    Args:
        backend: one of the names of `--backend`; 'numpy' has central differences for gradients.
        f: of tensors of the backend.
        arrays: where.
        dtype: of the tensors.
        compiled: run by the framework's compiler, where it has one: tf.function, jax.jit, paddle.jit.
    """
    if backend == 'numpy':
        return float(f(*(a.astype(dtype) for a in arrays))), central_differences(f, *arrays)
    tensors = [native(backend, a, dtype) for a in arrays]
    run = {'keras-tensorflow': _tensorflow, 'keras-jax': _jax, 'paddle': _paddle}.get(backend, _torch)
    value, slopes = run(f, tensors, compiled)
    return value, [
        np.zeros(a.shape) if s is None else np.asarray(s, np.float64) for a, s in zip(arrays, slopes, strict=True)
    ]


def _torch(f: Callable[..., Any], tensors: list, compiled: bool) -> tuple[float, list]:
    for x in tensors:
        x.requires_grad_()
    value = f(*tensors)
    value.backward()
    return value.item(), [None if x.grad is None else x.grad.double().numpy() for x in tensors]


def _tensorflow(f: Callable[..., Any], tensors: list, compiled: bool) -> tuple[float, list]:
    import tensorflow as tf

    def both(*xs: Any) -> tuple[Any, list]:
        with tf.GradientTape() as tape:
            for x in xs:
                tape.watch(x)
            value = f(*xs)
        return value, tape.gradient(value, xs, unconnected_gradients='zero')

    value, slopes = (tf.function(both) if compiled else both)(*tensors)
    return float(value), [tf.cast(tf.convert_to_tensor(s), 'float64').numpy() for s in slopes]  # of a take it is sparse


def _jax(f: Callable[..., Any], tensors: list, compiled: bool) -> tuple[float, list]:
    import jax

    both = jax.value_and_grad(f, argnums=tuple(range(len(tensors))))
    value, slopes = (jax.jit(both) if compiled else both)(*tensors)
    return float(value), [np.asarray(s.astype('float32')) if s.dtype.itemsize < 4 else np.asarray(s) for s in slopes]


def _paddle(f: Callable[..., Any], tensors: list, compiled: bool) -> tuple[float, list]:
    from finetuner.backends.paddle import paddle

    for x in tensors:
        x.stop_gradient = False
    value = (paddle.jit.to_static(f, full_graph=True) if compiled else f)(*tensors)
    value.backward()
    return value.item(), [None if x.grad is None else x.grad.astype('float64').numpy() for x in tensors]


def central_differences(f: Callable[..., Any], *arrays: np.ndarray, step: float = 1e-6) -> Gradients:
    """The gradient of a function of numpy arrays, from its values in float64."""
    arrays = tuple(np.array(a, np.float64) for a in arrays)
    slopes = []
    for x in arrays:
        found = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            here, ends = x[place], []
            for there in (here + step, here - step):
                x[place] = there
                ends.append(float(f(*arrays)))
            x[place] = here
            found[place] = (ends[0] - ends[1]) / (2 * step)
        slopes.append(found)
    return slopes
