"""The devices that PyTorch sees here."""

import torch


def names() -> list[str]:
    """One name a device, as people know it; the first is the CPU."""
    return ['CPU', *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]
