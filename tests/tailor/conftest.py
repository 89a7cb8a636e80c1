"""The models of the backend under test, one test for each."""

from importlib import import_module

import pytest

from tests.models import framework


def _hands(config):
    backend = config.getoption('--backend')
    if backend in (None, 'numpy'):
        return None
    try:
        return import_module(f'tests.tailor.models_{framework(backend)}')
    except ModuleNotFoundError as error:
        if 'tests.tailor' not in (error.name or ''):
            raise
        return None


def pytest_generate_tests(metafunc):
    if 'case' in metafunc.fixturenames:
        hands = _hands(metafunc.config)
        metafunc.parametrize('case', hands.CASES if hands else [], ids=lambda case: case.name)


@pytest.fixture(scope='session')
def hands(request):
    """The module `models_<framework>`: its models, and how the tests look into them."""
    found = _hands(request.config)
    if found is None:
        pytest.skip('the tailor of this framework is not built yet')
    return found
