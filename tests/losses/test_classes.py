"""Learned classes: where they start, how the loss is called with them, and what is refused."""

import math

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.losses import get
from finetuner.losses.classes import start
from finetuner.losses.names import LOSSES, find
from finetuner.losses.sphereface import psi
from tests.losses.cases import vectors

LEARNED = sorted(name for name in LOSSES if find(name).candidates == 'classes')


def directions(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize('means', [None, directions(vectors(4, 6, seed=1))])
@pytest.mark.parametrize('centers', [1, 3])
def test_a_start_has_length_one_is_always_the_same_and_has_no_two_equal(means, centers):
    x = start(4, 6, means, centers)
    assert x.shape == (4 * centers, 6) and x.dtype == np.float32
    assert np.linalg.norm(x, axis=1) == pytest.approx(1)
    assert np.array_equal(x, start(4, 6, means, centers))
    assert len(np.unique(x, axis=0)) == len(x)


def test_one_center_starts_at_the_mean_of_its_class_and_several_close_to_it():
    means = directions(vectors(4, 6, seed=1))
    assert start(4, 6, means) == pytest.approx(means)
    near = start(4, 6, means, 5).reshape(4, 5, 6) @ means[:, :, None]
    assert near.min() > 0.98 and near.max() < 1


def test_a_class_without_a_mean_starts_from_noise():
    means = directions(vectors(4, 6, seed=1))
    means[2] = 0
    x, noise = start(4, 6, means, 2), start(4, 6, None, 2)
    assert np.array_equal(x[4:6], noise[4:6])
    assert np.abs(x - noise)[[0, 1, 2, 3, 6, 7]].max(axis=1).min() > 0.1


@pytest.mark.parametrize('name', LEARNED)
def test_every_loss_starts_from_means_and_then_knows_the_classes(name):
    loss = get(name)
    means = np.eye(4)
    x, labels = np.repeat(means, 3, axis=0), np.repeat(np.arange(4), 3)
    learned = loss.parameters(4, 4, means)
    assert learned['classes'].shape == (4 * loss.centers, 4)
    assert all(value.dtype == np.float32 for value in learned.values())
    assert loss(x, labels, **learned) < loss(x, labels, **loss.parameters(4, 4))


@pytest.mark.parametrize('name', LEARNED)
def test_labels_are_enough_in_ones_own_code(name):
    loss = get(name)
    learned = loss.parameters(5, 3)
    value = loss(vectors(4), np.array([0, 2, 2, 1]), **learned)
    assert value == pytest.approx(float(loss(vectors(4), [0, 2, 2, 1], **learned)))
    assert value > 0


@pytest.mark.parametrize('name', ['SubCenterArcFaceLoss', 'SoftTripleLoss'])
def test_rows_that_are_no_whole_number_of_classes_are_refused(name):
    loss = get(name)
    with pytest.raises(ArgumentError, match=f'{loss.centers + 1} rows: expected {loss.centers} for each class'):
        loss(vectors(4), np.array([0, 0, 0, 0]), classes=vectors(loss.centers + 1))


def test_one_sub_center_is_arcface():
    x, labels, classes = vectors(6), np.array([0, 1, 2, 0, 1, 2]), vectors(3, seed=1)
    one = get('SubCenterArcFaceLoss', sub_centers=1)
    assert one(x, labels, classes=classes) == get('ArcFaceLoss')(x, labels, classes=classes)


@pytest.mark.parametrize('margin', [1, 2, 3, 4, 7])
def test_the_multiplied_angle_is_the_formula_and_falls(margin):
    angles = np.linspace(0.001, math.pi - 0.001, 500)
    expected = [
        (-1) ** int(margin * a / math.pi) * math.cos(margin * a) - 2 * int(margin * a / math.pi) for a in angles
    ]
    assert psi(np.cos(angles), margin) == pytest.approx(expected)
    assert (np.diff(psi(np.cos(angles), margin)) < 1e-12).all()
    assert psi(np.array([1.0, -1.0]), margin) == pytest.approx([1, 1 - 2 * margin])


def on_its_class(name, side):
    loss = get(name)
    learned = loss.parameters(4, 3)
    return loss, side * learned['classes'][:: loss.centers][:2], np.array([0, 1]), learned


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-torch', 'keras-jax', 'paddle')
@pytest.mark.parametrize('side', [1, -1])
@pytest.mark.parametrize('name', LEARNED)
def test_an_item_on_its_class_or_opposite_has_a_finite_slope(library, name, side):
    loss, x, labels, learned = on_its_class(name, side)
    labels = library.native(labels)

    def f(x, *values):
        return loss(x, labels, **dict(zip(learned, values, strict=True)))

    value, slopes = library.value_and_grad(f, x, *learned.values())
    assert np.isfinite(value)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert value == pytest.approx(float(loss(*on_its_class(name, side)[1:3], **learned)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('ArcFaceLoss', {'margin': 180}),
        ('ArcFaceLoss', {'margin': -1}),
        ('CosFaceLoss', {'scale': 0}),
        ('LargeMarginSoftmaxLoss', {'margin': 0.5}),
        ('NormalizedSoftmaxLoss', {'temperature': 0}),
        ('ProxyAnchorLoss', {'alpha': -1}),
        ('ProxyNCALoss', {'softmax_scale': 0}),
        ('SoftTripleLoss', {'centers_per_class': 0}),
        ('SoftTripleLoss', {'gamma': 0}),
        ('SphereFaceLoss', {'margin': 0}),
        ('SubCenterArcFaceLoss', {'sub_centers': True}),
        ('SubCenterArcFaceLoss', {'sub_centers': 2.0}),
        *((name, {'reducer': 'median'}) for name in LEARNED),
    ],
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(ArgumentError):
        get(name, **options)
