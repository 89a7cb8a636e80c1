"""The pages of the documentation: their examples run, their links lead somewhere, and nothing is missing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ENGINES
from finetuner.evaluation.metrics import METRICS
from finetuner.evaluation.spaces import METRICS as SPACES
from finetuner.losses import InfoNCELoss
from finetuner.losses.names import LOSSES, WRAPPERS
from finetuner.losses.reduce import REDUCERS
from finetuner.losses.registry import choose
from finetuner.tuner import callbacks
from finetuner.tuner.callbacks.base import HOOKS
from tests.fresh import run
from tests.pages import blocks, engines

DOCS = Path(__file__).parent.parent / 'docs'
PAGES = sorted(DOCS.glob('*.md'))
GENERATED = sorted([*DOCS.glob('losses/*.md'), *DOCS.glob('miners/*.md')])
LANGUAGES = {'python', 'pycon', 'output', 'text', 'bash'}  # the first two are run, and the third is compared
PLAY = 'import sys; from tests.pages import play; play(*sys.argv[1:])'


def names(pages=PAGES):
    return [page.name for page in pages]


def text(name):
    return (DOCS / name).read_text(encoding='utf-8')


@pytest.mark.parametrize(
    'name', [pytest.param(page.name, marks=pytest.mark.backends(*engines(page))) for page in PAGES]
)
def test_the_examples_of_a_page_run(name, tmp_path):
    run(PLAY, str(DOCS / name), str(tmp_path), FINETUNER_HOME=str(tmp_path / 'home'))


@pytest.mark.parametrize(
    ('code', 'said'),
    [
        ('```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n', 'line 6'),
        ('```python\nx = 1\n```\n\n```pycon\n>>> x\n2\n```\n', 'line 6'),
        ('```python\nprint(1, 12)\n```\n\n```output\n2\n```\n', 'line 5'),
        ('```output\n2\n```\n', 'line 1'),
    ],
)
def test_an_example_that_is_wrong_fails_and_is_found(code, said, tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(code)
    done = run(PLAY, str(page), str(tmp_path), check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_output_may_be_a_part_of_what_is_printed(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('```python\nprint(1, 2)\nprint(3)\n```\n\n```output\n2  3\n```\n')
    run(PLAY, str(page), str(tmp_path))


def test_every_page_runs_somewhere():
    found = {page.name: engines(page) for page in PAGES}
    assert all(set(backends) <= set(ENGINES) for backends in found.values()), found
    assert {backend for backends in found.values() for backend in backends} == set(ENGINES)


@pytest.mark.parametrize('name', names())
def test_a_page_that_is_not_for_pytorch_says_so_in_its_first_line(name):
    assert ('<!-- runs with' in text(name)) == (engines(DOCS / name) != ['torch'])


@pytest.mark.parametrize('name', names())
def test_every_block_says_whether_it_is_run(name):
    assert {block.language for block in blocks(DOCS / name)} <= LANGUAGES
    assert text(name).count('\n```') == 2 * len(list(blocks(DOCS / name)))


@pytest.mark.parametrize('page', [*PAGES, *GENERATED], ids=lambda page: str(page.relative_to(DOCS)))
def test_every_link_leads_to_a_page_and_a_heading(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text(encoding='utf-8')):
        if target.startswith('http'):
            continue
        file, _, heading = target.partition('#')
        there = page.parent / file if file else page
        assert there.exists(), target
        if heading:
            assert heading in anchors(there), target


def anchors(page):
    titles = re.findall(r'^#+ (.+)$', page.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


def test_the_index_names_every_page():
    assert set(re.findall(r'\]\((\w+\.md)\)', text('README.md'))) == set(names()) - {'README.md'}


@pytest.mark.parametrize(
    ('page', 'known'),
    [
        ('losses.md', REDUCERS),
        ('evaluation.md', [*METRICS, *SPACES]),
        ('training.md', [*callbacks.__all__, *HOOKS]),
    ],
)
def test_a_page_names_everything_there_is(page, known):
    assert not [name for name in known if f'`{name}`' not in text(page)]


def test_the_pages_of_losses_and_miners_say_what_their_docstrings_say():
    done = subprocess.run(
        [sys.executable, str(DOCS / 'generate.py'), '--check'], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {page.stem for page in GENERATED} >= {*LOSSES, *WRAPPERS}


def test_loss_none_takes_what_the_guide_says():
    rows = re.findall(r'^\| (.+?) \| (.+?) \| .*\|$', text('losses.md'), re.MULTILINE)
    said = {data: loss for data, loss in rows}
    asked = (
        ('class', 1, None, 'labels, several items of each'),
        ('pair', 2, None, 'pairs, with or without hard negatives'),
        ('instance', 1, None, 'items without labels'),
        ('score', 2, 1, 'pairs with a score'),
        ('score', 3, 1, 'triplets with the margin of a teacher, or its score of both documents'),
        ('score', 3, 2, 'triplets with the margin of a teacher, or its score of both documents'),
        ('score', 4, 3, "a query, three or more documents and the teacher's score of each"),
    )
    named = {data for data, loss in said.items() if 'Loss' in loss}
    assert named - {'your data look like this'} == {data for *_, data in asked}
    for kind, width, scores, data in asked:
        loss = choose(kind, width, scores)
        assert type(loss).__name__ in said[data]
        if isinstance(loss, InfoNCELoss):
            assert f'temperature {loss.temperature}' in said[data]
            assert loss.symmetric == ('symmetric' in said[data])
