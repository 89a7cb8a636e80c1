import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import finetuner
from finetuner.data.records import Records
from finetuner.errors import ArgumentError, DataError
from finetuner.evaluation import Evaluator, evaluator as module, legacy, metrics
from finetuner.inference import Encoder
from tests.evaluation import oracles

EXACT = 1e-12


class Projection(Encoder):
    """A model of numpy: the vectors are the inputs times a matrix."""

    framework = 'numpy'

    def __init__(self, matrix):
        super().__init__(matrix)
        self.items = 0

    def forward(self, inputs):
        self.items += len(inputs)
        return np.asarray(inputs, np.float32) @ self.model

    def place(self, device):
        pass

    def weights(self):
        return {'matrix': self.model.copy()}

    def assign(self, weights):
        self.model[:] = weights['matrix']

    def trainable(self):
        return self.model.size

    def layers(self):
        return []


@pytest.fixture
def identity():
    return Projection(np.eye(4, dtype=np.float32))


def labelled(rng, sizes):
    """Points around one centre for each class; classes of these sizes, shuffled."""
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    points = rng.standard_normal((len(sizes), 4))[labels] + 0.7 * rng.standard_normal((len(labels), 4))
    return points.astype(np.float32), labels


def brute_force(queries, labels, index, index_labels, limit, same):
    """Every metric of every query that has an answer, from all distances and the slow definitions."""
    found = {name: [] for name in metrics.METRICS}
    for i, (q, label) in enumerate(zip(queries.astype(float), labels, strict=True)):
        others = [j for j in range(len(index)) if not (same and i == j)]
        cosine = [index[j].astype(float) @ q / np.linalg.norm(index[j].astype(float)) for j in others]
        order = [others[j] for j in np.argsort(-np.array(cosine), kind='stable')]
        relevance = [int(index_labels[j] == label) for j in order]
        for name, values in found.items():
            f = getattr(oracles, name)
            cut = len(order) if name in ('r_precision', 'map_at_r') else limit
            values.append(f(relevance, sum(relevance), cut) if sum(relevance) else np.nan)
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize('limit', [1, 5, 20])
@pytest.mark.parametrize('blocks', [True, False])
def test_equals_brute_force_on_classes_of_all_sizes(rng, identity, monkeypatch, limit, blocks):
    if blocks:
        monkeypatch.setattr(module, '_RESULTS', 50)
    points, labels = labelled(rng, [40, 2, 7, 1, 20])
    evaluator = Evaluator((points, labels), model=identity)
    found = evaluator.evaluate(limit=limit)
    expected = brute_force(points, labels, points, labels, limit, same=True)
    assert list(found) == sorted(metrics.METRICS) == sorted(expected)
    for name, values in expected.items():
        assert_allclose(evaluator.per_query[name], values, rtol=EXACT, err_msg=name)
        assert found[name] == pytest.approx(np.nanmean(values), rel=EXACT)
    assert np.isnan(evaluator.per_query['hit_at_k']).sum() == 1


def test_equals_brute_force_with_an_index(rng, identity):
    points, labels = labelled(rng, [10, 10, 10])
    index, index_labels = labelled(rng, [50, 5, 20])
    evaluator = Evaluator((points, labels), (index, index_labels), identity)
    evaluator.evaluate(limit=8)
    expected = brute_force(points, labels, index, index_labels, 8, same=False)
    for name, values in expected.items():
        assert_allclose(evaluator.per_query[name], values, rtol=EXACT, err_msg=name)


def test_legacy_computes_the_definitions_of_the_original(rng, identity):
    points, labels = labelled(rng, [10, 3, 5])
    evaluator = Evaluator((points, labels), model=identity)
    standard, original = evaluator.evaluate(limit=6), evaluator.evaluate(limit=6, legacy=True)
    assert list(original) == list(legacy.METRICS)
    assert original['ndcg_at_k'] > standard['ndcg_at_k']
    assert original['average_precision'] > standard['average_precision']
    for same in ('precision_at_k', 'recall_at_k', 'hit_at_k', 'reciprocal_rank', 'f1_score_at_k'):
        assert original[same] == standard[same]


def test_the_query_itself_is_neither_retrieved_nor_relevant(identity):
    # Classes of two, ranked perfectly: the original found a recall of one half.
    points = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    evaluator = Evaluator((points, labels), model=identity, metrics=['recall_at_k', 'precision_at_k', 'map_at_r'])
    assert evaluator.evaluate(limit=1) == {'recall_at_k': 1, 'precision_at_k': 1, 'map_at_r': 1}
    kept = evaluator.evaluate(limit=1, exclude_self=False)
    assert kept == {'recall_at_k': 1 / 2, 'precision_at_k': 1, 'map_at_r': 1}


def test_each_query_has_its_own_ground_truth(identity):
    # The original measured all queries by the number of relevant items of the first.
    index = np.eye(4, dtype=np.float32)
    queries = index[[0, 1]]
    for order in ([0, 1], [1, 0]):
        data = (queries[order], np.array(['one', 'three'])[order].tolist())
        evaluator = Evaluator(data, (index, ['one', 'three', 'three', 'three']), identity, 'recall_at_k')
        assert evaluator.evaluate(limit=4) == {'recall_at_k': 1}
        assert evaluator.evaluate(limit=1) == {'recall_at_k': (1 + 1 / 3) / 2}


def test_queries_without_a_relevant_item_are_reported_and_left_out(identity, log):
    points = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    evaluator = Evaluator((points, ['a', 'a', 'lonely', 'alone']), model=identity)
    assert evaluator.evaluate(limit=1)['precision_at_k'] == 1
    assert evaluator.unanswered == ['item 2', 'item 3']
    assert evaluator.query_names == [f'item {i}' for i in range(4)]
    assert_array_equal(evaluator.per_query['precision_at_k'], [1, 1, np.nan, np.nan])
    evaluator.evaluate(limit=2)
    lines = [record.getMessage() for record in log.records if 'no relevant item' in record.getMessage()]
    assert lines == [
        '2 of 4 queries have no relevant item in the index and are left out of the means: item 2 and item 3.'
    ]


def test_data_where_no_query_has_a_relevant_item_is_refused(identity):
    points = np.eye(4, dtype=np.float32)
    with pytest.raises(
        DataError, match=r"None of the 4 queries.*labels of query_data: 1 and 2; of index_data: '1' and '2'"
    ):
        Evaluator((points, [1, 2, 1, 2]), (points, ['1', '2', '1', '2']), identity).evaluate()


def test_pairs_are_searched_among_their_positives_and_negatives(identity):
    vectors = {'q': [1, 0, 0, 0], 'r': [0, 1, 0, 0], 'a': [1, 0.1, 0, 0], 'b': [0.5, 1, 0, 0], 'n': [1, 0, 0.05, 0]}
    rows = [('q', 'a', 'n'), ('r', 'b', 'n'), ('q', 'b', 'n')]
    evaluator = Evaluator(rows, model=identity, metrics=['reciprocal_rank', 'recall_at_2'])
    found = evaluator.evaluate(limit=5, preprocess_fn=vectors.__getitem__, collate_fn=np.array)
    assert found == {'reciprocal_rank': (1 / 2 + 1) / 2, 'recall_at_2': (1 / 2 + 1) / 2}


def test_pairs_are_searched_in_a_corpus(identity):
    vectors = {'q': [1, 0, 0, 0], 'a': [1, 0.1, 0, 0], 'x': [1, 0.2, 0, 0], 'y': [0, 0, 0, 1]}
    rows = [('q', 'a'), ('a', 'x')]
    evaluator = Evaluator(rows, ['y', 'x', 'a', 'q'], identity, ['reciprocal_rank'])
    assert evaluator.evaluate(preprocess_fn=vectors.__getitem__, collate_fn=np.array) == {'reciprocal_rank': 1}
    kept = evaluator.evaluate(exclude_self=False, preprocess_fn=vectors.__getitem__, collate_fn=np.array)
    assert kept == {'reciprocal_rank': 1 / 2}


def test_a_data_set_that_is_its_own_index_is_encoded_once(rng, identity):
    data = labelled(rng, [5, 5])
    Evaluator(data, model=identity).evaluate()
    assert identity.items == 10
    Evaluator(data, data, identity).evaluate()
    assert identity.items == 20


@pytest.mark.parametrize('distance', ['cosine', 'euclidean', 'sqeuclidean', 'dot'])
def test_distance_decides_what_is_near(identity, distance):
    index = np.array([[0.1, 0, 0, 0], [1, 0.5, 0, 0], [9, 9, 0, 0]], np.float32)
    right = {'cosine': 0, 'euclidean': 1, 'sqeuclidean': 1, 'dot': 2}[distance]
    query = (np.array([[1, 0, 0, 0]], np.float32), ['right'])
    evaluator = Evaluator(query, (index, ['right' if i == right else 'wrong' for i in range(3)]), identity, 'hit_at_1')
    assert evaluator.evaluate(distance=distance) == {'hit_at_1': 1}


def test_wrong_arguments_are_refused_early(identity):
    data = (np.eye(4, dtype=np.float32), [0, 0, 1, 1])
    with pytest.raises(ArgumentError, match='no metric'):
        Evaluator(data, metrics=['precison_at_k'])
    with pytest.raises(ArgumentError, match='limit counts'):
        Evaluator(data, model=identity).evaluate(limit=0)
    with pytest.raises(ArgumentError, match='no distance'):
        Evaluator(data, model=identity).evaluate(distance='cosinus')
    assert identity.items == 0
    with pytest.raises(DataError, match='item 0 is no document and carries no embedding'):
        Evaluator(data).evaluate()


def test_default_metrics_can_be_added_to(rng, identity):
    data = labelled(rng, [5, 5])
    chosen = {**Evaluator.default_metrics(), 'first': (lambda relevance, n_relevant: relevance[:, 0], {})}
    found = Evaluator(data, model=identity, metrics=chosen).evaluate(limit=3)
    assert found.pop('first') == Evaluator(data, model=identity).evaluate(limit=[1])['precision_at_1']
    assert found == Evaluator(data, model=identity).evaluate(limit=3)


class Vector:
    """Something that carries an embedding."""

    def __init__(self, embedding):
        self.embedding = embedding


def carrying(vectors):
    return Records('class', [Vector(v) for v in vectors], ['one', 'two', 'three'], labels=['x', 'x', 'y'])


def test_embeddings_may_be_sparse_or_lists():
    sparse = pytest.importorskip('scipy.sparse')
    data = carrying([sparse.csr_matrix([[1.0, 0.0]]), [1.0, 0.0], np.array([[1.0, 0.1]])])
    assert Evaluator(data, metrics='hit_at_1').evaluate() == {'hit_at_1': 1}


def test_embeddings_may_be_tensors(xp):
    data = carrying([xp.asarray(np.array(v, np.float32)) for v in ([1, 0], [1, 0.1], [0, 1])])
    assert Evaluator(data, metrics='hit_at_1').evaluate() == {'hit_at_1': 1}


def test_metrics_may_come_from_a_generator(identity):
    data = (np.eye(4, dtype=np.float32), [0, 0, 1, 1])
    evaluator = Evaluator(data, model=identity, metrics=(name for name in ['hit_at_3']))
    assert evaluator.evaluate() == evaluator.evaluate() == {'hit_at_3': 1}


def test_items_whose_vectors_are_not_finite_are_named(identity):
    points = np.eye(4, dtype=np.float32)
    broken = Projection(np.diag([np.nan, 1, 1, 1]).astype(np.float32))
    with pytest.raises(DataError, match='NaN or infinite are those of row 0, row 1, row 2 and row 3 in query_data'):
        Evaluator([(row, i % 2) for i, row in enumerate(points)], model=broken).evaluate()
    data = carrying([[1.0, 0.0], [np.inf, 0.0], [0.0, 1.0]])
    with pytest.raises(DataError, match=r'NaN or infinite is that of two in query_data\. Check the model'):
        Evaluator(data).evaluate()
    with pytest.raises(DataError, match='that of two in index_data'):
        Evaluator(carrying(np.eye(3)), data).evaluate()
    rows = Records(
        'score',
        carrying([[1.0, 0.0], [np.nan, 0.0]]).contents,
        ['one', 'two'],
        rows=np.array([[0, 1]]),
        scores=np.ones((1, 1)),
    )
    with pytest.raises(DataError, match='that of two in query_data'):
        Evaluator(rows).evaluate()


def test_vectors_of_queries_and_index_have_one_length():
    with pytest.raises(ArgumentError, match='vectors of one length; they have 3 and 2'):
        Evaluator(carrying(np.eye(3)), carrying(np.ones((3, 2)))).evaluate()


def test_nothing_to_search_is_refused(identity):
    points = np.eye(4, dtype=np.float32)
    for query, index, role in (((points[:0], []), None, 'query'), ((points, [0] * 4), (points[:0], []), 'index')):
        with pytest.raises(DataError, match=f'nothing to evaluate: {role}_data is empty'):
            finetuner.evaluate(identity, query, index)


def test_more_results_than_the_index_holds_count_as_wrong(identity):
    data = (np.eye(4, dtype=np.float32)[[0, 0, 1, 1]], [0, 0, 1, 1])
    found = finetuner.evaluate(identity, data, limit=100)
    assert (found['precision_at_k'], found['recall_at_k'], found['ndcg_at_k']) == (1 / 100, 1, 1)


def test_relevant_items_that_are_not_in_the_index_are_named(identity):
    with pytest.raises(
        DataError, match='not in the index data: positive of row 1, relevant to anchor of row 1. Add them to index_data'
    ):
        finetuner.evaluate(identity, [('q', 'a'), ('r', 'b')], ['a', 'x'])


def test_one_class_an_item_is_refused(identity):
    with pytest.raises(DataError, match='None of the 4 queries has a relevant item in the index, so'):
        Evaluator((np.eye(4, dtype=np.float32), [0, 1, 2, 3]), model=identity).evaluate()


class TestDocuments:
    """DocumentArrays with embeddings, as the original took them."""

    @pytest.fixture(autouse=True)
    def docarray(self):
        docarray = pytest.importorskip('docarray')
        if not hasattr(docarray, 'DocumentArray'):
            pytest.skip('docarray before 0.30 is not installed')
        self.Document, self.DocumentArray = docarray.Document, docarray.DocumentArray

    def documents(self, *rows, **options):
        made = self.DocumentArray(**options)
        made.extend(
            self.Document(
                id=id, tags={'finetuner_label': label} if label is not None else {}, embedding=np.array(vector)
            )
            for id, label, vector in rows
        )
        return made

    def test_one_relevant_item_a_query(self):
        # Asserted of the original: with a limit of 1 all is 1, with 2 the precision is a half.
        vectors = np.eye(10)
        query = self.documents(*((f'q{i}', str(i), vectors[i]) for i in range(10)))
        index = self.documents(*((f'i{i}', str(i), vectors[i]) for i in range(10)))
        for old in (True, False):
            evaluator = Evaluator(query, index)
            assert set(evaluator.evaluate(limit=1, legacy=old).values()) == {1.0}
            for document in query:
                assert {score.value for score in document.evaluations.values()} == {1.0}
            found = evaluator.evaluate(limit=2, legacy=old)
            assert found.pop('precision_at_k') == 0.5
            assert found.pop('f1_score_at_k') == pytest.approx(2 / 3)
            assert set(found.values()) == {1.0}
            assert all(document.evaluations['precision_at_k'].value == 0.5 for document in query)

    def test_metric_of_ones_own(self):
        data = self.documents(('a', 'x', [1, 0]), ('b', 'x', [1, 0]))
        evaluator = Evaluator(
            data, metrics={'mine': (lambda relevance, max_rel, weight: weight * max_rel, {'weight': 0.5})}
        )
        assert evaluator.evaluate() == {'mine': 0.5}
        assert data[1].evaluations['mine'].value == 0.5

    def test_only_own_positives_of_sessions_are_relevant(self):
        query = self.documents(('q', None, [1, 0, 0]), ('r', None, [0, 1, 0]))
        query[0].matches.extend(self.documents(('a', 1, [1, 0.2, 0]), ('b', -1, [1, 0.1, 0])))
        query[1].matches.extend(self.documents(('b', 1, [0, 1, 0.3]), ('c', 1, [0, 1, 0.2]), ('a', -1, [0, 1, 0])))
        index = self.documents(
            ('a', None, [1, 0.2, 0]), ('b', None, [1, 0.1, 0]), ('c', None, [0, 1, 0.2]), ('q', None, [1, 0, 0])
        )
        evaluator = Evaluator(query, index, metrics=['precision_at_1', 'reciprocal_rank', 'r_precision'])
        # for q: b, a, c (q itself is left out); for r: c, a, b
        expected = {'precision_at_1': [0, 1], 'reciprocal_rank': [1 / 2, 1], 'r_precision': [0, 1 / 2]}
        assert evaluator.evaluate() == {name: np.mean(values) for name, values in expected.items()}
        for name, values in expected.items():
            assert_array_equal(evaluator.per_query[name], values)
            assert [document.evaluations[name].value for document in query] == values
        assert [match.id for match in query[0].matches] == ['a', 'b']

    def test_grades_of_matches_weigh(self):
        query = self.documents(('q', None, [1, 0, 0]), ('r', None, [0, 1, 0]))
        query[0].matches.extend(self.documents(('a', 1, [1, 0.1, 0]), ('b', 3, [1, 0.2, 0]), ('x', -1, [1, 0, 0.3])))
        query[1].matches.extend(self.documents(('c', 2, [0, 1, 0.1])))
        # for q: a of grade 1, b of grade 3, x; for r: c first
        log3, chosen = np.log2(3), ['dcg_at_k', 'ndcg_at_k', 'ndcg_at_1', 'precision_at_2', 'average_precision']
        evaluator = Evaluator(query, metrics=chosen)
        evaluator.evaluate(limit=4)
        expected = {
            'dcg_at_k': [1 + 3 / log3, 2],
            'ndcg_at_k': [(1 + 3 / log3) / (3 + 1 / log3), 1],
            'ndcg_at_1': [1 / 3, 1],
            'precision_at_2': [1, 1 / 2],
            'average_precision': [1, 1],
        }
        for name, values in expected.items():
            assert_allclose(evaluator.per_query[name], values, rtol=EXACT, err_msg=name)
        steep = {'steep': (metrics.ndcg_at_k, {'gain': 'exponential'})}
        assert Evaluator(query, metrics=steep).evaluate()['steep'] == pytest.approx(
            ((1 + 7 / log3) / (7 + 1 / log3) + 1) / 2, rel=EXACT
        )
        evaluator.evaluate(limit=4, legacy=True)
        assert evaluator.per_query['dcg_at_k'].tolist() == [4, 2]
        assert evaluator.per_query['ndcg_at_k'].tolist() == [1, 1]  # the first two ranks weigh alike

    def test_metrics_of_ones_own_get_grades(self):
        query = self.documents(('q', None, [1, 0]))
        query[0].matches.extend(self.documents(('a', 1, [1, 0.1]), ('b', 3, [1, 0.2]), ('x', -1, [1, 0.3])))
        seen = []

        def one(relevance, max_rel):
            seen.append((relevance, max_rel))
            return sum(relevance)

        def every(relevance, n_relevant, grades):
            return relevance.sum(axis=1) / grades.sum(axis=1) / n_relevant

        assert Evaluator(query, metrics={'one': one, 'every': every}).evaluate() == {'one': 4, 'every': 1 / 2}
        assert seen == [([1, 3, 0], 2)]

    def test_labels_and_matches_together_are_refused(self):
        data = self.documents(('a', 'x', [1, 0]), ('b', 'x', [1, 0]), ('q', None, [1, 0]))
        data[2].matches.extend(self.documents(('m', 1, [1, 0])))
        with pytest.raises(DataError, match=r"Most documents have .*label.*, but document 'q' has .*match"):
            Evaluator(data)

    def test_a_document_that_comes_twice_does_not_find_itself(self):
        rows = [('a', 'x', [1, 0]), ('a', 'x', [1, 0]), ('b', 'y', [1, 0.1]), ('c', 'x', [0, 1]), ('d', 'y', [0, 1])]
        evaluator = Evaluator(self.documents(*rows), metrics='hit_at_1')
        assert evaluator.evaluate() == {'hit_at_1': 0}
        with pytest.raises(DataError, match="document 'a' comes more than once in query_data, labelled 'x' and 'y'"):
            Evaluator(self.documents(rows[0], ('a', 'y', [1, 0]), rows[3])).evaluate()

    def test_matches_of_documents_in_the_index_are_not_searched(self):
        query, index = self.documents(('q', None, [1, 0])), self.documents(('a', None, [1, 0.2]), ('b', None, [0, 1]))
        query[0].matches.extend(self.documents(('a', 1, [0, 1])))
        index[0].matches.extend(self.documents(('c', 1, [1, 0]), ('d', -1, [1, 0])))
        assert Evaluator(query, index, metrics='precision_at_1').evaluate() == {'precision_at_1': 1}

    def test_a_document_does_not_find_itself_in_another_container(self):
        rows = [('a', 'x', [1, 0]), ('b', 'x', [1, 0.5]), ('c', 'y', [1, 0.1]), ('d', 'y', [0, 1])]
        alone = Evaluator(self.documents(*rows)).evaluate(limit=2)
        assert Evaluator(self.documents(*rows), self.documents(*rows[::-1])).evaluate(limit=2) == alone

    def test_documents_on_disk_get_their_values_too(self, tmp_path):
        rows = [('a', 'x', [1, 0]), ('b', 'x', [1, 0.5]), ('c', 'y', [1, 0.1]), ('d', 'y', [0, 1])]
        data = self.documents(
            *rows, storage='sqlite', config={'connection': str(tmp_path / 'data.db'), 'table_name': 'd'}
        )
        assert Evaluator(data, metrics='hit_at_2').evaluate() == {'hit_at_2': 0.75}
        assert [document.evaluations['hit_at_2'].value for document in data] == [1, 1, 0, 1]
        assert data[0].embedding.tolist() == [1, 0]

    def test_a_document_without_embedding_is_named(self):
        data = self.documents(('a', 'x', [1, 0]), ('b', 'x', [1, 0]))
        data[1].embedding = None
        with pytest.raises(DataError, match=r"document 'b' has no embedding.*model="):
            Evaluator(data).evaluate()
        data[1].embedding = np.ones(3)
        with pytest.raises(DataError, match=r"document 'b' has 3 numbers, that of document 'a' 2"):
            Evaluator(data).evaluate()

    def test_a_document_without_label_is_left_out(self):
        data = self.documents(('a', 'x', [1, 0]), ('b', 'x', [1, 0]), ('c', None, [1, 0]))
        evaluator = Evaluator(data, metrics='precision_at_2')
        assert evaluator.evaluate() == {'precision_at_2': 1 / 2}
        assert evaluator.unanswered == ["document 'c'"]
        assert 'precision_at_2' not in data[2].evaluations

    def test_with_a_model_embeddings_are_made_anew_and_documents_keep_theirs(self):
        data = self.documents(('a', 'x', [1, 0]), ('b', 'y', [1, 0.1]), ('c', 'x', [0, 1]), ('d', 'y', [0, 1]))
        for document, tensor in zip(data, np.eye(4, dtype=np.float32)[[0, 1, 0, 1]], strict=True):
            document.tensor = tensor
        model = Projection(np.eye(4, dtype=np.float32))
        assert Evaluator(data, model=model, metrics='hit_at_1').evaluate() == {'hit_at_1': 1}
        assert data[1].embedding.tolist() == [1, 0.1]


def test_records_are_taken_as_they_are(identity):
    records = Records('class', np.eye(4, dtype=np.float32)[[0, 0]], ['one', 'two'], labels=['x', 'x'])
    assert Evaluator(records, model=identity).evaluate(limit=1)['hit_at_k'] == 1


def test_every_engine_gives_the_same_metrics(rng, identity):
    pytest.importorskip('faiss')
    x, y = labelled(rng, [60] * 10)
    evaluator = Evaluator((x, y), model=identity, metrics=['precision_at_k', 'ndcg_at_k'])
    assert evaluator.evaluate(limit=3, engine='faiss') == evaluator.evaluate(limit=3)


def test_an_unknown_engine_is_refused_before_anything_is_encoded(rng, identity):
    x, y = labelled(rng, [5, 5])
    with pytest.raises(ArgumentError, match="no engine 'fiass'.*'faiss'"):
        Evaluator((x, y), model=identity).evaluate(engine='fiass')
    assert not identity.items


def test_a_device_that_the_engine_does_not_have_is_refused_without_a_model(rng):
    x, y = labelled(rng, [5, 5])
    with pytest.raises(ArgumentError, match="device='cuda' is of PyTorch: pass engine='torch'"):
        Evaluator((x, y)).evaluate(engine='numpy', device='cuda')


@pytest.mark.backends('torch')
@pytest.mark.parametrize(('model', 'engine'), [(False, None), (False, 'torch'), (True, 'torch')])
def test_pytorch_is_told_the_device_whoever_made_the_vectors(monkeypatch, rng, identity, model, engine):
    import torch

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    x, y = labelled(rng, [5, 5])
    with pytest.raises(ArgumentError, match='PyTorch sees no GPU here'):
        Evaluator((x, y), model=identity if model else None).evaluate(engine=engine, device='cuda')
    assert not identity.items
