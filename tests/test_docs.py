"""The pages of the documentation: their examples run, their links lead somewhere, and nothing is missing."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from finetuner.evaluation.metrics import METRICS
from finetuner.losses.names import LOSSES, MINERS, find
from finetuner.tuner import callbacks
from finetuner.tuner.callbacks.base import HOOKS
from tests.fresh import run
from tests.pages import blocks

DOCS = Path(__file__).parent.parent / 'docs'
PAGES = sorted(DOCS.glob('*.md'))
LANGUAGES = {'python', 'pycon', 'text', 'bash'}  # the first two are run
PLAY = 'import sys; from tests.pages import play; play(*sys.argv[1:])'


def names(pages=PAGES):
    return [page.name for page in pages]


def text(name):
    return (DOCS / name).read_text(encoding='utf-8')


@pytest.mark.backends('torch')
@pytest.mark.parametrize('name', names())
def test_the_examples_of_a_page_run(name, tmp_path):
    run(PLAY, str(DOCS / name), str(tmp_path), FINETUNER_HOME=str(tmp_path / 'home'))


@pytest.mark.parametrize(
    ('code', 'said'),
    [
        ('```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n', 'line 6'),
        ('```python\nx = 1\n```\n\n```pycon\n>>> x\n2\n```\n', 'line 6'),
    ],
)
def test_an_example_that_is_wrong_fails_and_is_found(code, said, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(code)
    done = run(PLAY, str(page), str(tmp_path), check=False)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize('name', names())
def test_every_block_says_whether_it_is_run(name):
    assert {block.language for block in blocks(DOCS / name)} <= LANGUAGES
    assert text(name).count('\n```') == 2 * len(list(blocks(DOCS / name)))


@pytest.mark.parametrize('name', names())
def test_every_link_leads_to_a_page_and_a_heading(name):
    for target in re.findall(r'\]\(([^)\s]+)\)', text(name)):
        if target.startswith('http'):
            continue
        file, _, heading = target.partition('#')
        page = DOCS / file if file else DOCS / name
        assert page.exists(), target
        if heading:
            assert heading in anchors(page), target


def anchors(page):
    titles = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_the_index_names_every_page():
    assert set(re.findall(r'\]\((\w+\.md)\)', text('README.md'))) == set(names()) - {'README.md'}


@pytest.mark.parametrize(
    ('page', 'known'),
    [
        ('losses.md', [*LOSSES, *MINERS]),
        ('losses.md', [f.name for name in LOSSES for f in fields(find(name))]),
        ('evaluation.md', METRICS),
        ('training.md', [*callbacks.__all__, *HOOKS]),
    ],
)
def test_a_page_names_everything_there_is(page, known):
    assert not [name for name in known if f'`{name}`' not in text(page)]
