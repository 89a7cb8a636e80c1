"""What is no seed is refused with the same sentence wherever one is taken."""

import pytest

import finetuner
from finetuner.errors import ArgumentError
from finetuner.tailor.tailoring import rebuild, recipe_of
from tests.models import clusters, mlp


@pytest.mark.parametrize('seed', ['x', -1, 1.5, True])
def test_what_is_no_seed(backend, seed):
    model, data = mlp(backend), clusters()
    recipe = recipe_of(finetuner.to_embedding_model(model, inputs=data[0], output_dim=4, seed=0))
    for call in (
        lambda: finetuner.fit(model, data, epochs=1, seed=seed),
        lambda: finetuner.to_embedding_model(model, inputs=data[0], output_dim=4, seed=seed),
        lambda: rebuild(model, recipe, data[0], seed=seed),
    ):
        with pytest.raises(ArgumentError, match=f'seed={seed!r}: expected a whole number of at least 0'):
            call()
