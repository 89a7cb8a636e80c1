"""The devices that Paddle sees here."""

from finetuner.backends.paddle import paddle


def names() -> list[str]:
    """One name a device, as Paddle calls it; the first is the CPU."""
    return ['cpu', *(name for name in paddle.device.get_available_device() if name != 'cpu')]
