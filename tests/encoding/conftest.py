import logging

import pytest


@pytest.fixture
def log(caplog):
    logger = logging.getLogger('finetuner')
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
