"""The page in a browser: Debian's chromium, driven by Playwright."""

import shutil
from itertools import pairwise

import pytest

from finetuner.evaluation import report
from tests.evaluation.reports import before_and_after, images, texts
from tests.requirements import require

SECTIONS = ['metrics', 'ranks', 'improved', 'worsened', 'map', 'pairs', 'origin']
DATA = {'texts': texts, 'images': images, 'classes': lambda: texts(180, 90), 'long': lambda: long()}


def long():
    """Texts and labels without a place to break them."""
    _, labels = texts()
    return [(f'{i}' + 'x' * 400, 'y' * 200 + f'{label}') for i, label in enumerate(labels)], labels


@pytest.fixture(scope='module')
def chromium():
    """A browser, closed in the end."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        require('browser', "playwright is not installed: pip install 'finetuner[dev]'")
    path = shutil.which('chromium')
    require('browser', 'there is no chromium: apt-get install chromium', path is not None)
    with sync_playwright() as playwright:
        # Its sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def pages(tmp_path_factory):
    """The reports, by what they are of."""
    folder, found = tmp_path_factory.mktemp('reports'), {}
    for name, make in DATA.items():
        data, labels = make()
        sides = before_and_after((data, labels) if name == 'images' else data, labels)
        found[name] = report(*sides, folder / f'{name}.html')
    return found


@pytest.fixture
def opened(chromium, pages):
    """Opens a page; what it asked for and complained of is looked at in the end."""
    contexts, asked, said = [], [], []

    def open_(name, width=1100, **options):
        context = chromium.new_context(viewport={'width': width, 'height': 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on('request', lambda request: asked.append(request.url))
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.goto(pages[name].as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    own = {path.as_uri() for path in pages.values()}
    assert asked and not [url for url in asked if url not in own and not url.startswith('data:')]
    assert not said


def overflows(page):
    return page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth')


@pytest.mark.parametrize('width', [320, 1100])
@pytest.mark.parametrize('name', DATA)
def test_every_section_is_seen_and_the_page_is_no_wider_than_the_window(opened, name, width):
    page = opened(name, width)
    assert page.locator('section').evaluate_all('all => all.map(each => each.id)') == SECTIONS
    for section in SECTIONS:
        box = page.locator(f'#{section}').bounding_box()
        assert box['width'] > 200 and box['height'] > 60
        assert page.locator(f'#{section} h2').is_visible()
    assert not overflows(page)


def test_pictures_have_loaded(opened):
    page = opened('images')
    sizes = page.locator('img').evaluate_all('all => all.map(each => [each.naturalWidth, each.naturalHeight])')
    assert len(sizes) > 20 and all(size == [24, 20] for size in sizes)
    drawings = page.locator('svg[role=img]')
    assert drawings.count() == 4
    assert all(drawings.nth(i).bounding_box()['height'] > 100 for i in range(4))


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_both_schemes_can_be_read(opened, scheme):
    page = opened('texts', color_scheme=scheme)
    paper = luminance(page, 'body', 'backgroundColor')
    assert (paper < 0.1) == (scheme == 'dark')
    for place in ('.verdict', 'h1', '.note', '#metrics td', '#metrics small', '.texts .text', 'nav a', 'dd', '.tile b'):
        ink = luminance(page, place, 'color')
        behind = luminance(page, place, 'backgroundColor') or paper if place == '.verdict' else paper
        assert contrast(ink, behind) >= 4.5, place
    for group in range(4):
        assert contrast(luminance(page, f'.g{group}', 'fill'), paper) >= 3


def luminance(page, place, what):
    """The relative luminance of a colour, as WCAG defines it."""
    colour = page.locator(place).first.evaluate(f'each => getComputedStyle(each).{what}')
    parts = [int(part) / 255 for part in colour[colour.index('(') + 1 : -1].split(',')[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_classes_are_singled_out_with_the_keyboard(opened):
    page = opened('classes')
    assert page.locator('.legend input').count() == 84
    drawn = page.locator('#map figure').first

    def opacity(group):
        return float(drawn.locator(f'.g{group}').evaluate('each => getComputedStyle(each).opacity'))

    assert opacity(0) == opacity(5) == 1
    page.locator('#k5').focus()
    page.keyboard.press('Space')
    assert opacity(5) == 1 and opacity(0) < 0.2
    page.keyboard.press('Space')
    assert opacity(0) == 1


def test_everything_to_act_on_is_reached_with_the_tab_key_and_seen_there(opened):
    page = opened('texts', 320)
    reached = []
    for _ in range(7 + 1 + 4):  # links, the table, the classes
        page.keyboard.press('Tab')
        reached.append(page.evaluate('document.activeElement.tagName'))
        assert page.evaluate('getComputedStyle(document.activeElement).outlineStyle') != 'none'
    assert reached == ['A'] * 7 + ['DIV'] + ['INPUT'] * 4


def test_texts_of_users_are_seen_as_they_are(opened):
    page = opened('texts')
    assert '<script>alert(1)</script> & "more"' in page.locator('body').inner_text()
    assert page.evaluate('document.scripts.length') == 0


def test_headings_follow_each_other(opened):
    levels = [
        int(tag[1])
        for tag in opened('images').evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(each => each.tagName)")
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_table_of_metrics_is_as_wide_as_a_telephone(opened):
    page = opened('texts', 360)
    table, room = page.evaluate(
        """() => { const wide = document.querySelector('.wide'); return [wide.scrollWidth, wide.clientWidth] }"""
    )
    assert table <= room
