"""Chance in people's own functions, made a function of numbers, and put back afterwards."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def seeded(*numbers: int) -> Iterator[Callable[..., None]]:
    """Seed Python's and numpy's global generators, and torch's and Paddle's where loaded, and restore them at the end.

    Args:
        *numbers: non-negative; the same numbers give the same chance.

    Yields:
        What seeds them anew with other numbers, within.
    """
    others = _generators()

    def seed(*numbers: int) -> None:
        words = np.random.SeedSequence(numbers).generate_state(4)
        random.seed(int.from_bytes(words.tobytes(), 'little'))
        np.random.seed(words)
        for generator in others:
            generator.manual_seed(int(words[0]))

    before = random.getstate(), np.random.get_state(), [generator.get_state() for generator in others]
    try:
        seed(*numbers)
        yield seed
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        for generator, state in zip(others, before[2], strict=True):
            generator.set_state(state)


def _generators() -> list[Any]:
    # On the CPU, of the frameworks that are loaded; both have get_state, set_state and manual_seed.
    torch = getattr(sys.modules.get('torch'), 'default_generator', None)
    paddle = getattr(sys.modules.get('paddle'), 'framework', None)
    return [*([torch] if torch else []), *([paddle.core.default_cpu_generator()] if paddle else [])]
