"""Metrics and examples in the terminal."""

import re

import numpy as np
import pytest

from finetuner.console import live_console
from finetuner.errors import ArgumentError
from finetuner.evaluation import Evaluator, compare, display_examples, display_metrics
from tests.evaluation.models import Same
from tests.evaluation.reports import MARKUP, before_and_after, texts


def printed(function, *arguments, **options):
    with live_console.capture() as captured:
        function(*arguments, **options)
    return captured.get()


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(live_console, '_width', 160)


@pytest.fixture(scope='module')
def sides():
    data, labels = texts()
    return before_and_after(data, labels)


def test_metrics_of_two_evaluators_come_with_their_intervals(sides):
    found = printed(display_metrics, *sides)
    for name, row in compare(*sides).items():
        (line,) = [line for line in found.splitlines() if f' {name} ' in line]
        assert f'{row.before:.4f}' in line and f'{row.difference:+.4f}' in line
        assert f'{row.low:+.4f} to {row.high:+.4f}' in line


def test_metrics_of_evaluate_are_taken_too(sides):
    before, after = sides
    found = printed(display_metrics, {'hit_at_k': 0.25, '[red]own': 0.5}, {'hit_at_k': 0.75, '[red]own': 0.5})
    assert '+0.5000' in found and '[red]own' in found
    assert f'{before.means["map_at_r"]:.4f}' in printed(display_metrics, before, after.means)


def test_metrics_of_scored_pairs():
    rng, sides = np.random.default_rng(0), []
    scores = rng.random(40)
    for noise in (3, 0.1):
        turned = [np.array([score, 1 - score]) + noise * rng.random(2) for score in scores]
        data = [(np.array([1.0, 0.0]), vector, score) for vector, score in zip(turned, scores, strict=True)]
        sides.append(Evaluator(data, model=Same(None), metrics='pearson'))
        sides[-1].evaluate()
    found = printed(display_metrics, *sides)
    for name, row in compare(*sides).items():
        (line,) = [line for line in found.splitlines() if f' {name} ' in line]
        assert f'{row.after:.4f}' in line and f'{row.difference:+.4f}' in line and row.after > 0.9


def test_examples_are_marked_by_signs(sides):
    before, after = sides
    found = printed(display_examples, before, after, 3, num_examples=2, metric='map_at_r')
    change = after.per_query['map_at_r'] - before.per_query['map_at_r']
    row = int(np.argsort(-change, kind='stable')[0])
    right = before.truth().relevance(np.array([row]), before.nearest[[row], :3])[0] > 0
    first = found.partition('map_at_r')[2]
    signs = [line for line in first.splitlines() if re.search('[✓✗]', line)][:3]
    assert [re.findall('[✓✗]', line)[0] for line in signs] == ['✓' if good else '✗' for good in right]
    assert len(re.findall('[✓✗]', found)) == 2 * 2 * 3


def test_markup_of_users_is_text(sides):
    assert MARKUP in printed(display_examples, *sides, num_examples=60)


def test_bad_arguments_are_refused(sides):
    data, labels = texts()
    with pytest.raises(ArgumentError, match='k=6: an evaluator keeps the first 5'):
        display_examples(*sides, 6)
    with pytest.raises(ArgumentError, match='num_examples=0'):
        display_examples(*sides, num_examples=0)
    with pytest.raises(ArgumentError, match='not evaluated anything yet'):
        display_metrics(sides[0], Evaluator(data))
    with pytest.raises(ArgumentError, match='number of queries'):
        display_examples(sides[0], before_and_after(data[:40], labels[:40])[1])


def test_what_has_not_evaluated_or_cannot_be_shown_is_refused(sides):
    data, _ = texts()
    with pytest.raises(ArgumentError, match='after has not evaluated'):
        display_metrics({'hit_at_k': 0.5}, Evaluator(data))
    with pytest.raises(ArgumentError, match='before is list: expected an Evaluator'):
        display_metrics(data, sides[1])
    with pytest.raises(ArgumentError, match='before is list: expected an Evaluator'):
        display_examples(data, data)
    with pytest.raises(ArgumentError, match='after has not evaluated'):
        display_examples(sides[0], Evaluator(data))
    scored = Evaluator([('a', 'b', 0.5), ('c', 'd', 0.1)])
    scored.means = {'pearson': 0.5}
    with pytest.raises(ArgumentError, match='scored pairs, which have no queries.*display_metrics'):
        display_examples(scored, scored)


def test_queries_that_did_not_change_are_no_examples(sides):
    data, labels = texts()
    equal = before_and_after(data, labels, 1, 1)
    found = printed(display_examples, *equal)
    assert 'No query has another average_precision' in found and '✓' not in found
    before, after = before_and_after(data, labels, 1, 1)
    row = int(np.nanargmax(before.per_query['map_at_r'] < 1))
    after.per_query['map_at_r'] = before.per_query['map_at_r'].copy()
    after.per_query['map_at_r'][row] = 1
    found = printed(display_examples, before, after, metric='map_at_r')
    assert len(re.findall(r'map_at_r \d', found)) == 2
