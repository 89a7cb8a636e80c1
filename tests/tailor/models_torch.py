"""General models of PyTorch, and how the tests look into models."""

import numpy as np
import torch
from torch import nn

from finetuner.backends.torch.encoder import Encoder
from tests.tailor.case import Case

F = nn.functional


def seeded(make):
    """A builder that draws the same weights each time, with some spread in the statistics of BatchNorm."""

    def build():
        torch.manual_seed(0)
        model = make()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.8, 1.2)
        return model.eval()

    return build


def floats(*shape):
    return lambda: np.random.default_rng(1).standard_normal((4, *shape)).astype(np.float32)


def tokens():
    rng = np.random.default_rng(1)
    mask = np.ones((4, 7), np.int64)
    mask[1, 4:] = mask[3, 2:] = 0
    return {'input_ids': rng.integers(0, 50, (4, 7)), 'attention_mask': mask}


class MLP(nn.Module):
    """Its tail, flatten at the beginning and softmax at the end, is functions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 16)
        self.second = nn.Linear(16, 8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.first(torch.flatten(x, 1)))
        return F.softmax(self.classifier(F.dropout(F.relu(self.second(x)), 0.5, self.training)), -1)


class CNN(nn.Module):
    """BatchNorm, pooling as a function, and a head of functions."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)))
        return F.log_softmax(self.fc(x.mean((2, 3))), -1)


class Bottleneck(nn.Module):
    """A residual block."""

    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if width_in != width or stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        same = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + same)


class ResNet(nn.Module):
    """Laid out as torchvision's."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Bottleneck(8, 8, 1), Bottleneck(8, 8, 1))
        self.layer2 = nn.Sequential(Bottleneck(8, 16, 2), Bottleneck(16, 16, 1))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, 1000)

    def forward(self, x):
        x = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class MBConv(nn.Module):
    """Depthwise convolution, squeeze and excitation."""

    def __init__(self, width):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(inplace=True),
        )
        self.fc1, self.fc2 = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)
        self.project, self.bn = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        y = self.block(x)
        scale = torch.sigmoid(self.fc2(F.silu(self.fc1(F.adaptive_avg_pool2d(y, 1)))))
        return x + self.bn(self.project(scale * y))


class EfficientNet(nn.Module):
    """Laid out as torchvision's."""

    def __init__(self):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.SiLU(inplace=True))
        self.features = nn.Sequential(stem, nn.Sequential(MBConv(8)), nn.Sequential(MBConv(8), MBConv(8)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2, inplace=True), nn.Linear(8, 1000))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg():
    """A Sequential of Sequentials, three levels deep."""
    body = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()), nn.AdaptiveAvgPool2d(2)),
    )
    tail = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 5))
    return nn.Sequential(body, tail)


class HeadFirst(nn.Module):
    """The head is registered before the body."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3)
        self.body = nn.Sequential(nn.Linear(12, 16), nn.Tanh())

    def forward(self, x):
        return self.head(self.body(x))


class Shared(nn.Module):
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


class LSTM(nn.Module):
    """Takes the last state out of what the LSTM gives."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 8, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(16, 8)
        self.classifier = nn.Linear(8, 5)

    def forward(self, ids):
        return self.classifier(torch.relu(self.linear(self.lstm(self.embedding(ids))[0][:, -1])))


class Choosing(nn.Module):
    """Control flow that depends on the data."""

    def __init__(self):
        super().__init__()
        self.body, self.other, self.act = nn.Linear(12, 16), nn.Linear(16, 16), nn.ReLU()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        x = self.act(self.body(x))
        if x.sum() > 1e9:
            x = self.other(x)
        return self.fc(torch.sigmoid(x))


class Pair(nn.Module):
    """Two inputs, and a scale that only the end uses."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.mix = nn.Linear(6, 8), nn.Linear(5, 8), nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(()))
        self.out = nn.Linear(16, 3)

    def forward(self, left, right):
        both = torch.cat([self.left(left), self.right(right)], -1)
        return self.out(torch.relu(self.mix(both))) * self.scale


class Tower(nn.Module):
    """Takes one dict; the class token is a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 10)

    def forward(self, batch):
        x = self.patch(batch['image']).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        return {'logits': self.head(self.norm(self.blocks(x))[:, 0])}


def transformer(kind, config, **options):
    def make():
        import transformers

        settings = getattr(transformers, config)(**options)
        return getattr(transformers, kind)(settings)

    return seeded(make)


BERT = {
    'vocab_size': 50,
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'max_position_embeddings': 16,
}
VIT = {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 24,
    'image_size': 16,
    'patch_size': 8,
}


def _image():
    return {'image': floats(3, 8, 8)()}


def _pixels():
    return {'pixel_values': floats(3, 16, 16)()}


def _pair():
    return {'left': floats(6)(), 'right': floats(5)()}


def _ids():
    return np.random.default_rng(1).integers(0, 50, (4, 7))


def _first(output):
    return output[0]


def _hidden(output):
    return output[0] if isinstance(output, tuple) else output


CASES = [
    Case('mlp', seeded(MLP), floats(3, 4), None, 'second', 'graph', 8),
    Case('cnn', seeded(CNN), floats(3, 8, 8), None, 'bn2', 'graph', 16),
    Case('cnn within', seeded(CNN), floats(3, 8, 8), 'conv2d_3', 'conv2', 'graph', 16),
    Case('resnet', seeded(ResNet), floats(3, 32, 32), None, 'avgpool', 'graph', 16),
    Case('before relu in place', seeded(ResNet), floats(3, 32, 32), 'batchnorm2d_2', 'bn1', 'graph', 8),
    Case('vgg before relu', seeded(vgg), floats(3, 8, 8), 'linear_8', '1.1', 'structural', 32),
    Case('resnet stage', seeded(ResNet), floats(3, 32, 32), 'layer1', 'layer1', 'graph', 8),
    Case('resnet block', seeded(ResNet), floats(3, 32, 32), 'layer2.0', 'layer2.0', 'graph', 16),
    Case(
        'inside a block',
        seeded(ResNet),
        floats(3, 32, 32),
        'layer2.0.downsample.1',
        'layer2.0.downsample.1',
        'graph',
        16,
    ),
    Case('efficientnet', seeded(EfficientNet), floats(3, 16, 16), None, 'avgpool', 'graph', 8),
    Case('vgg', seeded(vgg), floats(3, 8, 8), None, '1.2', 'structural', 32),
    Case('vgg body', seeded(vgg), floats(3, 8, 8), '0.1.0.0', '0.1.0.0', 'structural', 16),
    Case('head first', seeded(HeadFirst), floats(12), None, 'body.1', 'structural', 16),
    Case('shared', seeded(Shared), floats(12), 'tanh_6', 'act', 'graph', 16, call=3),
    Case('lstm', seeded(LSTM), _ids, None, 'linear', 'graph', 8),
    Case('lstm states', seeded(LSTM), _ids, 'lstm', 'lstm', 'graph', 16, main=_hidden),
    Case('choosing', seeded(Choosing), floats(12), None, 'act', 'wrapper', 16, idle=('other.weight', 'other.bias')),
    Case('pair', seeded(Pair), _pair, None, 'mix', 'graph', 16),
    Case('tower', seeded(Tower), _image, None, 'norm', 'wrapper', 16),
    Case('tower block', seeded(Tower), _image, 'blocks.layers.0', 'blocks.layers.0', 'wrapper', 16),
    Case(
        'bert',
        transformer('BertModel', 'BertConfig', **BERT),
        tokens,
        None,
        '',
        'wrapper',
        16,
        main=_first,
    ),
    Case(
        'bert classifier',
        transformer('BertForSequenceClassification', 'BertConfig', **BERT),
        tokens,
        None,
        'bert.pooler',
        'wrapper',
        16,
    ),
    Case(
        'bert layer',
        transformer('BertForSequenceClassification', 'BertConfig', **BERT),
        tokens,
        'bert.encoder.layer.0',
        'bert.encoder.layer.0',
        'wrapper',
        16,
        main=_hidden,
    ),
    Case(
        'vit',
        transformer('ViTForImageClassification', 'ViTConfig', **VIT),
        _pixels,
        None,
        'vit',
        'wrapper',
        16,
        main=_first,
    ),
    Case(
        'roberta classifier',
        transformer('RobertaForSequenceClassification', 'RobertaConfig', **BERT),
        tokens,
        None,
        'roberta',
        'wrapper',
        16,
        main=_first,
    ),
    Case(
        'distilbert classifier',
        transformer(
            'DistilBertForSequenceClassification',
            'DistilBertConfig',
            vocab_size=50,
            dim=16,
            n_layers=2,
            n_heads=2,
            hidden_dim=24,
        ),
        tokens,
        None,
        'distilbert',
        'wrapper',
        16,
        main=_first,
    ),
    Case(
        'bert with hidden states',
        transformer('BertModel', 'BertConfig', output_hidden_states=True, **BERT),
        tokens,
        None,
        '',
        'wrapper',
        16,
        main=_first,
    ),
    Case(
        'convnext',
        transformer(
            'ConvNextForImageClassification', 'ConvNextConfig', hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 2, 1]
        ),
        lambda: {'pixel_values': floats(3, 32, 32)()},
        None,
        'convnext.layernorm',
        'wrapper',
        16,
    ),
    Case(
        'clip image',
        transformer('CLIPVisionModelWithProjection', 'CLIPVisionConfig', projection_dim=8, **VIT),
        _pixels,
        None,
        '',
        'wrapper',
        8,
        main=_first,
    ),
    Case(
        'clip text',
        transformer('CLIPTextModel', 'CLIPTextConfig', eos_token_id=49, **BERT),
        tokens,
        None,
        '',
        'wrapper',
        16,
        main=_first,
    ),
]


def call(model, inputs, training=False):
    model.train(training)
    with torch.set_grad_enabled(training):
        return Encoder(model).call(inputs).detach().numpy()


def activation(model, inputs, case):
    found = []
    target = model.get_submodule(case.path)
    handle = target.register_forward_hook(lambda module, args, output: found.append(case.main(output).clone()))
    with torch.no_grad():
        Encoder(model.eval()).call(inputs)
    handle.remove()
    return found[case.call - 1].numpy()


def weights(model):
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def statistics(model):
    return {name: b.numpy().copy() for name, b in model.named_buffers()}


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def reached(model, inputs):
    model.train()
    model.zero_grad()
    (Encoder(model).call(inputs) ** 2).sum().backward()
    return {name for name, p in model.named_parameters() if p.grad is not None}


def train(model, inputs):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (Encoder(model).call(inputs) ** 2).mean().backward()
        optimizer.step()
    model.eval()


def reloaded(model, fresh, folder):
    torch.save(model.state_dict(), folder / 'weights.pt')
    fresh.load_state_dict(torch.load(folder / 'weights.pt', weights_only=True))
    return fresh


def dense(inputs, outputs):
    return nn.Linear(inputs, outputs)


AS_THEY_ARE = {'choosing', 'head first', 'pair', 'shared', 'vgg', 'vgg before relu', 'vgg body'}
"""The cases that `fit` does not tailor unasked: their heads are not certain to be any."""
