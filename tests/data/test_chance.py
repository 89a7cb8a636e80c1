import random

import numpy as np
import pytest

from finetuner.data.chance import seeded


def drawn(*numbers):
    with seeded(*numbers):
        return random.random(), np.random.rand()


def test_the_same_numbers_give_the_same_chance_and_others_another():
    first = drawn(1, 2)
    random.random(), np.random.rand()
    assert drawn(1, 2) == first
    assert len({drawn(1, 2), drawn(2, 1), drawn(1, 3), drawn(1)}) == 4


def test_chance_can_be_begun_anew_within():
    with seeded(1) as seed:
        random.random(), np.random.rand()
        seed(1, 2)
        assert (random.random(), np.random.rand()) == drawn(1, 2)


def test_generators_are_put_back_also_after_an_error():
    np.random.seed(3), random.seed(3)
    expected = np.random.rand(), random.random()
    np.random.seed(3), random.seed(3)
    try:
        with seeded(1):
            raise KeyError
    except KeyError:
        pass
    assert (np.random.rand(), random.random()) == expected


@pytest.mark.backends('torch')
def test_torch_is_seeded_and_put_back_too():
    import torch

    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    draws = []
    for _ in range(2):
        with seeded(1):
            draws.append(torch.rand(1))
    assert draws[0] == draws[1]
    assert torch.rand(1) == expected


@pytest.mark.backends('paddle')
def test_paddle_is_seeded_and_put_back_too():
    from finetuner.backends.paddle import paddle

    def draw():
        return paddle.rand([1]).item()

    paddle.seed(3)
    expected = draw()
    paddle.seed(3)
    draws = []
    for numbers in ((1,), (1,), (2,)):
        with seeded(*numbers):
            draws.append(draw())
    assert draws[0] == draws[1] != draws[2]
    assert draw() == expected
