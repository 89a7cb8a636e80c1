"""Small models with the same architecture and the same weights in every framework."""

from itertools import pairwise
from typing import Any

import numpy as np


def framework(backend: str) -> str:
    """'keras-jax' is Keras."""
    return backend.partition('-')[0]


def dense(rng: np.random.Generator, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """A kernel (inputs, outputs) and a bias, in float32."""
    kernel = rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)
    return kernel.astype(np.float32), np.zeros(outputs, np.float32)


def mlp(backend: str, sizes: tuple[int, ...] = (10, 64, 32), noisy: bool = False, seed: int = 0) -> Any:
    """Dense layers with relu between; `noisy` adds BatchNorm and dropout after every hidden one."""
    rng = np.random.default_rng(seed)
    weights = [dense(rng, a, b) for a, b in pairwise(sizes)]
    return {'torch': _torch, 'keras': _keras, 'paddle': _paddle}[framework(backend)](weights, noisy)


def _torch(weights: list, noisy: bool) -> Any:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for i, (kernel, bias) in enumerate(weights):
        layer = nn.Linear(*kernel.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)
        layers.append(layer)
        if i < len(weights) - 1:
            layers.append(nn.ReLU())
            if noisy:
                layers += [nn.BatchNorm1d(kernel.shape[1]), nn.Dropout(0.3)]
    return nn.Sequential(*layers)


def _keras(weights: list, noisy: bool) -> Any:
    import keras

    stack: list[Any] = [keras.Input((weights[0][0].shape[0],))]
    for i, (kernel, _) in enumerate(weights):
        last = i == len(weights) - 1
        stack.append(keras.layers.Dense(kernel.shape[1], activation=None if last else 'relu'))
        if noisy and not last:
            stack += [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), keras.layers.Dropout(0.3)]
    model = keras.Sequential(stack)
    for layer, pair in zip([x for x in model.layers if isinstance(x, keras.layers.Dense)], weights, strict=True):
        layer.set_weights(pair)
    return model


def _paddle(weights: list, noisy: bool) -> Any:
    from finetuner.backends.paddle import paddle

    nn = paddle.nn
    layers: list[Any] = []
    for i, (kernel, bias) in enumerate(weights):
        layer = nn.Linear(*kernel.shape)
        layer.weight.set_value(kernel)
        layer.bias.set_value(bias)
        layers.append(layer)
        if i < len(weights) - 1:
            layers.append(nn.ReLU())
            if noisy:
                layers += [nn.BatchNorm1D(kernel.shape[1]), nn.Dropout(0.3)]
    return nn.Sequential(*layers)


def clusters(n_classes: int = 5, per_class: int = 8, dim: int = 10, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Random vectors around random centres, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), per_class)
    noise = rng.standard_normal((len(labels), dim))
    return (rng.standard_normal((n_classes, dim))[labels] + noise).astype(np.float32), labels


def cnn(
    backend: str,
    channels: tuple[int, ...] = (1, 32, 64, 64),
    dim: int = 64,
    side: int = 28,
    gain: float = 2.0,
    seed: int = 0,
) -> Any:
    """3 x 3 convolutions with relu and pooling, the mean over space, and a projection: (B, side, side) to (B, dim).

    Kernels are drawn with variance `gain / fan_in`.
    """
    rng = np.random.default_rng(seed)
    kernels = [
        (rng.standard_normal((b, a, 3, 3)) * np.sqrt(gain / (9 * a))).astype(np.float32) for a, b in pairwise(channels)
    ]
    kernel, bias = dense(rng, channels[-1], dim)
    library = framework(backend)
    if library == 'keras':
        import keras

        layers = keras.layers
        stack: list[Any] = [keras.Input((side, side)), layers.Reshape((side, side, 1))]
        for weights in kernels:
            stack += [layers.Conv2D(len(weights), 3, padding='same', activation='relu'), layers.MaxPooling2D(2)]
        model = keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(dim)])
        convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
        for layer, weights in zip(convolutions, kernels, strict=True):
            layer.set_weights([weights.transpose(2, 3, 1, 0), np.zeros(len(weights), np.float32)])
        model.layers[-1].set_weights([kernel, bias])
        return model
    if library == 'paddle':
        from finetuner.backends.paddle import paddle

        nn = paddle.nn

        class CNN(nn.Layer):
            def __init__(self):
                super().__init__()
                self.body = nn.LayerList([nn.Conv2D(w.shape[1], w.shape[0], 3, padding=1) for w in kernels])
                self.head = nn.Linear(channels[-1], dim)

            def forward(self, x):
                x = x.unsqueeze(1)
                for layer in self.body:
                    x = nn.functional.max_pool2d(nn.functional.relu(layer(x)), 2)
                return self.head(x.mean([2, 3]))

        model = CNN()
        for layer, weights in zip(model.body, kernels, strict=True):
            layer.weight.set_value(weights)
            layer.bias.set_value(np.zeros(len(weights), np.float32))
        model.head.weight.set_value(kernel)
        model.head.bias.set_value(bias)
        return model
    import torch
    from torch import nn

    stack = []
    for weights in kernels:
        layer = nn.Conv2d(weights.shape[1], weights.shape[0], 3, padding=1)
        layer.weight.data, layer.bias.data = torch.from_numpy(weights), torch.zeros(len(weights))
        stack += [layer, nn.ReLU(), nn.MaxPool2d(2)]
    head = nn.Linear(channels[-1], dim)
    head.weight.data, head.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)
    return nn.Sequential(nn.Unflatten(1, (1, -1)), *stack, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
