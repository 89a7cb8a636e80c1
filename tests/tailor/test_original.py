"""The tables of the original: the same names, shapes and numbers of parameters."""

import pytest

from finetuner.tailor import summary, to_embedding_model
from finetuner.tailor.blocks import blocks

pytestmark = pytest.mark.backends('torch')


def _shown(layers):
    return [(x.name, x.shape[1:], x.parameters) for x in layers if x.name != x.path]


def _vgg16():
    # Laid out as torchvision's, without memory.
    import torch
    from torch import nn

    class VGG(nn.Module):
        def __init__(self):
            super().__init__()
            layers, width = [], 3
            for step in (64, 64, 'M', 128, 128, 'M', 256, 256, 256, 'M', 512, 512, 512, 'M', 512, 512, 512, 'M'):
                if step == 'M':
                    layers.append(nn.MaxPool2d(2))
                else:
                    layers += [nn.Conv2d(width, step, 3, padding=1), nn.ReLU(True)]
                    width = step
            self.features = nn.Sequential(*layers)
            self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
            first, second = nn.Linear(512 * 49, 4096), nn.Linear(4096, 4096)
            self.classifier = nn.Sequential(
                first, nn.ReLU(True), nn.Dropout(), second, nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 1000)
            )

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    with torch.device('meta'):
        return VGG()


def test_mlp():
    from torch import nn

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 32))
    assert _shown(summary(model, (28, 28))) == [
        ('flatten_1', (784,), 0),
        ('linear_2', (128,), 100480),
        ('relu_3', (128,), 0),
        ('linear_4', (32,), 4128),
    ]
    assert all(x.embeds for x in summary(model, (28, 28)))


def test_lstm():
    from torch import nn

    class LastCell(nn.Module):
        def forward(self, x):
            return x[0][:, -1, :]

    model = nn.Sequential(
        nn.Embedding(5000, 64), nn.LSTM(64, 64, bidirectional=True, batch_first=True), LastCell(), nn.Linear(128, 32)
    )
    layers = summary(model, (128,), 'int64')
    assert _shown(layers) == [
        ('embedding_1', (128, 64), 320000),
        ('lstm_2', (128, 128), 66560),
        ('lastcell_3', (128,), 0),
        ('linear_4', (32,), 4128),
    ]


def test_vgg16():
    layers = summary(_vgg16(), (3, 224, 224))
    rows = {name: (shape, size) for name, shape, size in _shown(layers)}
    names = list(rows)
    assert (names[0], names[-1], len(names)) == ('conv2d_1', 'linear_39', 39)
    assert rows['adaptiveavgpool2d_32'] == ((512, 7, 7), 0)
    assert rows['linear_33'] == ((4096,), 102764544)
    assert rows['linear_36'] == ((4096,), 16781312)
    assert layers[-1].parameters == 138357544
    assert blocks(layers)[:2] == ['features.0', 'features.2'] and len(blocks(layers)) == 13


@pytest.mark.parametrize(('size', 'name', 'width'), [((28, 28), 'linear_7', 10), ((28, 28), 'relu_5', 64)])
def test_cuts_of_a_dense_model(size, name, width):
    import torch
    from torch import nn

    layers = [nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2)]
    model = nn.Sequential(*layers, nn.Linear(64, 10), nn.Softmax(-1))
    assert to_embedding_model(model, name, size)(torch.zeros(3, *size)).shape == (3, width)
