"""The robustness matrix on every library: all losses, or a rotating tenth of them where a run takes long."""

import numpy as np
import pytest

from tests.losses import matrix
from tests.losses.turn import in_turn

FULL = ('numpy', 'torch', 'keras-torch', 'keras-tensorflow', 'paddle')


@pytest.mark.parametrize('name', matrix.NAMES)
def test_every_cell_is_a_number_and_teaches_what_it_should(library, name):
    if library.name not in FULL:
        in_turn(matrix.NAMES.index(name))
    for cell in matrix.cells(name):
        if library.name in ('numpy', 'keras-jax') and matrix.CELLS[cell].dtype == 'float64' and not library.float64:
            continue
        if library.name == 'numpy' and 'float16' in matrix.CELLS[cell].dtype:
            continue  # models on numpy do not exist
        found = matrix.steps(library, name, matrix.CELLS[cell])
        assert np.isfinite(found.values).all(), cell
        assert all(np.isfinite(slope).all() for slope in found.slopes), cell
        assert found.values == pytest.approx(found.expected, rel=1e-5, abs=1e-6), cell
        if library.name != 'numpy':  # whose slopes are differences, across the kinks of a formula too
            largest = np.abs(found.slopes[0]).max()
            if cell in matrix.ZERO.get(name, ()):
                assert largest <= matrix.NONE, cell
            else:
                assert largest > matrix.NONE, cell
