"""Losses with learned classes: the values and slopes of pytorch-metric-learning, with torch."""

import numpy as np
import pytest

from finetuner.losses import get
from tests.gradients import value_and_grad
from tests.losses import cases
from tests.losses.peers import NEAR, compare

pytestmark = pytest.mark.backends('torch')

CLASSES, DIM = 9, 16


@pytest.fixture
def peer():
    pytest.importorskip('pytorch_metric_learning.losses')
    return pytest.importorskip('pytorch_metric_learning')


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('CosFaceLoss', {}),
        ('CosFaceLoss', {'margin': 0.1, 'scale': 8}),
        ('LargeMarginSoftmaxLoss', {}),
        ('LargeMarginSoftmaxLoss', {'margin': 3, 'scale': 0.5}),
        ('NormalizedSoftmaxLoss', {}),
        ('NormalizedSoftmaxLoss', {'temperature': 0.5}),
        ('SphereFaceLoss', {}),
        ('SphereFaceLoss', {'margin': 2, 'scale': 2}),
        ('SoftTripleLoss', {}),
        ('SoftTripleLoss', {'centers_per_class': 3, 'la': 5, 'gamma': 0.4, 'margin': 0.2}),
        ('SubCenterArcFaceLoss', {}),
        ('SubCenterArcFaceLoss', {'sub_centers': 2, 'margin': 10.0, 'scale': 8}),
        ('ProxyNCALoss', {}),
        ('ProxyNCALoss', {'softmax_scale': 6}),
        ('ProxyAnchorLoss', {}),
        ('ProxyAnchorLoss', {'margin': 0.3, 'alpha': 4}),
    ],
)
def test_value_and_slopes(peer, name, options):
    loss = get(name, **options)
    theirs = getattr(peer.losses, name)(num_classes=CLASSES, embedding_size=DIM, **options)
    parameter = next(key for key, _ in theirs.named_parameters())
    compare(
        loss,
        theirs,
        weights=[cases.vectors(CLASSES * loss.centers, DIM, 4)],
        dim=DIM,
        named=lambda w: {parameter: w[0] if parameter == 'proxies' else w[0].T},
    )


def test_a_class_that_the_batch_does_not_have(peer):
    # It has no positives part in the loss of proxy anchors, and counts among the negatives.
    labels = np.array([0, 0, 3, 5, 5, 5])
    theirs = peer.losses.ProxyAnchorLoss(num_classes=CLASSES, embedding_size=DIM)
    weights = [cases.vectors(CLASSES, DIM, 4)]
    compare(get('ProxyAnchorLoss'), theirs, weights=weights, labels=labels, named=lambda w: {'proxies': w[0]})


@pytest.mark.parametrize(
    ('name', 'attributes'),
    [
        ('CosFaceLoss', ('margin', 'scale')),
        ('LargeMarginSoftmaxLoss', ('margin', 'scale')),
        ('NormalizedSoftmaxLoss', ('temperature',)),
        ('ProxyAnchorLoss', ('margin', 'alpha')),
        ('ProxyNCALoss', ('softmax_scale',)),
        ('SoftTripleLoss', ('centers_per_class', 'la', 'margin')),
        ('SphereFaceLoss', ('margin', 'scale')),
        ('SubCenterArcFaceLoss', ('sub_centers', 'scale')),
    ],
)
def test_defaults_are_theirs(peer, name, attributes):
    theirs = getattr(peer.losses, name)(num_classes=CLASSES, embedding_size=DIM)
    for attribute in attributes:
        assert getattr(get(name), attribute) == getattr(theirs, attribute)
    if name == 'SoftTripleLoss':
        assert get(name).gamma == pytest.approx(1 / theirs.gamma)
    if name == 'SubCenterArcFaceLoss':
        assert np.radians(get(name).margin) == pytest.approx(theirs.margin)


def test_the_softmax_is_that_of_a_linear_layer():
    import torch

    labels = torch.tensor([0, 3, 3, 1, 2])
    arrays = cases.vectors(5, 6), cases.vectors(4, 6, 1), cases.vectors(1, 4, 2)[0]

    def ours(x, w, b):
        return get('SoftmaxLoss')(x, labels, classes=w, bias=b)

    def theirs(x, w, b):
        return torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, w, b), labels)

    value, slopes = value_and_grad('torch', ours, *arrays)
    expected, right = value_and_grad('torch', theirs, *arrays)
    assert value == pytest.approx(expected, rel=NEAR)
    for found, slope in zip(slopes, right, strict=True):
        assert np.abs(found - slope).max() <= NEAR * np.abs(slope).max()
