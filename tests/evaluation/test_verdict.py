"""Whether a model became better, and how well similarities follow scores."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation.correlation import correlation, ranks
from finetuner.evaluation.evaluator import Evaluator
from finetuner.evaluation.verdict import verdict
from tests.evaluation.models import Same

CHANCE = np.random.default_rng(0)


@pytest.mark.parametrize('name', ['spearman', 'pearson'])
def test_correlations_are_those_of_scipy(name):
    stats = pytest.importorskip('scipy.stats')
    a, b = CHANCE.integers(0, 5, 200).astype(float), CHANCE.standard_normal(200)
    b += a
    theirs = getattr(stats, {'spearman': 'spearmanr', 'pearson': 'pearsonr'}[name])(a, b).statistic
    assert correlation(name, a, b) == pytest.approx(theirs, abs=1e-12)
    assert (ranks(a) == stats.rankdata(a)).all()


def test_what_is_all_alike_has_no_correlation():
    assert correlation('spearman', np.ones(4), np.arange(4.0)) == 0


@pytest.mark.parametrize(('shift', 'word'), [(0.2, 'better'), (0.0, 'same'), (-0.2, 'worse')])
def test_better_and_worse_are_beyond_a_standard_error(shift, word):
    before = CHANCE.random(100)
    noise = CHANCE.standard_normal(100) * 0.1
    found = verdict('map_at_r', before, before + shift + noise - noise.mean())
    assert found.word == word
    assert found.error == pytest.approx(noise.std() / 10)


def test_the_error_is_that_of_the_bootstrap():
    before, after = CHANCE.random(80), CHANCE.random(80)
    drawn = CHANCE.integers(0, 80, (4_000, 80))
    assert verdict('map_at_r', before, after).error == pytest.approx((after - before)[drawn].mean(1).std(), rel=0.05)


def test_few_queries_give_no_verdict():
    found = verdict('map_at_r', np.zeros(29), np.ones(29))
    assert (found.word, found.queries, found.after) == ('none', 29, 1.0)


def test_queries_without_relevant_items_do_not_count():
    before = np.array([0.5] * 30 + [np.nan])
    assert verdict('map_at_r', before, before).queries == 30


def test_similarities_are_judged_by_their_correlation():
    scores = CHANCE.random(100)
    noise = CHANCE.standard_normal(100)
    found = verdict('spearman', noise, scores + noise * 0.1, scores)
    assert found.word == 'better'
    assert found.after == pytest.approx(correlation('spearman', scores + noise * 0.1, scores))
    assert verdict('spearman', scores, noise, scores).word == 'worse'


def test_scored_pairs_are_evaluated():
    vectors = np.eye(4, dtype=np.float32) + 0.1
    rows = [(vectors[0], vectors[0], 1.0), (vectors[0], vectors[1], 0.2), (vectors[2], -vectors[3], -0.2)]
    rows.append((vectors[0], vectors[0] + vectors[1], 0.6))
    found = finetuner.evaluate(Same(None), rows)
    assert found == {'spearman': 1.0, 'pearson': pytest.approx(0.988, abs=1e-3)}
    assert Evaluator(rows, metrics='pearson').names() == ['pearson']
    assert finetuner.evaluate(Same(None), rows, distance='euclidean')['spearman'] == pytest.approx(1.0)


def test_margins_are_evaluated():
    a, b, c = np.eye(3, dtype=np.float32)
    rows = [(a, a, b, 1.0), (a, b, a, -1.0), (a, b, c, 0.0), (a, a + b, b, 0.7)]
    assert finetuner.evaluate(Same(None), rows)['spearman'] == pytest.approx(1.0)


def test_what_scored_pairs_cannot_be_asked_is_refused():
    rows = [('a', 'b', 1.0), ('c', 'd', 0.0)]
    with pytest.raises(ArgumentError, match="no metric 'ndcg_at_k' of scored pairs"):
        Evaluator(rows, metrics=['ndcg_at_k'])
    with pytest.raises(DataError, match='leave index_data out'):
        Evaluator(rows, ['a', 'b'])
