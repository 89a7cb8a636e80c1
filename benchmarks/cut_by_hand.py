"""Classifiers like ResNet50 and BERT, and what people write who make embedding models of them without Tailor.

`general(engine, kind)` is the classifier, `by_hand(engine, kind, general, half)` a model with its weights: the same
parts up to the cut, pooled by mean where tokens or positions are left, and a linear layer to `DIM`. Half of it ends
in the middle: at the eighth of the sixteen blocks of a ResNet50, at the fourth of the eight layers of a transformer.
A tiny transformer has two layers, so narrow that next to nothing but Python takes time.
"""

import copy
from typing import Any

import numpy as np

DIM, CLASSES = 128, 10
WORDS, LENGTH, SIDE = 8_000, 64, 64
SIZES = {'bert': (256, 8, 4), 'tiny': (16, 2, 2)}  # width, layers, heads
KINDS = ('resnet', 'bert', 'tiny')

# Where Tailor is told to cut, by path; None leaves it to its rule. And where the half ends.
CUTS = {
    ('torch', 'resnet'): (None, 'resnet.encoder.stages.2.layers.0'),
    ('torch', 'bert'): ('bert.encoder', 'bert.encoder.layer.3'),
    ('torch', 'tiny'): ('bert.encoder',),
    ('paddle', 'resnet'): (None, 'layer3.0'),
    ('paddle', 'bert'): ('encoder', 'encoder.layers.3'),
    ('paddle', 'tiny'): ('encoder',),
    ('keras', 'resnet'): (None, 'conv4_block1_out'),
    ('keras', 'bert'): ('block_7', 'block_3'),
    ('keras', 'tiny'): ('block_1',),
}


def items(framework: str, kind: str, n: int) -> Any:
    """A batch: images, or the ids of tokens."""
    rng = np.random.default_rng(0)
    if kind == 'resnet':
        shape = (n, SIDE, SIDE, 3) if framework == 'keras' else (n, 3, SIDE, SIDE)
        return rng.standard_normal(shape, np.float32)
    ids = rng.integers(0, WORDS, (n, LENGTH))
    if framework != 'torch':
        return ids.astype('int32' if framework == 'keras' else 'int64')
    mask = np.ones((n, LENGTH), np.int64)
    mask[::2, LENGTH // 2 :] = 0
    return {'input_ids': ids, 'attention_mask': mask}


def general(framework: str, kind: str) -> Any:
    """The classifier, with random weights."""
    return {'torch': _torch, 'paddle': _paddle, 'keras': _keras}[framework](kind)


def by_hand(framework: str, kind: str, model: Any, half: bool = False) -> Any:
    """The embedding model that is cut out of a classifier by hand, with copies of its weights."""
    return {'torch': _torch_by_hand, 'paddle': _paddle_by_hand, 'keras': _keras_by_hand}[framework](kind, model, half)


def _torch(kind: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == 'resnet':
        return transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=1000))
    width, layers, heads = SIZES[kind]
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=WORDS, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=4 * width, num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip


def _torch_by_hand(kind: str, model: Any, half: bool) -> Any:
    from torch import nn

    class Images(nn.Module):
        def __init__(self, resnet: Any) -> None:
            super().__init__()
            self.resnet, self.head = resnet, nn.Linear(1024 if half else 2048, DIM)
            if half:
                stages = resnet.encoder.stages[:3]
                stages[2].layers = stages[2].layers[:1]
                resnet.encoder.stages = stages

        def forward(self, pixel_values: Any) -> Any:
            return self.head(self.resnet(pixel_values).pooler_output.flatten(1))

    class Texts(nn.Module):
        def __init__(self, bert: Any) -> None:
            super().__init__()
            self.bert, self.head = bert, nn.Linear(bert.config.hidden_size, DIM)
            bert.pooler = None
            if half:
                bert.encoder.layer = bert.encoder.layer[: len(bert.encoder.layer) // 2]

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            return self.head((states * mask).sum(1) / mask.sum(1))

    return Images(copy.deepcopy(model.resnet)) if kind == 'resnet' else Texts(copy.deepcopy(model.bert))


def _paddle(kind: str) -> Any:
    from finetuner.backends.paddle import paddle

    paddle.seed(0)
    if kind == 'resnet':
        return paddle.vision.models.resnet50(num_classes=1000)
    nn, (width, layers, heads) = paddle.nn, SIZES[kind]

    class Classifier(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(LENGTH, width)
            layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation='gelu')
            self.encoder = nn.TransformerEncoder(layer, layers)
            self.classifier = nn.Linear(width, CLASSES)

        def forward(self, ids: Any) -> Any:
            x = self.words(ids) + self.places(paddle.arange(ids.shape[1]))
            return self.classifier(self.encoder(x).mean(1))

    return Classifier()


def _paddle_by_hand(kind: str, model: Any, half: bool) -> Any:
    from finetuner.backends.paddle import paddle

    nn = paddle.nn

    class Images(nn.Layer):
        def __init__(self, model: Any) -> None:
            super().__init__()
            parts = [model.conv1, model.bn1, model.relu, model.maxpool, model.layer1, model.layer2, model.layer3]
            if half:
                parts[-1] = model.layer3[0]
            else:
                parts += [model.layer4]
            self.body, self.head = nn.Sequential(*parts), nn.Linear(1024 if half else 2048, DIM)
            self.pool = None if half else model.avgpool

        def forward(self, images: Any) -> Any:
            x = self.body(images)
            return self.head(x.mean((2, 3)) if self.pool is None else self.pool(x).flatten(1))

    class Texts(nn.Layer):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.words, self.places, self.encoder = model.words, model.places, model.encoder
            if half:
                self.encoder.layers = nn.LayerList(list(model.encoder.layers)[: SIZES[kind][1] // 2])
            self.head = nn.Linear(SIZES[kind][0], DIM)

        def forward(self, ids: Any) -> Any:
            x = self.words(ids) + self.places(paddle.arange(ids.shape[1]))
            return self.head(self.encoder(x).mean(1))

    return (Images if kind == 'resnet' else Texts)(copy.deepcopy(model))


def _keras(kind: str) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    if kind == 'resnet':
        return keras.applications.ResNet50(weights=None, input_shape=(SIDE, SIDE, 3))
    model = _transformer()(*SIZES[kind], CLASSES, 'softmax')
    model(items('keras', kind, 2))
    return model


def _keras_by_hand(kind: str, model: Any, half: bool) -> Any:
    import keras

    layers = keras.layers
    if kind == 'resnet':
        twin = keras.models.clone_model(model)
        twin.set_weights(model.get_weights())
        x = twin.get_layer('conv4_block1_out' if half else 'avg_pool').output
        x = layers.GlobalAveragePooling2D()(x) if half else x
        return keras.Model(twin.input, layers.Dense(DIM)(x))
    width, depth, heads = SIZES[kind]
    made = _transformer()(width, depth // 2 if half else depth, heads, DIM)
    made(items('keras', kind, 2))
    for own, theirs in zip(made.layers[:-2], model.layers, strict=False):
        own.set_weights(theirs.get_weights())
    return made


def _transformer() -> Any:
    # Subclassed, the way that is hardest to cut.
    import keras

    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self, width: int, heads: int, **options: Any) -> None:
            super().__init__(**options)
            self.attend = layers.MultiHeadAttention(heads, width // heads)
            self.first, self.second = layers.LayerNormalization(), layers.LayerNormalization()
            self.wide, self.narrow = layers.Dense(4 * width, activation='gelu'), layers.Dense(width)

        def build(self, shape: Any) -> None:
            self.attend.build(shape, shape)
            for layer in (self.first, self.second, self.wide):
                layer.build(shape)
            self.narrow.build((*shape[:-1], 4 * shape[-1]))

        def call(self, x: Any) -> Any:
            x = self.first(x + self.attend(x, x))
            return self.second(x + self.narrow(self.wide(x)))

    class Transformer(keras.Model):
        def __init__(self, width: int, depth: int, heads: int, outputs: int, activation: str | None = None) -> None:
            super().__init__()
            self.words, self.places = layers.Embedding(WORDS, width), layers.Embedding(LENGTH, width)
            self.blocks = [Block(width, heads, name=f'block_{i}') for i in range(depth)]
            self.pool = layers.GlobalAveragePooling1D()
            self.classifier = layers.Dense(outputs, activation=activation)

        def call(self, ids: Any) -> Any:
            x = self.words(ids) + self.places(keras.ops.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.classifier(self.pool(x))

    return Transformer
