"""Metrics of the vectors themselves, asked for by name."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import Evaluator, clusters, compare, geometry, metrics
from finetuner.evaluation.spaces import METRICS
from finetuner.evaluation.votes import knn_accuracy
from tests.evaluation.models import Same

NAMES = ['alignment', 'knn_accuracy', 'nmi', 'purity', 'uniformity']


def points(count=60, noise=0.5, seed=0):
    """Around four centres; one item of a class of its own, and one without a label."""
    chance = np.random.default_rng(seed)
    labels = [*(np.arange(count - 2) % 4).tolist(), 'alone', None]
    centres = np.eye(6)[[label if isinstance(label, int) else 4 for label in labels]]
    return (centres + noise * chance.standard_normal((count, 6))).astype(np.float32), labels


def test_they_are_not_among_the_usual_ones():
    assert sorted(METRICS) == NAMES
    assert not set(NAMES) & set(Evaluator(points()).names())


def test_each_is_its_function():
    vectors, labels = points()
    evaluator = Evaluator((vectors, labels), model=Same(None), metrics=[*NAMES, 'map_at_r'])
    found = evaluator.evaluate(limit=7)
    assert list(found) == [*NAMES, 'map_at_r']
    known = np.array([label is not None for label in labels])
    codes = np.array([['alone', 0, 1, 2, 3].index(label) for label in labels if label is not None])
    groups = clusters.kmeans(geometry.unit(vectors[known]).astype(np.float32), 5)
    assert found['nmi'] == pytest.approx(clusters.nmi(groups, codes))
    assert found['purity'] == pytest.approx(clusters.purity(groups, codes))
    assert found['uniformity'] == pytest.approx(geometry.uniformity(vectors))
    expected = {'alignment': [], 'knn_accuracy': []}
    for row in range(58):
        same = [i for i in range(60) if labels[i] == labels[row] and i != row]
        pairs = geometry.alignment(np.repeat(vectors[row : row + 1], len(same), axis=0), vectors[same])
        expected['alignment'].append(pairs.mean())
        cosine = geometry.unit(vectors) @ geometry.unit(vectors[row : row + 1])[0]
        order = [i for i in np.argsort(-cosine) if i != row][:7]
        votes = [[0, 1, 2, 3, 'alone', None].index(labels[i]) for i in order]
        expected['knn_accuracy'].append(knn_accuracy([labels[row]], [[-1 if v == 5 else v for v in votes]])[0])
    for name, values in expected.items():
        np.testing.assert_allclose(evaluator.per_query[name], [*values, np.nan, np.nan], rtol=1e-9)
        assert found[name] == pytest.approx(np.mean(values))
    assert 0.3 < found['knn_accuracy'] < 1


def test_metrics_of_all_vectors_have_no_values_of_queries_and_no_interval():
    before, after = (Evaluator(points(noise=noise), model=Same(None), metrics=NAMES) for noise in (0.9, 0.3))
    before.evaluate(), after.evaluate()
    assert list(after.per_query) == list(after.intervals()) == list(after.macro()) == ['alignment', 'knn_accuracy']
    found = compare(before, after)
    assert list(found) == NAMES
    assert found['nmi'].difference == after.means['nmi'] - before.means['nmi'] > 0
    assert np.isnan([found['nmi'].low, found['nmi'].high, found['nmi'].p_value]).all()
    assert (found['nmi'].queries, found['nmi'].rose) == (58, None)
    assert found['alignment'].high < 0 < found['knn_accuracy'].difference


def test_a_space_is_clustered_once(monkeypatch):
    calls = []
    real = clusters.kmeans
    monkeypatch.setattr(clusters, 'kmeans', lambda *arguments: calls.append(arguments) or real(*arguments))
    Evaluator(points(), model=Same(None), metrics=['nmi', 'purity']).evaluate()
    assert len(calls) == 1


def test_vectors_are_clustered_at_unit_length_where_cosine_compares_them():
    vectors, labels = points(noise=0.1)
    scaled = vectors * np.random.default_rng(0).uniform(0.1, 10, (60, 1)).astype(np.float32)
    ask = {'model': Same(None), 'query_data': (scaled, labels), 'metrics': ['nmi']}
    assert finetuner.evaluate(**ask)['nmi'] == pytest.approx(1)
    assert finetuner.evaluate(**ask, distance='euclidean')['nmi'] < 0.9


def test_queries_are_clustered_and_what_is_searched_is_spread():
    (vectors, labels), (index, theirs) = points(), points(40, seed=1)
    evaluator = Evaluator((vectors, labels), (index, theirs), Same(None), NAMES)
    found = evaluator.evaluate()
    assert found['uniformity'] == pytest.approx(geometry.uniformity(index))
    assert found['nmi'] == Evaluator((vectors, labels), model=Same(None), metrics='nmi').evaluate()['nmi']
    same = [i for i, label in enumerate(theirs) if label == labels[0]]
    pairs = geometry.alignment(np.repeat(vectors[:1], len(same), axis=0), index[same])
    assert evaluator.per_query['alignment'][0] == pytest.approx(pairs.mean())


def test_some_queries_may_be_asked():
    evaluator = Evaluator(points(), model=Same(None), metrics=NAMES)
    whole, each = evaluator.evaluate(), evaluator.per_query['alignment']
    rows = np.arange(3, 40)
    some = evaluator.evaluate(rows=rows)
    np.testing.assert_allclose(evaluator.per_query['alignment'][rows], each[rows])
    assert np.isnan(np.delete(evaluator.per_query['alignment'], rows)).all()
    assert some['uniformity'] == whole['uniformity']
    assert some['nmi'] != whole['nmi']


def test_pairs_are_near_and_spread_without_labels():
    vectors = {'q': [1.0, 0], 'r': [0.0, 1], 'a': [2.0, 0], 'b': [1.0, 1], 'n': [-1.0, 0]}
    rows = [('q', 'a', 'n'), ('q', 'b', 'n'), ('r', 'b', 'n')]
    found = finetuner.evaluate(
        Same(None), rows, metrics=['alignment', 'uniformity'], preprocess_fn=vectors.__getitem__, collate_fn=np.array
    )
    near, far = 2 - np.sqrt(2), 2 + np.sqrt(2)  # of a and b, of b and n; a and n are at 4
    spread = np.log(np.exp([-2 * near, -2 * far, -8]).mean())
    assert found == {'alignment': pytest.approx((near / 2 + near) / 2), 'uniformity': pytest.approx(spread)}


@pytest.mark.parametrize('name', ['nmi', 'purity', 'knn_accuracy'])
def test_classes_need_labels(name):
    with pytest.raises(
        DataError, match=rf'{name} compares .*has 2 pairs without labels.*\[.alignment., .uniformity.\]'
    ):
        Evaluator([('q', 'a'), ('r', 'b')], metrics=['map_at_r', name])


def test_clusters_are_of_one_label_an_item_and_votes_of_several():
    vectors, labels = points()
    labels[5] = (1, 2)
    for name in ('nmi', 'purity'):
        with pytest.raises(DataError, match=rf"{name} compares clusters .* several labels on item 5.*'knn_accuracy'"):
            Evaluator((vectors, labels), metrics=name)
    assert 0.3 < finetuner.evaluate(Same(None), (vectors, labels), metrics='knn_accuracy')['knn_accuracy'] < 1


@pytest.mark.parametrize('side', ['queries', 'index'])
def test_many_sets_of_labels_do_not_gather_the_index_for_each(rng, monkeypatch, side):
    calls = []
    real = geometry.unit
    monkeypatch.setattr(geometry, 'unit', lambda vectors: calls.append(len(vectors)) or real(vectors))
    vectors, index = rng.standard_normal((2, 80, 5)).astype(np.float32)
    labels = [tuple(rng.choice(9, 3, replace=False).tolist()) for _ in range(80)]
    wanted = labels if side == 'queries' else [label[:2] for label in labels]
    evaluator = Evaluator((vectors, wanted), (index, labels), Same(None), 'alignment')
    evaluator.evaluate(rows=np.arange(70))
    assert sum(calls) == 150
    squared = ((real(vectors)[:, None] - real(index)) ** 2).sum(axis=2)
    expected = [squared[i, [bool({*wanted[i]} & {*label}) for label in labels]].mean() for i in range(70)]
    np.testing.assert_allclose(evaluator.per_query['alignment'][:70], expected, rtol=1e-9)
    assert np.isnan(evaluator.per_query['alignment'][70:]).all()


@pytest.mark.parametrize('chosen', [['alignment'], {'mine': lambda space: 1.0}, ['hit_at_1', 'purity'], ['map_at_r']])
def test_the_nearest_are_kept_whatever_is_measured(chosen):
    evaluator, usual = (Evaluator(points(), model=Same(None), metrics=metrics) for metrics in (chosen, None))
    evaluator.evaluate(limit=1), usual.evaluate()
    assert (usual.nearest[:58] >= 0).all()
    np.testing.assert_array_equal(evaluator.nearest, usual.nearest)


def test_names_are_suggested():
    with pytest.raises(ArgumentError, match="no metric 'knn_acuracy'. Did you mean 'knn_accuracy'"):
        Evaluator(points(), metrics=['knn_acuracy'])


def test_metrics_of_ones_own_may_see_the_vectors():
    def longest(space, power=1):
        return np.linalg.norm(space.queries, axis=1).max() ** power

    def lengths(space):
        return np.linalg.norm(space.queries, axis=1)

    vectors, labels = points()
    chosen = {'longest': (longest, {'power': 2}), 'lengths': lengths, 'hit_at_1': (metrics.hit_at_k, {'k': 1})}
    evaluator = Evaluator((vectors, labels), model=Same(None), metrics=chosen)
    found = evaluator.evaluate()
    assert found['longest'] == pytest.approx(np.linalg.norm(vectors, axis=1).max() ** 2)
    assert found['lengths'] == pytest.approx(np.linalg.norm(vectors, axis=1).mean())
    assert list(evaluator.per_query) == ['lengths', 'hit_at_1']
    with pytest.raises(ArgumentError, match="'mine' gave an infinite value"):
        Evaluator((vectors, labels), model=Same(None), metrics={'mine': lambda space: np.inf}).evaluate()
    for wrong in (lambda space: 'good', lambda space: [1, 2]):
        with pytest.raises(ArgumentError, match="'mine' must give a number, or one per query"):
            Evaluator((vectors, labels), model=Same(None), metrics={'mine': wrong}).evaluate()
