"""Drawing queries anew, and the signs of their differences."""

import itertools

import numpy as np
import pytest

from finetuner.errors import ArgumentError
from finetuner.evaluation import bootstrap


def test_means_are_of_queries_drawn_with_replacement(rng, monkeypatch):
    values = rng.random((7, 2))
    monkeypatch.setattr(bootstrap, '_LOTS', 50)
    found = bootstrap.means(values, 40, seed=3)
    chance = np.random.default_rng(3)
    steps = [7] * 5 + [5]  # as many draws of 7 queries at a time as fit
    drawn = np.concatenate([chance.integers(0, 7, (step, 7)) for step in steps])
    np.testing.assert_allclose(found, values[drawn].mean(axis=1), rtol=1e-12)


def test_their_spread_is_the_standard_error(rng):
    values = rng.random((60, 1))
    assert bootstrap.means(values, 4_000, 0).std() == pytest.approx(bootstrap.standard_error(values[:, 0]), rel=0.05)
    slow = bootstrap.drawn(lambda rows: values[rows].mean(), 60, 4_000, 0)
    assert slow.std() == pytest.approx(bootstrap.standard_error(values[:, 0]), rel=0.05)


def test_the_interval_of_a_mean_holds_it_as_often_as_it_says():
    chance, held = np.random.default_rng(0), 0
    for trial in range(300):
        values = chance.exponential(1.0, (80, 1))
        low, high = bootstrap.bounds(bootstrap.means(values, 400, trial), 0.9)[:, 0]
        held += low <= 1 <= high
    assert 0.85 < held / 300 < 0.94


@pytest.mark.parametrize('confidence', [0, 1, 95, float('nan')])
def test_confidence_is_a_part_of_one(confidence):
    with pytest.raises(ArgumentError, match='expected a part of 1, such as 0.95'):
        bootstrap.bounds(np.zeros((3, 1)), confidence)


def every_sign(differences):
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([-1, 1], repeat=len(differences))]
    return np.mean([each >= abs(differences.sum()) - 1e-9 for each in sums])


def test_few_differences_are_tried_with_all_signs(rng):
    differences = rng.normal(0.3, 1, (8, 3)).round(1)
    differences[2:5, 1] = 0  # ties change nothing
    expected = [every_sign(column) for column in differences.T]
    np.testing.assert_allclose(bootstrap.sign_flips(differences, 10_000, 0), expected)


def test_many_differences_are_tried_with_drawn_signs(rng, monkeypatch):
    differences = rng.normal(0.4, 1, (14, 2))
    monkeypatch.setattr(bootstrap, '_LOTS', 1000)
    expected = [every_sign(column) for column in differences.T]
    np.testing.assert_allclose(bootstrap.sign_flips(differences, 8_000, 0), expected, atol=0.02)


def test_no_p_value_is_zero_and_no_change_is_certain():
    differences = np.stack([np.ones(50), np.zeros(50), np.tile([1.0, -1.0], 25)], axis=1)
    assert bootstrap.sign_flips(differences, 999, 0).tolist() == [1 / 1000, 1, 1]


def test_agrees_with_scipy(rng):
    stats = pytest.importorskip('scipy.stats')
    differences = rng.normal(0.2, 1, 11)
    exact = stats.permutation_test((differences,), np.mean, permutation_type='samples', n_resamples=np.inf)
    assert bootstrap.sign_flips(differences[:, None], 10_000, 0)[0] == pytest.approx(exact.pvalue, abs=1e-12)
    values = rng.exponential(1, 200)
    theirs = stats.bootstrap((values,), np.mean, method='percentile', n_resamples=4_000).confidence_interval
    ours = bootstrap.bounds(bootstrap.means(values[:, None], 4_000, 0), 0.95)[:, 0]
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.02)
