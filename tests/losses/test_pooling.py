"""Each pooling equals a plain loop over numpy arrays, on every library."""

import numpy as np
import pytest

from finetuner.losses import pooling

RNG = np.random.default_rng(0)
TOKENS = RNG.standard_normal((4, 5, 3))
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0]])
QUERY = np.array([0.5, -1.0, 2.0])


def _loop(one, mask=MASK):
    return np.stack([one(rows[m != 0]) if m.any() else np.zeros(3) for rows, m in zip(TOKENS, mask, strict=True)])


def _gem(rows, p=3.0, eps=1e-2):
    return np.mean(np.maximum(rows, eps) ** p, axis=0) ** (1 / p)


def _attention(rows):
    weights = np.exp(rows @ QUERY)
    return weights @ rows / weights.sum()


CASES = {
    'mean': (lambda x, a, **k: pooling.mean(x, **k), lambda rows: rows.mean(0)),
    'max': (lambda x, a, **k: pooling.max(x, **k), lambda rows: rows.max(0)),
    'gem': (lambda x, a, **k: pooling.gem(x, 3.0, 1e-2, **k), _gem),
    'attention': (lambda x, a, **k: pooling.attention(x, a(QUERY), **k), _attention),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('masked', [True, False])
def test_pooling_of_tokens_equals_a_loop(xp, name, masked):
    pool, one = CASES[name]
    mask = MASK if masked else np.ones_like(MASK)
    got = pool(xp.asarray(TOKENS), xp.asarray, mask=xp.asarray(mask) if masked else None)
    np.testing.assert_allclose(xp.to_numpy(got), _loop(one, mask), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('name', CASES)
def test_maps_are_pooled_over_space_wherever_their_channels_are(xp, name):
    pool, one = CASES[name]
    maps = RNG.standard_normal((2, 4, 6, 3))
    expected = np.stack([one(item.reshape(-1, 3)) for item in maps])
    last = pool(xp.asarray(maps), xp.asarray, axis=-1)
    first = pool(xp.asarray(maps.transpose(0, 3, 1, 2).copy()), xp.asarray, axis=1)
    np.testing.assert_allclose(xp.to_numpy(last), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(xp.to_numpy(first), expected, rtol=1e-5, atol=1e-7)


def test_what_is_masked_may_be_anything(xp):
    x = TOKENS.copy()
    x[1, 3] = 1e30
    for pool, one in CASES.values():
        got = pool(xp.asarray(x), xp.asarray, mask=xp.asarray(MASK))
        np.testing.assert_allclose(xp.to_numpy(got), _loop(one), rtol=1e-5, atol=1e-7)


def test_gem_goes_from_the_mean_to_the_maximum(xp):
    x = np.abs(TOKENS) + 0.1
    np.testing.assert_allclose(xp.to_numpy(pooling.gem(xp.asarray(x), 1.0)), x.mean(1), rtol=1e-5)
    np.testing.assert_allclose(xp.to_numpy(pooling.gem(xp.asarray(x), 500.0)), x.max(1), rtol=1e-2)


def test_cls_is_the_first_token(xp):
    np.testing.assert_allclose(xp.to_numpy(pooling.cls(xp.asarray(TOKENS))), TOKENS[:, 0], rtol=1e-6)
