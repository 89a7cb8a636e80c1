"""Hard negatives: what is found, what is left out, and what training does with it."""

import logging

import numpy as np
import pytest

import finetuner
from finetuner import mine_hard_negatives
from finetuner.errors import ArgumentError, DataError
from finetuner.synthesis import nearest as search
from tests.synthesis import oracle

QUERIES = ['flights', 'trains', 'hotels']
CORPUS = ['low fares', 'timetable', 'rooms', 'cheap hotels', 'low fares', 'flights']
# Angles in degrees; the cosine of their difference is the similarity.
ASKED, TOLD = np.array([0, 90, 40]), np.array([5, 85, 45, 20, 5, 0])


def at(degrees):
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def small(queries=QUERIES, corpus=CORPUS, positives=(0, 1, 2), asked=ASKED, told=TOLD, **options):
    options = {'num_negatives': 2, **options}
    return mine_hard_negatives(
        None, queries, corpus, positives=positives, query_embeddings=at(asked), corpus_embeddings=at(told), **options
    )


def test_the_nearest_that_do_not_belong_to_the_query():
    assert small() == [
        ('flights', 'low fares', 'cheap hotels', 'rooms'),  # neither itself nor the copy of its document
        ('trains', 'timetable', 'rooms', 'cheap hotels'),
        ('hotels', 'rooms', 'cheap hotels', 'low fares'),
    ]


def test_rows_with_fewer_negatives_are_shorter():
    rows = small(num_negatives=9)
    assert [len(row) for row in rows] == [5, 6, 6]
    assert rows[0][2:] == ('cheap hotels', 'rooms', 'timetable')


def test_several_positives_make_several_rows_with_the_same_negatives():
    assert small(positives=[[0, 3], [1], 2], num_negatives=1) == [
        ('flights', 'low fares', 'rooms'),
        ('flights', 'cheap hotels', 'rooms'),
        ('trains', 'timetable', 'rooms'),
        ('hotels', 'rooms', 'cheap hotels'),
    ]


def test_a_query_without_a_positive_has_no_row():
    assert [row[0] for row in small(positives=[[0], [], [2]])] == ['flights', 'hotels']


def test_equal_queries_share_their_positives():
    rows = small(['flights', 'flights', 'hotels'], positives=[0, 3, 2], asked=[0, 0, 40], num_negatives=1)
    assert rows[:2] == [('flights', 'low fares', 'rooms'), ('flights', 'cheap hotels', 'rooms')]


def test_the_margin_goes_by_the_lowest_positive():
    # Of 'flights' they are at 5 and 45 degrees, so what is nearer than 45 is left out.
    assert small(positives=[[0, 2], 1, 2], absolute_margin=0.0)[0] == ('flights', 'low fares', 'timetable')
    assert small(positives=[[0], 1, 2], absolute_margin=0.0)[0] == ('flights', 'low fares', 'cheap hotels', 'rooms')


def test_pairs_bring_their_own_corpus():
    pairs = [('flights', 'low fares'), ('trains', 'timetable'), ('hotels', 'rooms')]
    asked, told = at(ASKED), at(TOLD[:3])
    rows = mine_hard_negatives(None, pairs, num_negatives=1, query_embeddings=asked, corpus_embeddings=told)
    assert rows == [
        ('flights', 'low fares', 'rooms'),
        ('trains', 'timetable', 'rooms'),
        ('hotels', 'rooms', 'low fares'),
    ]
    more = mine_hard_negatives(
        None, pairs, ['cheap hotels'], num_negatives=1, query_embeddings=asked, corpus_embeddings=at(TOLD[:4])
    )
    assert [row[2] for row in more] == ['cheap hotels', 'rooms', 'cheap hotels']


def test_tables_of_pairs():
    pandas = pytest.importorskip('pandas')
    frame = pandas.DataFrame({'anchor': QUERIES, 'positive': ['low fares', 'timetable', 'rooms']})
    rows = mine_hard_negatives(None, frame, num_negatives=1, query_embeddings=at(ASKED), corpus_embeddings=at(TOLD[:3]))
    assert rows[0] == ('flights', 'low fares', 'rooms')


def test_labels_are_never_negatives_and_may_find_the_positive():
    labels = {'query_labels': ['air', 'rail', 'stay'], 'corpus_labels': ['air', 'rail', 'stay', 'stay', 'air', 'air']}
    assert small(**labels)[2] == ('hotels', 'rooms', 'low fares', 'flights')
    assert small(positives=None, **labels) == [
        ('flights', 'low fares', 'cheap hotels', 'rooms'),
        ('trains', 'timetable', 'rooms', 'cheap hotels'),
        ('hotels', 'rooms', 'low fares', 'flights'),
    ]


def test_labelled_items_among_themselves():
    items, labels = ['a', 'b', 'c', 'd', 'e'], ['x', 'x', 'y', 'y', None]
    vectors = at([0, 20, 30, 70, 25])
    rows = mine_hard_negatives(
        None, items, query_labels=labels, num_negatives=2, query_embeddings=vectors, corpus_embeddings=vectors
    )
    assert rows == [('a', 'b', 'e', 'c'), ('b', 'a', 'e', 'c'), ('c', 'd', 'e', 'b'), ('d', 'c', 'e', 'b')]


def test_several_labels_share_one():
    rows = small(
        query_labels=[['air', 'stay'], ['rail'], ['stay']],
        corpus_labels=['air', 'rail', ['stay'], ['stay', 'rail'], 'air', 'air'],
        num_negatives=9,
    )
    assert rows[0] == ('flights', 'low fares', 'timetable')
    assert rows[1] == ('trains', 'timetable', 'rooms', 'low fares', 'flights')


def test_scores_are_differences():
    rows = small(output='scores', num_negatives=1)
    assert rows[0][:3] == ('flights', 'low fares', 'cheap hotels')
    assert rows[0][3] == pytest.approx(np.cos(np.radians(5)) - np.cos(np.radians(20)), abs=1e-6)


OPINIONS = {'low fares': 9.0, 'rooms': 3.0, 'cheap hotels': 8.5, 'timetable': 5.0, 'flights': 1.0}


def pair_by_pair(query, document):
    return OPINIONS[document]


def many(pairs, batch_size=32):
    assert isinstance(pairs, list) and isinstance(pairs[0], tuple)
    return np.array([[OPINIONS[document]] for _, document in pairs], np.float32)


@pytest.mark.parametrize('score', [pair_by_pair, many, lambda query, document: OPINIONS[document]])
def test_a_second_opinion_orders_and_limits(score):
    assert small(score=score)[0] == ('flights', 'low fares', 'cheap hotels', 'timetable')
    assert small(score=score, absolute_margin=1.0)[0] == ('flights', 'low fares', 'timetable', 'rooms')
    assert small(score=score, output='scores', num_negatives=1)[0] == ('flights', 'low fares', 'cheap hotels', 0.5)


def test_a_second_opinion_is_asked_of_the_nearest_only():
    asked = []

    def score(query, document):
        asked.append((query, document))
        return OPINIONS[document]

    small(score=score, range_max=2)
    assert len(asked) == len(set(asked)) == 3 * (1 + 2)


def test_drawn_negatives_depend_on_the_seed_alone(monkeypatch):
    corpus = [f'document {i}' for i in range(40)]
    vectors = np.random.default_rng(0).standard_normal((40, 4))
    options = {
        'positives': range(30),
        'num_negatives': 2,
        'sampling': 'random',
        'range_max': 8,
        'query_embeddings': vectors[:30],
        'corpus_embeddings': vectors,
    }
    queries = [f'query {i}' for i in range(30)]
    rows = mine_hard_negatives(None, queries, corpus, **options)
    assert rows == mine_hard_negatives(None, queries, corpus, **options)
    assert rows != mine_hard_negatives(None, queries, corpus, seed=1, **options)
    near = mine_hard_negatives(None, queries, corpus, **options | {'sampling': 'top', 'num_negatives': 8})
    assert all(set(row[2:]) <= set(best[2:]) and len(row) == 4 for row, best in zip(rows, near, strict=True))
    monkeypatch.setattr(search, 'ROWS', 7)
    assert rows == mine_hard_negatives(None, queries, corpus, **options)


LIMITS = {
    'none': {},
    'absolute_margin': {'absolute_margin': 0.1},
    'relative_margin': {'relative_margin': 0.3},
    'both margins': {'absolute_margin': -0.2, 'relative_margin': 0.05},
    'max_score': {'max_score': 0.5},
    'min_score': {'min_score': 0.4},
    'range': {'range_min': 2, 'range_max': 9},
    'range_min': {'range_min': 3, 'relative_margin': 0.1},
    'all': {'range_min': 1, 'range_max': 20, 'absolute_margin': 0.05, 'max_score': 0.6, 'min_score': 0.1},
}


@pytest.mark.parametrize('tiles', [(512, 8192, 64), (7, 50, 4)])
@pytest.mark.parametrize('labelled', [False, True])
@pytest.mark.parametrize('limits', LIMITS)
def test_equal_to_the_oracle(monkeypatch, limits, labelled, tiles):
    for name, value in zip(('ROWS', 'COLUMNS', 'GROUP'), tiles, strict=True):
        monkeypatch.setattr(search, name, value)
    chance = np.random.default_rng(3)
    n, m = 23, 130
    corpus = [f'text {i % 117}' for i in range(m)]  # the last ones repeat the first
    queries = [f'query {i}' for i in range(n - 3)] + corpus[40:42] + ['query 0']
    right = chance.standard_normal((m, 5))[[i % 117 for i in range(m)]]
    positives = [chance.choice(m, 1 + i % 3, replace=False).tolist() for i in range(n)]
    left = np.array([right[places[0]] + 0.7 * chance.standard_normal(5) for places in positives])
    left[-1] = left[0]
    labels = {}
    if labelled:
        labels = {'query_labels': chance.integers(0, 4, n).tolist(), 'corpus_labels': chance.integers(0, 4, m).tolist()}
    expected = oracle.mined(queries, corpus, positives, (left, right), 4, **labels, **LIMITS[limits])
    options = {
        'positives': positives,
        'num_negatives': 4,
        'query_embeddings': left,
        'corpus_embeddings': right,
        **labels,
        **LIMITS[limits],
    }
    rows = mine_hard_negatives(None, queries, corpus, **options)
    assert rows == [(query, positive, *(text for text, _ in near)) for query, positive, near, _ in expected]
    scored = mine_hard_negatives(None, queries, corpus, output='scores', **options)
    flat = [(query, positive, text, own - far) for query, positive, near, own in expected for text, far in near]
    assert [row[:3] for row in scored] == [row[:3] for row in flat]
    assert [row[3] for row in scored] == pytest.approx([row[3] for row in flat], abs=1e-6)


@pytest.mark.parametrize('limits', ['none', 'relative_margin', 'all'])
def test_with_a_second_opinion_equal_to_the_oracle(limits):
    chance = np.random.default_rng(5)
    corpus, queries = [f'text {i}' for i in range(50)], [f'query {i}' for i in range(12)]
    left, right = chance.standard_normal((12, 4)), chance.standard_normal((50, 4))
    opinions = {(q, d): value for q in queries for d, value in zip(corpus, chance.random(50).tolist(), strict=True)}
    given = {'range_max': 15, **LIMITS[limits]}

    def score(query, document):
        return opinions[query, document]

    expected = oracle.mined(queries, corpus, [[i] for i in range(12)], (left, right), score=score, **given)
    rows = mine_hard_negatives(
        None, queries, corpus, positives=range(12), score=score, query_embeddings=left, corpus_embeddings=right, **given
    )
    assert rows == [(query, positive, *(text for text, _ in near)) for query, positive, near, _ in expected]


def test_dot_products_where_a_model_is_searched_so():
    told = np.array([[1.0, 0.0], [0.5, 0.0], [4.0, 4.0], [2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rows = mine_hard_negatives(
        None,
        QUERIES[:1],
        CORPUS,
        positives=[0],
        metric='dot',
        query_embeddings=np.array([[1.0, 0.0]]),
        corpus_embeddings=told,
    )
    assert rows == [('flights', 'low fares', 'rooms', 'cheap hotels', 'timetable')]


def test_what_was_found_is_said(caplog):
    logging.getLogger('finetuner').addHandler(caplog.handler)
    try:
        small(absolute_margin=0.05)
    finally:
        logging.getLogger('finetuner').removeHandler(caplog.handler)
    assert 'hard negatives for 3 pairs' in caplog.text
    assert 'Mean score of positives 0.996' in caplog.text


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'num_negatives': 0}, ArgumentError, 'num_negatives=0: expected a whole number of at least 1'),
        ({'num_negatives': 2.5}, ArgumentError, 'num_negatives=2.5'),
        ({'range_min': -1}, ArgumentError, 'range_min=-1: expected a whole number of at least 0'),
        ({'range_min': 4, 'range_max': 4}, ArgumentError, 'range_max=4: expected a whole number of at least 5'),
        ({'absolute_margin': '5 %'}, ArgumentError, "absolute_margin='5 %': expected a number"),
        ({'relative_margin': -0.1}, ArgumentError, 'relative_margin=-0.1: expected a part such as 0.05'),
        ({'max_score': float('nan')}, ArgumentError, 'max_score=nan'),
        ({'max_score': 0.2, 'min_score': 0.3}, ArgumentError, 'min_score=0.3 is above max_score=0.2'),
        ({'sampling': 'best'}, ArgumentError, "sampling='best': expected 'top' or 'random'"),
        ({'output': 'triplets'}, ArgumentError, "output='triplets': expected 'pairs' or 'scores'"),
        ({'metric': 'l2'}, ArgumentError, "metric='l2': expected 'cosine' or 'dot'"),
        ({'seed': None}, ArgumentError, 'seed=None'),
        ({'score': 'cross-encoder'}, ArgumentError, 'expected a function f'),
        (
            {'score': lambda pairs: [1.0]},
            ArgumentError,
            r'must give a finite number for each pair, .* gave an array of sh',
        ),
        ({'score': lambda query, document: float('nan')}, ArgumentError, 'gave numbers that are not finite'),
        ({'score': lambda query, document: None}, ArgumentError, 'must give a finite number'),
        ({'positives': [0, 1]}, ArgumentError, 'for each of the 3 queries, or a list of them; came 2 of them'),
        ({'positives': {0: 3, 1: 2, 2: 1}}, ArgumentError, 'positives= are a dict: expected a list'),
        (
            {'query_labels': {0: 1, 1: 2, 2: 3}, 'corpus_labels': [1] * 6},
            ArgumentError,
            'query_labels= are a dict: expected a list',
        ),
        (
            {'query_labels': [1, 2, 3], 'corpus_labels': dict.fromkeys(range(6), 1)},
            ArgumentError,
            'corpus_labels= are a dict: expected a list',
        ),
        ({'positives': [0, 6, 1]}, DataError, r'The positive of item 1 is 6: expected the index of .* 0 to 5'),
        ({'positives': ['low fares', 1, 2]}, DataError, r"The positive of item 0 is 'low fares'"),
        ({'positives': [[], [], []]}, DataError, 'No query has a positive among the documents'),
        ({'query_labels': [1, 2, 3]}, ArgumentError, 'query_labels are given without corpus_labels='),
        (
            {'query_labels': [1, 2], 'corpus_labels': [1] * 6},
            ArgumentError,
            'query_labels= need one label.* 3 items; came 2',
        ),
        ({'query_labels': [0.5, 1, 2], 'corpus_labels': [1] * 6}, DataError, 'The label of item 0 is wrong: 0.5'),
        (
            {'absolute_margin': 3.0},
            DataError,
            'No document can be a negative.* Give a smaller absolute_margin or a larger',
        ),
        ({'asked': [0, 90]}, ArgumentError, r'query_embeddings= must be \(N, D\) with one vector for each of 3 items'),
        ({'told': [0, 90, float('nan'), 0, 0, 0]}, DataError, 'The vector of item 2 is not finite, one of 1'),
        ({'queries': [], 'positives': [], 'asked': []}, DataError, 'There are no queries'),
        ({'positives': None}, DataError, r'must be pairs, \[\(query, document\), …\]'),
        ({'corpus': None}, ArgumentError, 'positives= are places in a corpus, and there is none'),
    ],
)
def test_what_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        small(**arguments)


def test_a_model_or_vectors():
    with pytest.raises(ArgumentError, match='There is neither a model nor corpus_embeddings=: give one of them'):
        mine_hard_negatives(None, QUERIES, CORPUS, positives=[0, 1, 2], query_embeddings=at(ASKED))
    with pytest.raises(ArgumentError, match='have 2 and 3 numbers. Take both from one model'):
        mine_hard_negatives(
            None, QUERIES, CORPUS, positives=[0, 1, 2], query_embeddings=at(ASKED), corpus_embeddings=np.eye(6, 3)
        )


def test_arguments_are_checked_by_name():
    with pytest.raises(ArgumentError, match="no argument 'margin'"):
        mine_hard_negatives(None, QUERIES, CORPUS, margin=0.1)


def hashed(texts):
    return np.array([[sum(map(ord, text)) % 13, len(text), text.count('e'), 1.0] for text in texts], np.float32)


@pytest.mark.backends('torch')
def test_a_model_mines_and_learns_from_it():
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    collate = lambda texts: torch.tensor(hashed(texts))  # noqa: E731
    pairs = [(f'question {i}', f'the answer {i * i}') for i in range(30)]
    rows = mine_hard_negatives(model, pairs, num_negatives=2, collate_fn=collate, batch_size=8)
    vectors = [finetuner.embed(model, list(column), collate_fn=collate) for column in zip(*pairs, strict=True)]
    assert rows == mine_hard_negatives(
        None, pairs, num_negatives=2, query_embeddings=vectors[0], corpus_embeddings=vectors[1]
    )
    assert {len(row) for row in rows} == {4} and [row[:2] for row in rows] == pairs
    tuned = finetuner.fit(model, rows, epochs=1, batch_size=10, collate_fn=collate, loss='MultipleNegativesRankingLoss')
    assert np.isfinite(finetuner.embed(tuned, [row[0] for row in rows], collate_fn=collate)).all()

    def teacher(query, document):
        return -abs(len(query) - len(document)) / 10

    scored = mine_hard_negatives(tuned, pairs, num_negatives=2, collate_fn=collate, score=teacher, output='scores')
    assert len(scored) == 60 and isinstance(scored[0][3], float)
    finetuner.fit(tuned, scored, epochs=1, batch_size=10, collate_fn=collate)
    assert finetuner.history(tuned) is not None


@pytest.mark.backends('torch')
def test_contents_of_any_kind():
    import torch

    chance = np.random.default_rng(0)
    items = chance.standard_normal((12, 4)).astype(np.float32)
    corpus = np.concatenate([items[:6] + 0.1, items[:6] + 0.1])  # all of them twice
    rows = mine_hard_negatives(torch.nn.Identity(), items[:6], corpus, positives=range(6), num_negatives=5)
    for i, row in enumerate(rows):
        assert np.array_equal(row[0], items[i]) and np.array_equal(row[1], corpus[i])
        assert len(row) == 7 and not any(np.array_equal(row[1], negative) for negative in row[2:])
