"""The robustness matrix on every library: all losses, or a rotating tenth of them where a run takes long."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest

import finetuner.losses
from tests.losses import matrix

# On JAX, where every operation is compiled on its own, it takes minutes: FINETUNER_MATRIX=full runs it whole.
FULL = ('numpy', 'torch', 'keras-torch', 'keras-tensorflow', 'paddle')


def turn() -> int:
    """Which tenth: another one whenever a loss is changed."""
    sources = sorted(Path(finetuner.losses.__file__).parent.rglob('*.py'))
    return zlib.crc32(b''.join(path.read_bytes() for path in sources)) % 10


@pytest.mark.parametrize('name', matrix.NAMES)
def test_every_cell_is_a_number_and_teaches_what_it_should(library, name):
    if (
        library.name not in FULL
        and os.environ.get('FINETUNER_MATRIX') != 'full'
        and matrix.NAMES.index(name) % 10 != turn()
    ):
        pytest.skip('not in the turn of this version; FINETUNER_MATRIX=full runs all')
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
