"""The network of the demo in PyTorch."""

from typing import Any

import torch
from torch import nn


class DigitsCNN(nn.Module):
    """Two convolutions and a projection: (B, 8, 8) images to (B, 16) vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.head = nn.Linear(64, 16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 8, 8) to (B, 16)."""
        x = torch.relu(self.conv1(images[:, None]))
        x = torch.relu(self.conv2(nn.functional.max_pool2d(x, 2)))
        return self.head(x.mean((2, 3)))


def digits_cnn() -> nn.Module:
    """The network with PyTorch's own first weights."""
    return DigitsCNN()


def native(kernel: Any) -> Any:
    """A kernel (outputs, inputs, …) as PyTorch keeps it: unchanged."""
    return kernel
