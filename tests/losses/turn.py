"""Tests that take minutes where every operation or every loss is compiled on its own: a tenth of them, in turn.

FINETUNER_MATRIX=full runs all.
"""

import os
import zlib
from functools import cache
from pathlib import Path

import pytest

import finetuner.losses


def in_turn(place: int) -> None:
    """Skip the test of this number, unless its tenth is in turn."""
    if os.environ.get('FINETUNER_MATRIX') != 'full' and place % 10 != turn():
        pytest.skip('not in the turn of this version; FINETUNER_MATRIX=full runs all')


@cache
def turn() -> int:
    """Which tenth: another one whenever a loss is changed."""
    sources = sorted(Path(finetuner.losses.__file__).parent.rglob('*.py'))
    return zlib.crc32(b''.join(path.read_bytes() for path in sources)) % 10
