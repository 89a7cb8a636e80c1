"""The page that `evaluation.report` writes, as text."""

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import Evaluator, compare, report
from finetuner.evaluation.intervals import Comparison
from finetuner.evaluation.reports.sections import verdict
from tests.evaluation.reports import MARKUP, Given, before_and_after, images, spread, texts


class Page(HTMLParser):
    """What stands in a page: its text by the section it is in, its tags, and the attributes of each."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding='utf-8')
        self.sections, self.tags, self.open, self.section = {}, [], [], 'head'
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == 'section':
            self.section = found['id']
        if tag not in ('br', 'img', 'input', 'link', 'meta', 'wbr'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.sections[self.section] = self.sections.get(self.section, '') + data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def written(tmp_path, sides, **options):
    page = Page(report(*sides, tmp_path / 'report.html', **options))
    assert not page.open
    return page


@pytest.fixture(scope='module')
def of_texts(tmp_path_factory):
    data, labels = texts()
    sides = before_and_after(data, labels)
    return written(tmp_path_factory.mktemp('texts'), sides), sides


@pytest.fixture(scope='module')
def of_images(tmp_path_factory):
    sides = before_and_after(images(), images()[1])
    return written(tmp_path_factory.mktemp('images'), sides), sides


def test_it_has_all_sections_and_links_to_them(of_texts):
    page, _ = of_texts
    assert [found['id'] for found in page.all('section')] == [
        'metrics', 'ranks', 'improved', 'worsened', 'map', 'pairs', 'origin',
    ]  # fmt: skip
    assert [link['href'] for link in page.all('a')] == [f'#{found["id"]}' for found in page.all('section')]
    for found in page.all('section'):
        assert {'id': found['aria-labelledby']} in page.all('h2')


def test_what_users_wrote_is_text(of_texts):
    page, _ = of_texts
    assert not page.all('script')
    assert MARKUP in page.sections['improved'] + page.sections['worsened'] and MARKUP in page.sections['map']
    assert '<script' not in page.source


def test_title_metrics_and_pictures_of_users_are_text_too(tmp_path):
    name = f'{MARKUP}_x'
    pictures, labels = images()
    named = [MARKUP if label else 'b' for label in labels]
    sides = [Given((pictures, named), spread(labels, noise), metrics={name: (mean, {})}) for noise in (2, 0.3)]
    for side in sides:
        side.evaluate()
    page = written(tmp_path, sides, title=MARKUP, show=lambda item: f'{MARKUP} of {item[0, 0, 0]}')
    assert not page.all('script') and not page.all('img')
    assert page.sections['metrics'].count(name) == 1 and f'{MARKUP} of 30' in page.source.replace('&lt;', '<').replace(
        '&gt;', '>'
    ).replace('&quot;', '"').replace('&amp;', '&')
    pictured = written(tmp_path, sides)
    assert any(MARKUP in found['alt'] for found in pictured.all('img'))


def mean(relevance):
    return float(np.mean(relevance))


def test_half_a_surrogate_pair_does_not_stop_it(tmp_path):
    data, labels = texts()
    page = written(tmp_path, before_and_after([(f'{text} \ud800', label) for text, label in data], labels))
    assert 'text' in page.sections['improved']


def test_nothing_is_loaded_from_elsewhere(of_images):
    page, _ = of_images
    named = [value for _, found in page.tags for key, value in found.items() if key in ('src', 'href')]
    assert all(value.startswith(('data:', '#')) for value in named)
    assert not re.search(r'url\(|@import|https?:', page.source)
    assert "default-src 'none'" in page.all('meta')[1]['content']


def test_the_table_says_what_compare_and_intervals_say(of_texts):
    page, (before, after) = of_texts
    found = ' '.join(page.sections['metrics'].replace('\xa0', ' ').split())
    for name, row in compare(before, after).items():
        low, high = before.intervals()[name]
        told = f'{name}{row.before:.4f}{low:.4f} to {high:.4f}{row.after:.4f}'
        assert told in found
        assert f'{row.difference:+.4f}{row.low:+.4f} to {row.high:+.4f}' in found
    assert {'scope': 'col'} in page.all('th') and {'scope': 'row'} in page.all('th')


def test_the_verdict_is_the_first_thing_said(of_texts):
    page, (before, after) = of_texts
    row = compare(before, after)['average_precision']
    assert f'Better. average_precision rose from {row.before:.4f} to {row.after:.4f}' in page.sections['head']
    assert f'{row.rose} improved{row.tied} unchanged{row.fell} worsened' in page.sections['head']


@pytest.mark.parametrize(
    ('difference', 'p', 'queries', 'word'),
    [
        (0.1, 0.01, 100, 'Better.'),
        (-0.1, 0.01, 100, 'Worse.'),
        (0.1, 0.2, 100, 'No difference can be told.'),
        (0.1, 0.01, 29, 'Too few queries to tell.'),
        (np.nan, np.nan, 100, 'No difference can be told.'),
    ],
)
def test_the_verdict(difference, p, queries, word):
    row = Comparison(0.5, 0.5 + difference, difference, 0, 0.2, p, queries, 1, 1, 1)
    assert verdict('hit_at_k', row)[0] == word


def test_pictures_have_words_and_can_be_read(of_images):
    page, _ = of_images
    found = page.all('img')
    assert len(found) > 20
    for each in found:
        assert re.fullmatch(r'item \d+, \d: (query|right|wrong)', each['alt'])
        data = base64.b64decode(each['src'].partition('base64,')[2])
        assert Image.open(BytesIO(data)).size == (24, 20)


def test_results_are_marked_by_signs_as_they_are(of_texts):
    page, (before, after) = of_texts
    change = after.per_query['average_precision'] - before.per_query['average_precision']
    row = int(np.argsort(-change, kind='stable')[0])
    first = page.sections['improved'].partition('Before: ')[2]
    right = before.truth().relevance(np.array([row]), before.nearest[[row]])[0] > 0
    assert first.startswith(f'{right.sum()} of 5 right')
    assert ''.join(re.findall('[✓✗]', first)[:5]) == ''.join('✓' if good else '✗' for good in right)
    signs = [found['aria-label'] for found in page.all('span') if found.get('class') == 'sign']
    assert set(signs) == {'right', 'wrong'}


def test_metrics_of_all_vectors_have_no_interval(tmp_path):
    data, labels = texts()
    sides = [Given(data, spread(labels, noise), metrics=['hit_at_k', 'nmi']) for noise in (2, 0.3)]
    for side in sides:
        side.evaluate()
    page = written(tmp_path, sides)
    change = sides[1].means['nmi'] - sides[0].means['nmi']
    assert page.sections['metrics'].partition('nmi')[2].count(' to') == 0
    assert f'▲ {change:+.4f}-' in page.sections['metrics']


def test_of_a_loss_less_is_better(tmp_path):
    data, labels = texts()
    sides = [Given(data, spread(labels, noise), metrics={'rank_loss': (misses, {})}) for noise in (2, 0.3)]
    for side in sides:
        side.evaluate()
    page = written(tmp_path, sides)
    main = compare(*sides)['rank_loss']
    assert f'Better. rank_loss fell from {main.before:.4f}' in page.sections['head']
    assert f'{main.fell} improved' in page.sections['head'] and main.fell > main.rose
    assert f'{main.fell} queries that improved by rank_loss' in page.sections['improved']


def misses(relevance):
    return 1 - float(np.mean(relevance))


def test_it_shows_those_that_changed_most_by_the_metric_asked_for(tmp_path):
    data, labels = texts()
    before, after = before_and_after(data, labels, limit=3)
    page = written(tmp_path, (before, after), metric='precision_at_3', num_examples=2)
    change = after.per_query['precision_at_k'] - before.per_query['precision_at_k']
    named = [before.query_names[row] for row in np.argsort(-change, kind='stable')[:2]]
    assert re.findall(r'(row \d+)', page.sections['improved']) == named
    assert f'2 of the {(change > 0).sum()} queries that improved by precision_at_k' in page.sections['improved']


def test_of_the_same_vectors_nothing_changed(tmp_path):
    data, labels = texts()
    page = written(tmp_path, before_and_after(data, labels, 1, 1))
    assert 'No difference can be told' in page.sections['head'] and '0 of the 0 queries' in page.sections['improved']
    assert '60 queries' in page.sections['ranks']


@pytest.mark.parametrize('distance', ['euclidean', 'sqeuclidean', 'dot'])
def test_other_distances(tmp_path, distance):
    data, labels = texts()
    page = written(tmp_path, before_and_after(data, labels, distance=distance))
    assert 'cosine' not in page.sections['pairs']
    assert f'Distance{distance}' in page.sections['origin']


def test_pairs_and_an_index_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(f'question {i}', f'answer {i}') for i in range(40)]
    near = rng.standard_normal((40, 5))
    sides = []
    for noise in (2.0, 0.3):
        vectors = np.stack([near, near + noise * rng.standard_normal((40, 5))], axis=1).reshape(80, 5)
        sides.append(Given(pairs, vectors))
        sides[-1].evaluate()
    page = written(tmp_path, sides)
    assert 'question' in page.sections['improved'] and 'All 80 items' in page.sections['map']
    assert 'query(40)' in page.sections['map'] and 'searched(40)' in page.sections['map']
    data, labels = texts(40)
    apart = [Given(data[:30], spread(labels[:30], n), data[30:], spread(labels[30:], n)) for n in (2, 0.1)]
    for side in apart:
        side.evaluate(rows=np.arange(25))
    page = written(tmp_path, apart)
    assert 'Queries25 of 30' in page.sections['origin'] and 'All 35 items' in page.sections['map']


def test_it_does_not_say_where_files_lie(tmp_path):
    folder = tmp_path / 'private'
    folder.mkdir()
    pictures, labels = images(20, 2)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f'{i}.png')
    table = folder / 'data.csv'
    table.write_text('uri,label\n' + ''.join(f'{folder / f"{i}.png"},{label}\n' for i, label in enumerate(labels)))
    page = written(tmp_path, before_and_after(table, labels))
    assert page.all('img')
    assert 'private' not in page.source


def test_it_is_the_same_from_run_to_run_but_for_the_time(tmp_path, of_texts):
    page, sides = of_texts
    again = written(tmp_path, sides)
    assert re.sub(r'Made.*?UTC', '', again.source) == re.sub(r'Made.*?UTC', '', page.source)


def test_a_page_that_fails_leaves_the_old_one(tmp_path, of_texts, monkeypatch):
    from finetuner.evaluation.reports import page as module

    path = tmp_path / 'new' / 'report.html'
    report(*of_texts[1], path)
    old = path.read_text()

    def broken(*arguments):
        raise RuntimeError

    monkeypatch.setattr(module, '_page', broken)
    with pytest.raises(RuntimeError):
        report(*of_texts[1], path)
    assert path.read_text() == old and [file.name for file in path.parent.iterdir()] == ['report.html']


def test_bad_arguments_are_refused(tmp_path, of_texts):
    _, (before, after) = of_texts
    data, labels = texts()
    for sides, said in (
        ((data, after), 'before is list: expected an Evaluator'),
        ((before, Evaluator(data)), 'after has no embeddings: it has not evaluated'),
        ((before, before), 'are one Evaluator'),
        ((before, before_and_after(data, labels, distance='dot')[1]), "distance='cosine', after with 'dot'"),
        ((before, before_and_after(data, labels, limit=5)[1]), 'differ in limit: 20 before, 5 after'),
        ((before, before_and_after(data[:40], labels[:40])[1]), 'the number of queries: 60 before, 40 after'),
    ):
        with pytest.raises(ArgumentError, match=re.escape(said)):
            report(*sides, tmp_path / 'report.html')
    for options, said in (
        ({'path': tmp_path}, 'is a folder: name a file in it'),
        ({'metric': 'hits'}, "no result 'hits'. Did you mean 'hit_at_k'"),
        ({'projection': 'tsne'}, "no projection 'tsne'. Known are: pca, umap"),
        ({'num_examples': -1}, 'num_examples=-1: expected a whole number'),
        ({'seed': -1}, 'seed=-1: expected a whole number'),
        ({'seed': 'x'}, "seed='x': expected a whole number"),
        ({'show': 5}, 'show=5: expected a function'),
        ({'path': None}, 'path=None: expected where to write the page'),
    ):
        with pytest.raises(ArgumentError, match=re.escape(said)):
            report(before, after, **{'path': tmp_path / 'report.html', **options})
    whole = [Given(data, spread(labels, noise), metrics='nmi') for noise in (2, 1)]
    for side in whole:
        side.evaluate()
    with pytest.raises(ArgumentError, match='None of these metrics has a value for each query'):
        report(*whole, tmp_path / 'report.html')
    with pytest.raises(DataError, match='show gave int for row'):
        report(before, after, tmp_path / 'report.html', show=len)
    (tmp_path / 'file').write_text('')
    with pytest.raises(ArgumentError, match='is a file'):
        report(before, after, tmp_path / 'file' / 'report.html')
    assert [file.name for file in tmp_path.iterdir()] == ['file']


def test_scored_pairs_and_data_that_say_nothing_of_relevance_are_refused(tmp_path):
    scored = [Evaluator([('a', 'b', 0.5), ('c', 'd', 0.1)]) for _ in range(2)]
    with pytest.raises(ArgumentError, match='scored pairs, which have no queries'):
        report(*scored, tmp_path / 'report.html')
    with pytest.raises(DataError, match='Cannot tell what is relevant'):
        Given(['a', 'b'], np.eye(2)).evaluate()


def test_what_was_let_go_of_is_asked_for(tmp_path):
    data, labels = texts()
    before, after = before_and_after(data, labels)
    before.embeddings = None
    with pytest.raises(ArgumentError, match='before has no embeddings'):
        report(before, after, tmp_path / 'report.html')


def unknown(relevance):
    return np.nan


def test_a_metric_that_is_known_of_no_query_is_no_judge(tmp_path):
    data, labels = texts()
    sides = [Given(data, spread(labels, noise), metrics={'own': (unknown, {})}) for noise in (2, 0.3)]
    for side in sides:
        side.evaluate()
    with pytest.raises(ArgumentError, match='own is NaN for every query.*such as average_precision'):
        report(*sides, tmp_path / 'report.html')
    sides = [Given(data, spread(labels, n), metrics={'own': (unknown, {}), 'mean': (mean, {})}) for n in (2, 0.3)]
    for side in sides:
        side.evaluate()
    page = written(tmp_path, sides)
    assert 'Better. mean rose' in page.sections['head'] and 'own' in page.sections['metrics']
    with pytest.raises(ArgumentError, match='own is NaN for every query.*Take one of .mean'):
        report(*sides, tmp_path / 'report.html', metric='own')


@pytest.mark.parametrize(('distance', 'value'), [('dot', 5000), ('cosine', 3), ('euclidean', 0), ('dot', 1e-12)])
def test_of_one_vector_for_all_there_is_a_page(tmp_path, distance, value):
    data, _ = texts()
    sides = [Given(data, np.full((60, 6), value, 'float32')) for _ in range(2)]
    for side in sides:
        side.evaluate(distance=distance)
    page = written(tmp_path, sides)
    for drawing in page.source.split('class="outlines"')[1:]:
        words = re.findall('text-anchor="middle">([^<]*)<', drawing.partition('</svg>')[0])
        assert 1 < len(words) < 8 and len(set(words)) == len(words)
        assert distance != 'cosine' or float(words[-1]) <= 1


def test_of_another_index_or_order_there_is_no_page(tmp_path):
    labels = np.arange(60) % 4
    data = [(f'text {i}', f'c{label}') for i, label in enumerate(labels)]
    index = [(f'item {i}', f'c{label}') for i, label in enumerate(labels)]
    before = Given(data, spread(labels, 2), index, spread(labels, 2))
    before.evaluate()
    swapped = [index[4], *index[1:4], index[0], *index[5:]]
    renamed = [*index[:-1], ('another', index[-1][1])]
    other = [('other', data[0][1]), *data[1:]]
    for query, searched, said in (
        (data, swapped, "the text of row 0 of the searched items: 'item 0' before, 'item 4' after"),
        (data, renamed, "the text of row 59 of the searched items: 'item 59' before, 'another' after"),
        (other, index, "the text of row 0: 'text 0' before, 'other' after"),
    ):
        after = Given(query, spread(labels, 0.3), searched, spread(labels, 0.3))
        after.evaluate()
        with pytest.raises(ArgumentError, match=re.escape(said)):
            report(before, after, tmp_path / 'report.html')


def test_an_item_is_looked_at_once(tmp_path):
    data, labels = texts()
    sides, seen = before_and_after(data, labels), []
    records = sides[1].query_data = sides[0].query_data
    written(tmp_path, sides, show=lambda text: seen.append(text) or 'words')
    assert len(seen) > 20 and len(set(seen)) == len(seen) and len(records) == 60


def test_texts_of_users_are_written_in_their_direction(of_texts):
    page, _ = of_texts
    of_users = [found for found in page.all('span') if found.get('class') == 'text']
    assert of_users and all(found['dir'] == 'auto' for found in of_users)
    assert all(found['dir'] == 'auto' for found in page.all('small') if found.get('class') == 'label')
