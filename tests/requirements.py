"""What some tests need and not every machine has: without it they skip, and say why."""

import os
from pathlib import Path

import pytest


def require(name: str, reason: str, present: bool = False) -> None:
    """Skip a test or module that lacks something; fail instead where FINETUNER_REQUIRE names it.

    Args:
        name: of the requirement, as FINETUNER_REQUIRE lists it, separated by commas: 'data', 'docarray2', …
        reason: what is missing and how one gets it.
        present: nothing is missing.
    """
    if present:
        return
    if name in os.environ.get('FINETUNER_REQUIRE', '').replace(' ', '').split(','):
        pytest.fail(f'FINETUNER_REQUIRE names {name!r}, but {reason}', pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def data_folder() -> Path:
    """The folder of the real data sets, if there is one."""
    folder = os.environ.get('FINETUNER_DATA', '')
    require('data', 'FINETUNER_DATA names no folder with data sets', bool(folder) and Path(folder).is_dir())
    return Path(folder)
