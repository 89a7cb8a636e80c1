"""Keras on several devices of one process: on JAX, where `keras.distribution` cuts the batch and compiles the exchange.

The loss is of the whole batch, and so are statistics and dropout: nothing is learned otherwise than on one device.
"""

from collections.abc import Iterable
from typing import Any

import keras

from finetuner.errors import ArgumentError

WAYS = (
    'Several devices train a Keras model with KERAS_BACKEND=jax: fit(…, devices=2) in one process. Several machines '
    'train a model of PyTorch, started by torchrun, or of Paddle, started by paddle.distributed.launch.'
)


class Devices(keras.distribution.DataParallel):
    """Cuts what can be cut into equal parts along the first axis; every device gets the whole of the rest."""

    def get_data_layout(self, data_shape: Any) -> Any:
        """How an array of this shape lies on the devices."""
        size = self.device_mesh.devices.size
        if data_shape and data_shape[0] % size == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def check(devices: int, device: str | None) -> None:
    """Refuse more devices than there are, or than there are of the kind that `device` names.

    Raises:
        ArgumentError: the engine trains on one, or sees fewer.
    """
    engine = keras.backend.backend()
    if engine != 'jax':
        raise ArgumentError(f'devices={devices}: Keras on {engine} trains on one device here. {WAYS}')
    there = _seen(device)
    if len(there) < devices:
        raise ArgumentError(
            f'devices={devices}, and jax sees {len(there)}: {", ".join(there) or "none of that kind"}. On a CPU it '
            f'sees as many as XLA_FLAGS=--xla_force_host_platform_device_count={devices} says, in the environment '
            f'before it is imported.'
        )
    if keras.distribution.distribution() is not None:
        raise ArgumentError(
            f'devices={devices}, and keras.distribution is set already: call keras.distribution.set_distribution(None) '
            f'before the model is made.'
        )


def several(devices: int, device: str) -> Devices | None:
    """The first devices of a kind, 'cpu' or 'cuda'; None for one."""
    return Devices(devices=_seen(device)[:devices]) if devices > 1 else None


def lay(variables: Iterable[Any], devices: Devices | None) -> None:
    """Put variables on all devices, or back on one."""
    for variable in variables:
        value = keras.ops.convert_to_numpy(variable)
        variable._layout = None
        if devices is not None:
            variable._layout = devices.get_variable_layout(variable).backend_layout
        variable._direct_assign(keras.ops.convert_to_tensor(value, variable.dtype))


def _seen(device: str | None) -> list[str]:
    try:
        return list(keras.distribution.list_devices(device and device.replace('cuda', 'gpu')))
    except RuntimeError:  # jax has none of that kind
        return []
