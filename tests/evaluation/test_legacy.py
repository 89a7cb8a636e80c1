import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_allclose

from finetuner.evaluation import legacy, metrics

EXACT = 1e-12

# The original's own values, each where its definition is not the standard one.
QUOTED = [
    ('precision_at_k', [1, 0, -1, -1, -1], 1, 5, 0.5),
    ('precision_at_k', [1, 0], 1, 5, 0.5),
    ('average_precision', [0, 1], 5, None, 0.5),
    ('r_precision', [1, 0, 0, 1], 3, None, 0.5),
    ('ndcg_at_k', [0, 1], 1, None, 1.0),
    ('dcg_at_k', [1, 1, 1], 3, None, 2 + 1 / np.log2(3)),  # the best of a published evaluation with limit 3
]
BY_HAND = [
    # one list of five results, right at ranks 2 and 5, of four relevant items
    ('average_precision', (1 / 2 + 2 / 5) / 2),
    ('dcg_at_k', 1 + 1 / np.log2(5)),
    ('f1_score_at_k', 2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)),
    ('hit_at_k', 1),
    ('ndcg_at_k', (1 + 1 / np.log2(5)) / 2),
    ('precision_at_k', 2 / 5),
    ('r_precision', 2 / 5),
    ('recall_at_k', 2 / 4),
    ('reciprocal_rank', 1 / 2),
]


@pytest.mark.parametrize(('name', 'relevance', 'total', 'k', 'expected'), QUOTED)
def test_value_of_the_original(name, relevance, total, k, expected):
    assert_allclose(legacy.METRICS[name]([relevance], [total], k), [expected], rtol=EXACT)
    if name != 'dcg_at_k':
        assert metrics.METRICS[name]([relevance], [total], k) < expected


@pytest.mark.parametrize(('name', 'expected'), BY_HAND)
def test_value_computed_by_hand(name, expected):
    assert_allclose(legacy.METRICS[name]([[0, 1, 0, 0, 1]], [4]), [expected], rtol=EXACT)


def test_names_are_those_of_the_original():
    assert list(legacy.METRICS) == [name for name, _ in BY_HAND]


@pytest.mark.parametrize('name', legacy.METRICS)
def test_nothing_relevant_scores_zero(name):
    assert_allclose(legacy.METRICS[name]([[0, 0, -1]], [0]), [0])
    assert_allclose(legacy.METRICS[name](np.zeros((1, 0)), [2]), [0])


def test_the_ideal_of_a_cut_list_comes_from_the_whole_list():
    assert_allclose(legacy.ndcg_at_k([[0, 0, 1]], [1], k=2), [0])
    assert_allclose(legacy.ndcg_at_k([[0, 1, 1]], [2], k=2), [1 / 2])


@pytest.fixture(scope='module')
def original():
    """The functions that the original called; some of them have changed since."""
    return pytest.importorskip('docarray.math.evaluation', reason='docarray before 0.30 is not installed')


@pytest.mark.parametrize(
    'name', ['average_precision', 'f1_score_at_k', 'hit_at_k', 'precision_at_k', 'recall_at_k', 'reciprocal_rank']
)
@settings(deadline=None, max_examples=50)
@given(
    relevance=st.lists(st.integers(0, 1), min_size=1, max_size=10),
    missed=st.integers(0, 3),
    k=st.none() | st.integers(1, 12),
)
def test_equals_the_functions_the_original_called(original, name, relevance, missed, k):
    total = max(sum(relevance) + missed, 1)
    options = {'k': k} if name.endswith('_at_k') else {}
    expected = getattr(original, name)(relevance, max_rel=total, **options)
    assert_allclose(legacy.METRICS[name]([relevance], [total], **options), [expected], rtol=EXACT)


def reference(relevance, k=None):
    """The original's dcg in its own words, of real numbers; the library's own needs a numpy before 2."""
    r = np.asarray(relevance, float)[:k]
    return r[0] + np.sum(r[1:] / np.log2(np.arange(2, r.size + 1))) if r.size else 0.0


@settings(deadline=None, max_examples=50)
@given(relevance=st.lists(st.integers(0, 5), min_size=1, max_size=10), k=st.none() | st.integers(1, 12))
def test_dcg_of_the_original_takes_grades(relevance, k):
    total = [len(relevance)]
    assert_allclose(legacy.dcg_at_k([relevance], total, k), [reference(relevance, k)], rtol=EXACT)
    best = reference(sorted(relevance, reverse=True), k)
    assert_allclose(
        legacy.ndcg_at_k([relevance], total, k), [reference(relevance, k) / best if best else 0], rtol=EXACT
    )


def test_the_reference_is_what_the_original_called(original):
    import inspect

    source = inspect.getsource(original.dcg_at_k)
    assert 'return r[0] + np.sum(r[1:] / np.log2(np.arange(2, r.size + 1)))' in source
    assert 'dcg_max = dcg_at_k(sorted(relevance, reverse=True), method=method, k=k)' in inspect.getsource(
        original.ndcg_at_k
    )
