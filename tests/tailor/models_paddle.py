"""General models of PaddlePaddle, and how the tests look into models."""

import numpy as np

from finetuner.backends.paddle import paddle
from finetuner.backends.paddle.encoder import Encoder
from finetuner.backends.paddle.parts import layers_of, weights as weights_of
from tests.tailor.case import Case

nn = paddle.nn
F = nn.functional


def seeded(make):
    """A builder that draws the same weights each time, with some spread in the statistics of BatchNorm."""

    def build():
        paddle.seed(0)
        model = make()
        for layer in model.sublayers(include_self=True):
            if isinstance(layer, nn.layer.norm._BatchNormBase):
                layer._mean.set_value(paddle.uniform(layer._mean.shape, min=-0.2, max=0.2))
                layer._variance.set_value(paddle.uniform(layer._mean.shape, min=0.8, max=1.2))
        model.eval()
        return model

    return build


def floats(*shape):
    return lambda: np.random.default_rng(1).standard_normal((4, *shape)).astype(np.float32)


class MLP(nn.Layer):
    """Its tail, flatten at the beginning and softmax at the end, is functions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.second = nn.Linear(16, 8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.first(paddle.flatten(x, 1)))
        return F.softmax(self.classifier(F.dropout(F.relu(self.second(x)), 0.5, training=self.training)), -1)


class CNN(nn.Layer):
    """BatchNorm, pooling as a function, and a head of functions; one of them writes into what it is given."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2D(3, 8, 3, padding=1), nn.BatchNorm2D(8)
        self.conv2, self.bn2 = nn.Conv2D(8, 16, 3, padding=1), nn.BatchNorm2D(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu_(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return F.log_softmax(self.fc(x.mean([2, 3])), -1)


def vgg():
    """A Sequential of Sequentials, three levels deep."""
    body = nn.Sequential(
        nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2)),
        nn.Sequential(nn.Sequential(nn.Conv2D(8, 16, 3, padding=1), nn.ReLU()), nn.AdaptiveAvgPool2D(2)),
    )
    tail = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5))
    return nn.Sequential(body, tail)


class Inner(nn.Layer):
    """The third level of `Nested`."""

    def __init__(self, width_in, width):
        super().__init__()
        self.dense, self.norm = nn.Linear(width_in, width), nn.LayerNorm(width)

    def forward(self, x):
        return F.gelu(self.norm(self.dense(x)))


class Middle(nn.Layer):
    """The second level of `Nested`."""

    def __init__(self, width_in, width):
        super().__init__()
        self.inner = nn.LayerList([Inner(width_in, width), Inner(width, width)])

    def forward(self, x):
        for inner in self.inner:
            x = inner(x)
        return x


class Nested(nn.Layer):
    """Layers of one's own, three levels deep."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Middle(12, 16), Middle(16, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        return self.out(self.right(self.left(x)))


class HeadFirst(nn.Layer):
    """The head is registered before the body."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3)
        self.body = nn.Sequential(nn.Linear(12, 16), nn.Tanh())

    def forward(self, x):
        return self.head(self.body(x))


class Shared(nn.Layer):
    """One layer runs three times, one activation four."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.act = nn.Linear(12, 16), nn.Linear(16, 16), nn.Tanh()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        x = self.act(self.first(x))
        for _ in range(3):
            x = self.act(self.again(x))
        return self.fc(x)


class LSTM(nn.Layer):
    """Takes the last state out of what the LSTM gives."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 8, direction='bidirect')
        self.linear = nn.Linear(16, 8)
        self.classifier = nn.Linear(8, 5)

    def forward(self, ids):
        return self.classifier(F.relu(self.linear(self.lstm(self.embedding(ids))[0][:, -1])))


class Choosing(nn.Layer):
    """Control flow that depends on the data."""

    def __init__(self):
        super().__init__()
        self.body, self.other, self.act = nn.Linear(12, 16), nn.Linear(16, 16), nn.ReLU()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        x = self.act(self.body(x))
        if x.sum() > 1e9:
            x = self.other(x)
        return self.fc(F.sigmoid(x))


class Pair(nn.Layer):
    """Two inputs, and a scale that only the end uses."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.mix = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(16, 16)
        self.scale = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
        self.out = nn.Linear(16, 3)

    def forward(self, left, right):
        both = paddle.concat([self.left(left), self.right(right)], -1)
        return self.out(F.relu(self.mix(both))) * self.scale


class Tower(nn.Layer):
    """Takes one dict; the class token is a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2D(3, 16, 4, 4)
        self.cls_token = self.create_parameter([1, 1, 16], default_initializer=nn.initializer.Normal())
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 2)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, batch):
        x = self.patch(batch['image']).flatten(2).transpose([0, 2, 1])
        x = paddle.concat([self.cls_token.expand([len(x), -1, -1]), x], 1)
        return {'logits': self.head(self.norm(self.blocks(x))[:, 0])}


class Text(nn.Layer):
    """Tokens with a mask, as a language model takes them; the pooler beside the tokens is not asked for."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 24), 2)
        self.pooler = nn.Linear(16, 16)

    def forward(self, input_ids, attention_mask):
        seen = (attention_mask != 0).unsqueeze([1, 2])
        x = self.encoder(self.embedding(input_ids), seen)
        return x, paddle.tanh(self.pooler(x[:, 0]))


def vision(name, **options):
    return seeded(lambda: getattr(paddle.vision.models, name)(pretrained=False, **options))


def tokens():
    rng = np.random.default_rng(1)
    mask = np.ones((4, 7), np.int64)
    mask[1, 4:] = mask[3, 2:] = 0
    return {'input_ids': rng.integers(0, 50, (4, 7)), 'attention_mask': mask}


def _image():
    return {'image': floats(3, 8, 8)()}


def _pair():
    return {'left': floats(6)(), 'right': floats(5)()}


def _ids():
    return np.random.default_rng(1).integers(0, 50, (4, 7))


def _first(output):
    return output[0]


CASES = [
    Case('mlp', seeded(MLP), floats(3, 4), None, 'second', 'wrapper', 8),
    Case('cnn', seeded(CNN), floats(3, 8, 8), None, 'bn2', 'wrapper', 16),
    Case('cnn before it is written into', seeded(CNN), floats(3, 8, 8), 'bn1', 'bn1', 'wrapper', 8),
    Case('vgg', seeded(vgg), floats(3, 8, 8), None, '1.2', 'structural', 32),
    Case('vgg body', seeded(vgg), floats(3, 8, 8), '0.1.0.0', '0.1.0.0', 'structural', 16),
    Case('nested', seeded(Nested), floats(12), None, 'right', 'structural', 16),
    Case('nested within', seeded(Nested), floats(12), 'right.inner.0.dense', 'right.inner.0.dense', 'wrapper', 16),
    Case('nested one left', seeded(Nested), floats(12), 'left', 'left', 'structural', 16),
    Case('head first', seeded(HeadFirst), floats(12), None, 'body.1', 'structural', 16),
    Case('shared', seeded(Shared), floats(12), 'tanh_6', 'act', 'wrapper', 16, call=3),
    Case('lstm', seeded(LSTM), _ids, None, 'linear', 'wrapper', 8),
    Case('lstm states', seeded(LSTM), _ids, 'lstm', 'lstm', 'wrapper', 16, main=_first),
    Case('choosing', seeded(Choosing), floats(12), None, 'act', 'wrapper', 16, idle=('other.weight', 'other.bias')),
    Case('pair', seeded(Pair), _pair, None, 'mix', 'wrapper', 16),
    Case('tower', seeded(Tower), _image, None, 'norm', 'wrapper', 16),
    Case('tower block', seeded(Tower), _image, 'blocks.layers.0', 'blocks.layers.0', 'wrapper', 16),
    Case('text', seeded(Text), tokens, None, '', 'wrapper', 16, main=_first),
    Case('resnet18 within', vision('resnet18'), floats(3, 32, 32), 'layer2.0.bn1', 'layer2.0.bn1', 'wrapper', 128),
    Case('mobilenet_v2', vision('mobilenet_v2', scale=0.25), floats(3, 32, 32), None, 'pool2d_avg', 'wrapper', 1280),
]


def call(model, inputs, training=False):
    (model.train if training else model.eval)()
    with paddle.set_grad_enabled(training):
        return Encoder(model).call(inputs).detach().numpy()


def activation(model, inputs, case):
    found = []
    # A copy, because the next layer may write into it.
    handle = layers_of(model)[case.path].register_forward_post_hook(
        lambda layer, args, output: found.append(case.main(output).clone())
    )
    model.eval()
    with paddle.no_grad():
        Encoder(model).call(inputs)
    handle.remove()
    return found[case.call - 1].numpy()


def weights(model):
    return {name: p.numpy().copy() for name, p in weights_of(model).items()}


def statistics(model):
    own = weights_of(model)
    moving = {name: p.numpy().copy() for name, p in model.named_parameters() if name not in own}
    return {**moving, **{name: b.numpy().copy() for name, b in model.named_buffers()}}


def trainable(model):
    return {name for name, p in weights_of(model).items() if not p.stop_gradient}


def reached(model, inputs):
    model.train()
    model.clear_gradients()
    (Encoder(model).call(inputs) ** 2).sum().backward()
    return {name for name, p in weights_of(model).items() if p.grad is not None}


def train(model, inputs):
    model.train()
    optimizer = paddle.optimizer.SGD(0.1, [p for p in model.parameters() if not p.stop_gradient])
    for _ in range(3):
        optimizer.clear_grad()
        (Encoder(model).call(inputs) ** 2).mean().backward()
        optimizer.step()
    model.eval()


def reloaded(model, fresh, folder):
    paddle.save(model.state_dict(), str(folder / 'weights.pdparams'))
    fresh.set_state_dict(paddle.load(str(folder / 'weights.pdparams')))
    return fresh


def dense(inputs, outputs):
    return nn.Linear(inputs, outputs)


AS_THEY_ARE = {
    'choosing',
    'head first',
    'nested',
    'nested one left',
    'nested within',
    'pair',
    'shared',
    'vgg',
    'vgg body',
}
"""The cases that `fit` does not tailor unasked: their heads are not certain to be any."""
