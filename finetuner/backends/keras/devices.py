"""The devices that Keras sees here, on the engine it runs on."""

import keras


def names() -> list[str]:
    """One name a device, as the engine calls it."""
    if keras.backend.backend() == 'torch':  # keras.distribution knows only the GPUs that it could share work among
        from torch import cuda

        return ['cpu:0', *(f'cuda:{i}' for i in range(cuda.device_count()))]
    return [*dict.fromkeys([*keras.distribution.list_devices('cpu'), *keras.distribution.list_devices()])]
