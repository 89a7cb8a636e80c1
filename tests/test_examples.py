"""The examples of training loops: each runs as it stands, and makes the search better."""

import re
from pathlib import Path

import pytest

from tests.fresh import ROOT, run

EXAMPLES = Path(ROOT) / 'examples'
RUN = 'import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name="__main__")'


def better(name, *arguments, by=0.1):
    """By how much `map_at_r` must rise, as the example prints it."""
    output = run(RUN, str(EXAMPLES / f'{name}.py'), *arguments).stdout
    before, after = map(float, re.findall(r'map_at_r before (\S+), after (\S+)', output)[-1])
    assert after > before + by, output


@pytest.mark.backends('torch')
@pytest.mark.parametrize('name', ['plain_torch', 'with_lightning', 'huggingface_trainer'])
def test_loops_of_pytorch(name):
    for example, library in (('with_lightning', 'lightning'), ('huggingface_trainer', 'accelerate')):
        if name == example:
            pytest.importorskip(library, reason=f'{library} is not installed: pip install {library}')
    better(name)


@pytest.mark.backends('keras-tensorflow', 'keras-torch', 'keras-jax')
def test_loops_of_keras():
    better('keras_compute_loss')


@pytest.mark.backends('paddle')
def test_loops_of_paddle():
    better('plain_paddle')


def test_the_single_step(backend):
    better('tuner_step', backend.partition('-')[0])


def test_every_example_is_short_and_named_in_the_documentation():
    page = (Path(ROOT) / 'docs' / 'own_loops.md').read_text(encoding='utf-8')
    for path in EXAMPLES.glob('*.py'):
        assert f'(../examples/{path.name})' in page
        assert len(path.read_text(encoding='utf-8').splitlines()) < 60
