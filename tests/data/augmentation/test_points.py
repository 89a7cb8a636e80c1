import pickle

import numpy as np
import pytest

from finetuner.data.augmentation import PointAugmentation
from finetuner.data.chance import seeded
from finetuner.errors import ArgumentError, DataError

CLOUD = np.random.default_rng(0).normal((5, 0, -3), 1, (200, 3)).astype(np.float32)
STILL = {'rotation': None, 'scale': (1, 1), 'jitter': 0, 'drop': 0}


def view(number=0, cloud=CLOUD, **options):
    with seeded(number):
        return PointAugmentation(**STILL | options)(cloud)


def centred(cloud):
    return cloud - CLOUD.mean(0)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_a_view_has_the_form_of_the_cloud_and_hangs_on_the_seed_alone(dtype):
    cloud = CLOUD.astype(dtype)
    kept = cloud.copy()
    views = []
    for number in (1, 1, 2):
        with seeded(number):
            views.append(PointAugmentation()(cloud))
    assert views[0].shape == cloud.shape and views[0].dtype == dtype
    np.testing.assert_array_equal(views[0], views[1])
    assert np.abs(views[0] - views[2]).max() > 0.1
    np.testing.assert_array_equal(cloud, kept)


def test_without_changes_it_is_the_cloud():
    np.testing.assert_allclose(view(), CLOUD, atol=1e-6)


@pytest.mark.parametrize(('rotation', 'fixed'), [('x', [0]), ('y', [1]), ('z', [2]), ('all', [])])
def test_it_is_turned_around_an_axis_through_its_middle(rotation, fixed):
    angles = []
    for number in range(20):
        turned = centred(view(number, rotation=rotation))
        np.testing.assert_allclose(turned @ turned.T, centred(CLOUD) @ centred(CLOUD).T, atol=1e-4)
        np.testing.assert_allclose(turned[:, fixed], centred(CLOUD)[:, fixed], atol=1e-5)
        found = np.linalg.lstsq(centred(CLOUD), turned, rcond=None)[0]
        assert np.linalg.det(found) == pytest.approx(1, abs=1e-4)  # turned, and not mirrored
        angles.append(np.trace(found))
    assert np.ptp(angles) > 1


def test_it_is_scaled_about_its_middle():
    sizes = [np.linalg.norm(centred(view(n, scale=(0.5, 2)))) / np.linalg.norm(centred(CLOUD)) for n in range(50)]
    assert 0.5 <= min(sizes) < 0.7 and 1.7 < max(sizes) <= 2


def test_noise_is_a_part_of_the_radius():
    for factor in (1, 1000):
        cloud = CLOUD * factor
        noise = view(cloud=cloud, jitter=0.02) - cloud
        radius = np.linalg.norm(cloud - cloud.mean(0), axis=1).max()
        assert noise.std() == pytest.approx(0.02 * radius, rel=0.1)


def test_points_are_left_out_and_others_stand_in_their_place():
    counts = [len(np.unique(view(number, drop=0.5), axis=0)) for number in range(50)]
    assert 100 <= min(counts) < 130 and 180 < max(counts) <= 200
    known = {tuple(point) for point in view()}
    assert {tuple(point) for point in view(1, drop=0.5)} < known


def test_it_can_be_pickled():
    assert pickle.loads(pickle.dumps(PointAugmentation('z'))) == PointAugmentation('z')


@pytest.mark.parametrize('content', [np.zeros((5, 2)), np.zeros(3), np.zeros((1, 3)), ['a', 'b'], np.zeros((4, 4, 3))])
def test_what_is_no_cloud_is_refused(content):
    with pytest.raises(DataError, match=r'a point cloud is \(N, 3\) numbers; this is'):
        PointAugmentation()(content)


@pytest.mark.parametrize(
    'options', [{'rotation': 'w'}, {'scale': (0, 1)}, {'jitter': -1}, {'drop': 1}, {'drop': 1.5}, {'scale': 2}]
)
def test_numbers_that_cannot_be_are_refused(options):
    with pytest.raises(ArgumentError, match=r'expected'):
        PointAugmentation(**options)
