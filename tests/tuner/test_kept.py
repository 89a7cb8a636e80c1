"""What the names in `keep` mean, in a model and in the general one that it was made of."""

import pytest

from finetuner.errors import ArgumentError
from finetuner.tailor.layers import Call, listed
from finetuner.tuner.callbacks.kept import kept


def layers(*paths, **kinds):
    """Linear layers, and the kinds of others by their path; `root` is the model itself."""
    places = [*paths, *(path.replace('_', '.') for path in kinds if path != 'root')]
    calls = [Call(path, kinds.get(path.replace('.', '_'), 'Linear'), (None, 4), 'float32', 20, True) for path in places]
    return listed([*calls, Call('', kinds.get('root', 'Net'), (None, 4), 'float32', 100, True)])


RESNET = layers('body.conv1', 'body.layer1.0.conv1', 'body.layer1.0.fc', 'projection.0', body='Net', root='Tailored')
STOPPED = layers('body.model.a.fc', 'body.model.b', 'pool', body='Stopped', root='Tailored')


@pytest.mark.parametrize(
    ('model', 'name', 'path'),
    [
        (RESNET, 'conv1', ('body.conv1',)),
        (RESNET, 'body.conv1', ('body.conv1',)),
        (RESNET, 'layer1.0.conv1', ('body.layer1.0.conv1',)),
        (RESNET, 'layer1.*', ('body.layer1.0.conv1', 'body.layer1.0.fc')),
        (RESNET, 'layer1', ('body.layer1.0.conv1', 'body.layer1.0.fc')),
        (RESNET, '*conv1', ('body.conv1', 'body.layer1.0.conv1')),
        (RESNET, 'linear_3', ('body.layer1.0.fc',)),
        (STOPPED, 'a', ('body.model.a.fc',)),
        (STOPPED, 'b', ('body.model.b',)),
        (STOPPED, 'pool', ('pool',)),
        (layers('a.conv1', 'b'), 'b', ('b',)),
    ],
)
def test_names_of_both_models(model, name, path):
    assert kept(model, [name]) == path


@pytest.mark.parametrize(
    ('model', 'name'),
    [
        (RESNET, 'layer2'),
        (RESNET, '0.fc'),
        (RESNET, ''),
        (layers('a.conv1', 'b'), 'conv1'),
        (layers('a.conv1', 'b'), 'a'),
    ],
)
def test_names_that_mean_nothing(model, name):
    with pytest.raises(ArgumentError, match=f"keep: there is no layer '{name}'"):
        kept(model, [name])
