"""The network of the demo in PaddlePaddle."""

from typing import Any

from finetuner.backends.paddle import paddle

nn = paddle.nn


class DigitsCNN(paddle.nn.Layer):
    """Two convolutions and a projection: (B, 8, 8) images to (B, 16) vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2D(32, 64, 3, padding=1)
        self.head = nn.Linear(64, 16)

    def forward(self, images: Any) -> Any:
        """(B, 8, 8) to (B, 16)."""
        x = nn.functional.relu(self.conv1(images.unsqueeze(1)))
        x = nn.functional.relu(self.conv2(nn.functional.max_pool2d(x, 2)))
        return self.head(x.mean([2, 3]))


def digits_cnn() -> Any:
    """The network with Paddle's own first weights."""
    return DigitsCNN()


def native(kernel: Any) -> Any:
    """A kernel (outputs, inputs, …) as Paddle keeps it: that of a projection the other way round."""
    return kernel.T if kernel.ndim == 2 else kernel
