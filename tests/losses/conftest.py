"""Fixtures of the tests of formulas, which run on every backend, numpy included."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from finetuner.losses.objective import Objective
from tests.gradients import native, value_and_grad
from tests.losses.cases import Batch


class Library:
    """The library under test, by the name of `--backend`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.native: Callable[..., Any] = partial(native, name)
        self.value_and_grad: Callable[..., Any] = partial(value_and_grad, name)
        # JAX has float64 only as a setting of the whole process.
        self.float64 = name != 'keras-jax'

    def run(
        self, objective: Objective, batch: Batch, *learned: np.ndarray, **options: Any
    ) -> tuple[float, list[np.ndarray]]:
        """Value and gradients of an objective of the embeddings of a batch, and of what the loss learned."""
        codes = {name: self.native(code) for name, code in batch.codes.items()}

        names = list(objective.parameters(batch.embeddings.shape[1], 1))

        def f(x: Any, *weights: Any) -> Any:
            return objective(x, codes, batch.layout, dict(zip(names, weights, strict=True)))

        return self.value_and_grad(f, batch.embeddings, *learned, **options)


@pytest.fixture(scope='session')
def library(request, xp):
    """The library under test; the fixture `xp` has seen to it that there is one."""
    return Library(request.config.getoption('--backend'))
