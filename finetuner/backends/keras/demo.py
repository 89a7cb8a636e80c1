"""The network of the demo in Keras."""

from typing import Any

import keras
from keras import layers


def digits_cnn() -> Any:
    """Two convolutions and a projection: (B, 8, 8) images to (B, 16) vectors."""
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(32, 3, padding='same', activation='relu'),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding='same', activation='relu'),
            layers.GlobalAveragePooling2D(),
            layers.Dense(16),
        ]
    )


def native(kernel: Any) -> Any:
    """A kernel (outputs, inputs, …) as Keras keeps it: (…, inputs, outputs)."""
    return kernel.transpose(*range(2, kernel.ndim), 1, 0)
