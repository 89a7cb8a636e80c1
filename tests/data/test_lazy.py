import subprocess
import sys
from pathlib import Path

import pytest

import finetuner.data


def test_reading_data_imports_no_library_that_the_data_are_not_of():
    program = (
        'import sys, finetuner.data\n'
        'finetuner.data.read([("a", 1), ("b", 2)])\n'
        'finetuner.data.check([("a", 1), ("b", 1), ("c", 2)])\n'
        'print(*sorted(sys.modules))\n'
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True, cwd=root)
    heavy = {'torch', 'keras', 'tensorflow', 'paddle', 'jax', 'docarray', 'pandas', 'datasets', 'sklearn', 'PIL'}
    assert not heavy & set(found.stdout.split())
    assert 'numpy' in found.stdout.split()


def test_public_names():
    for name in finetuner.data.__all__:
        assert getattr(finetuner.data, name) is not None
    with pytest.raises(AttributeError, match=r'no attribute'):
        _ = finetuner.data.nothing
