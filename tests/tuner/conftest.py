"""What tests of trainings share."""

import logging

import pytest

from finetuner.console import logger


@pytest.fixture
def said():
    """A function that gives what was logged so far."""
    lines = []

    class Keeps(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    keeps = Keeps()
    logger.addHandler(keeps)
    yield lambda: '\n'.join(lines)
    logger.removeHandler(keeps)
