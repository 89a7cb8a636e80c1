import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.testing import assert_array_equal

from finetuner.data.records import Records
from finetuner.errors import DataError
from finetuner.evaluation.ground_truth import ground_truth

quick = settings(deadline=None, max_examples=60)


class Item:
    """What all documents have: an id."""

    __module__ = 'docarray.document'

    def __init__(self, id):
        self.id = id


def labelled(labels, ids=None):
    if ids is None:
        return Records('class', list(labels), [f'row {i}' for i in range(len(labels))], labels=list(labels))
    return Records('class', [Item(id) for id in ids], [f'document {id!r}' for id in ids], labels=list(labels))


def sessions(*parts, ids=True):
    """Each part is a root and its matches by grade: ('q', {'a': 1, 'b': -1})."""
    names, session, grade = [], [], []
    for number, (root, matches) in enumerate(parts):
        names += [root, *matches]
        session += [number] * (1 + len(matches))
        grade += [0, *matches.values()]
    contents = [Item(name) for name in names] if ids else names
    names = [f'document {name!r}' if ids else f'row {i}' for i, name in enumerate(names)]
    return Records('session', contents, names, session=np.array(session), grade=np.array(grade))


def pairs(*rows):
    """Rows of texts; equal texts are one item."""
    items = list(dict.fromkeys(text for column in range(3) for row in rows for text in row[column : column + 1]))
    numbers = np.array([[items.index(t) for t in row] + [-1] * (3 - len(row)) for row in rows])
    return Records('pair', items, [f'row {i}' for i in range(len(items))], rows=numbers)


def plain(ids=None, texts=None):
    contents = [Item(id) for id in ids] if ids else list(texts)
    return Records('instance', contents, [f'row {i}' for i in range(len(contents))])


def called(records, items):
    return [getattr(records.contents[i], 'id', records.contents[i]) for i in items]


def found(query, index=None, exclude_self=True):
    """What is relevant to each query by its name, as the public methods tell it, after some checks."""
    truth = ground_truth(query, index, exclude_self)
    other = query if index is None else index
    rows = np.arange(len(truth.queries))
    places = np.tile(np.arange(len(truth.index)), (len(rows), 1))
    relevance = truth.relevance(rows, places)
    assert set(np.unique(relevance)) <= {0, 1}
    assert_array_equal(relevance.sum(1), truth.n_relevant)
    assert_array_equal(truth.relevance(rows, np.full((len(rows), 2), -1)), np.full((len(rows), 2), -1))
    own = truth.own >= 0
    assert not relevance[rows[own], truth.own[own]].any()
    return truth, [called(other, truth.index[row.astype(bool)]) for row in relevance]


class TestLabels:
    def test_items_of_one_label_are_relevant_to_each_other_but_not_to_themselves(self):
        truth, relevant = found(labelled(['x', 'y', 'x', 'x', 'z']))
        assert relevant == [['x', 'x'], [], ['x', 'x'], ['x', 'x'], []]
        assert_array_equal(truth.own, range(5))

    def test_the_query_itself_counts_where_it_is_not_excluded(self):
        truth, relevant = found(labelled(['x', 'y', 'x']), exclude_self=False)
        assert relevant == [['x', 'x'], ['y'], ['x', 'x']]
        assert_array_equal(truth.own, [-1, -1, -1])

    def test_several_labels_share_one(self):
        _, relevant = found(labelled([('a', 'b'), ('b',), 'c', ('c', 'a', 'd'), None]))
        assert relevant == [[('b',), ('c', 'a', 'd')], [('a', 'b')], [('c', 'a', 'd')], [('a', 'b'), 'c'], []]

    def test_an_index_of_its_own_has_its_own_codes(self):
        _, relevant = found(labelled(['a', 'b', 'new']), labelled(['b', 'a', 'a', 'other']))
        assert relevant == [['a', 'a'], ['b'], []]

    def test_numbers_and_strings_are_different_labels(self):
        _, relevant = found(labelled([1, 2]), labelled(['1', 2]))
        assert relevant == [[], [2]]

    def test_a_document_knows_itself_in_another_container(self):
        query, index = labelled(['x', 'x'], ids=['p', 'q']), labelled(['x', 'y', 'x'], ids=['r', 'q', 'p'])
        truth, relevant = found(query, index)
        assert_array_equal(truth.own, [2, 1])
        assert relevant == [['r'], ['r', 'p']]
        assert_array_equal(found(query, index, exclude_self=False)[0].n_relevant, [2, 2])

    def test_equal_rows_of_two_tables_are_not_the_same_item(self):
        truth, relevant = found(labelled(['x']), labelled(['x']))
        assert_array_equal(truth.own, [-1])
        assert relevant == [['x']]

    def test_copies_of_a_document_among_the_queries_are_one_and_do_not_find_each_other(self):
        query = labelled(['x', 'y', 'x', 'x'], ids=['a', 'b', 'a', 'c'])
        truth, relevant = found(query)
        assert relevant == [['c'], [], ['c'], ['a']]
        assert called(query, truth.queries) == ['a', 'b', 'a', 'c']
        assert called(query, truth.index) == ['a', 'b', 'c']
        assert found(query, exclude_self=False)[1] == [['a', 'c'], ['b'], ['a', 'c'], ['a', 'c']]

    def test_copies_of_a_document_with_different_labels_are_refused(self):
        twice = labelled(['x', 'y'], ids=['a', 'a'])
        for arguments, role in (((twice,), 'query_data'), ((labelled(['x'], ids=['q']), twice), 'index_data')):
            with pytest.raises(DataError, match=f"document 'a' comes more than once in {role}, labelled 'x' and 'y'"):
                ground_truth(*arguments)

    def test_copies_of_a_document_in_the_index_are_one(self):
        truth, relevant = found(labelled(['x'], ids=['q']), labelled(['x', 'x', 'x'], ids=['a', 'q', 'a']))
        assert relevant == [['a']]
        assert_array_equal(truth.index, [0, 1])

    @quick
    @given(st.data())
    def test_equals_sets_compared_pair_by_pair(self, data):
        label = st.lists(st.integers(0, 4), max_size=3, unique=True).map(tuple)
        ours, theirs = data.draw(st.lists(label, min_size=1, max_size=9)), data.draw(st.lists(label, max_size=9))
        theirs.append((0,))
        _, relevant = found(labelled(ours), labelled(theirs))
        assert relevant == [[b for b in theirs if set(a) & set(b)] for a in ours]
        truth, _ = found(labelled(ours))
        counts = [sum(bool(set(a) & set(b)) for j, b in enumerate(ours) if i != j) for i, a in enumerate(ours)]
        assert_array_equal(truth.n_relevant, counts)

    def test_no_matrix_of_queries_times_index(self):
        import tracemalloc

        labels = [(i % 100, 100 + i % 7) for i in range(20_000)]
        tracemalloc.start()
        try:
            truth = ground_truth(labelled(labels))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20e6  # a byte for each pair would be 400 MB
        assert truth.n_relevant[0] == sum(bool({0, 100} & set(pair)) for pair in labels) - 1


class TestSessions:
    def test_own_positives_are_relevant_and_negatives_never(self):
        query = sessions(('q', {'a': 1, 'b': -1, 'c': 1}), ('r', {'d': -1, 'e': 1}), ('s', {}))
        truth, relevant = found(query)
        assert called(query, truth.queries) == ['q', 'r', 's']
        assert called(query, sorted(truth.index)) == ['a', 'b', 'c', 'd', 'e']
        assert relevant == [['a', 'c'], ['e'], []]

    def test_a_match_of_two_sessions_is_one_document(self):
        query = sessions(('q', {'a': 1, 'b': -1}), ('r', {'a': -1, 'b': 1}), ('s', {'a': 1}))
        truth, relevant = found(query)
        assert len(truth.index) == 2
        assert relevant == [['a'], ['b'], ['a']]

    def test_sessions_that_are_mixed_up(self):
        query = sessions(('q', {'a': 1}), ('r', {'b': 1}))
        shuffled = [3, 1, 2, 0]
        mixed = Records(
            'session',
            [query.contents[i] for i in shuffled],
            [query.names[i] for i in shuffled],
            session=query.session[shuffled],
            grade=query.grade[shuffled],
        )
        truth, relevant = found(mixed)
        assert dict(zip(called(mixed, truth.queries), relevant, strict=True)) == {'q': ['a'], 'r': ['b']}

    def test_items_without_ids_are_themselves(self):
        truth, relevant = found(sessions(('q', {'a': 1, 'b': -1}), ('q', {'a': 1}), ids=False))
        assert relevant == [['a'], ['a']]
        assert len(truth.index) == 3

    def test_a_root_that_is_a_match_elsewhere_does_not_find_itself(self):
        query = sessions(('q', {'r': 1, 'a': -1}), ('r', {'q': 1, 'r': 1}))
        truth, relevant = found(query)
        assert relevant == [['r'], ['q']]
        assert called(query, truth.index[truth.own]) == ['q', 'r']
        assert found(query, exclude_self=False)[1] == [['r'], ['r', 'q']]

    def test_an_index_of_its_own_is_searched_whole(self):
        query, index = sessions(('q', {'a': 1, 'b': -1})), plain(ids=['x', 'b', 'q', 'a'])
        truth, relevant = found(query, index)
        assert relevant == [['a']]
        assert_array_equal(truth.index, range(4))
        assert_array_equal(truth.own, [2])
        assert_array_equal(ground_truth(query, index, exclude_self=False).own, [-1])

    def test_labels_of_the_index_say_nothing(self):
        query = sessions(('q', {'a': 1, 'b': -1}))
        _, relevant = found(query, labelled([1, 1], ids=['a', 'b']))
        assert relevant == [['a']]

    def test_a_match_that_is_not_in_the_index_is_named(self):
        query = sessions(('q', {'a': 1}), ('r', {'b': 1}))
        with pytest.raises(DataError, match="not in the index data: document 'b', relevant to document 'r'"):
            ground_truth(query, plain(ids=['a']))

    def test_without_ids_an_index_of_its_own_is_refused(self):
        query = Records('session', [np.ones(2)] * 2, ['row 0', 'row 1'], session=np.zeros(2), grade=np.array([0, 1]))
        with pytest.raises(DataError, match='documents with ids'):
            ground_truth(query, plain(ids=['a']))


class TestGrades:
    def test_relevance_is_the_grade(self):
        query = sessions(('q', {'a': 1, 'b': 3, 'c': -1, 'd': 2}), ('r', {'d': 5, 'e': 1}), ('s', {'f': -1}))
        truth = ground_truth(query)
        rows, places = np.arange(3), np.tile([*range(6), -1], (3, 1))
        assert called(query, truth.index) == list('abcdef')
        expected = [[1, 3, 0, 2, 0, 0, -1], [0, 0, 0, 5, 1, 0, -1], [0, 0, 0, 0, 0, 0, -1]]
        assert_array_equal(truth.relevance(rows, places), expected)
        assert_array_equal(truth.relevant(rows, places[:, :6]), np.array(expected)[:, :6] > 0)
        assert_array_equal(truth.n_relevant, [3, 2, 0])

    def test_the_ideal_list_is_that_of_each_query(self):
        truth = ground_truth(sessions(('q', {'a': 1, 'b': 3, 'c': -1, 'd': 2}), ('r', {'d': 5}), ('s', {'f': -1})))
        assert_array_equal(truth.ideal(np.arange(3), 10), [[3, 2, 1], [5, 0, 0], [0, 0, 0]])
        assert_array_equal(truth.ideal(np.array([1, 0]), 2), [[5, 0], [3, 2]])
        assert truth.ideal(np.array([2]), 10).shape == (1, 0)

    def test_of_grade_1_alone_there_is_no_ideal_to_know(self):
        for query in (sessions(('q', {'a': 1, 'b': -1})), pairs(('q', 'a')), labelled(['x', 'x'])):
            assert ground_truth(query).ideal(np.array([0]), 5) is None

    def test_the_query_itself_is_no_part_of_its_ideal_list(self):
        query = sessions(('q', {'q': 9, 'a': 2}), ('r', {'q': 1}))
        assert_array_equal(ground_truth(query).ideal(np.arange(2), 5), [[2], [1]])
        assert_array_equal(ground_truth(query, exclude_self=False).ideal(np.arange(2), 5), [[9, 2], [1, 0]])

    def test_a_document_that_is_a_match_twice_has_its_higher_grade(self):
        query = sessions(('q', {'a': 2, 'b': 1}))
        query.contents.append(Item('a'))
        query.names.append("document 'a'")
        for grade in (1, 4):
            again = Records(
                'session', query.contents, query.names, session=np.zeros(4, int), grade=np.array([0, 2, 1, grade])
            )
            truth = ground_truth(again)
            assert_array_equal(truth.relevance(np.array([0]), np.array([[0, 1]])), [[max(2, grade), 1]])
            assert_array_equal(truth.ideal(np.array([0]), 5), [[max(2, grade), 1]])

    def test_grades_are_found_in_an_index_of_its_own(self):
        truth = ground_truth(sessions(('q', {'a': 1, 'b': 4})), plain(ids=['b', 'x', 'a']))
        assert_array_equal(truth.relevance(np.array([0]), np.array([[0, 1, 2]])), [[4, 0, 1]])


class TestSets:
    @quick
    @given(st.data())
    def test_are_what_is_relevant_but_for_the_query_itself(self, data):
        label = st.lists(st.integers(0, 4), max_size=3, unique=True).map(tuple)
        kind = data.draw(st.sampled_from(['class', 'pair']))
        rows = st.lists(st.tuples(*[st.sampled_from('abcdef')] * 2), min_size=1, max_size=12)
        query = (
            labelled(data.draw(st.lists(label, min_size=1, max_size=9))) if kind == 'class' else pairs(*data.draw(rows))
        )
        truth = ground_truth(query)
        sets = {row: places.tolist() for some, places in truth.sets() for row in some.tolist()}
        everything = np.arange(len(truth.index))
        for row in range(len(truth.queries)):
            relevant = np.flatnonzero(truth.relevance(np.array([row]), everything[None])[0] > 0).tolist()
            assert [place for place in sets.get(row, []) if place != truth.own[row]] == relevant

    def test_labels_of_what_was_found_are_known(self):
        truth = ground_truth(labelled(['x', 'y']), labelled(['y', None, 'x', 'z']))
        own, theirs = truth.votes(np.array([1, 0]), np.array([[0, 3], [-1, 1]]))
        assert_array_equal(own, [[1], [0]])
        assert_array_equal(theirs[..., 0], [[1, 2], [-1, -1]])
        with pytest.raises(DataError, match='no labels here'):
            ground_truth(pairs(('q', 'a'))).votes(np.array([0]), np.array([[0]]))


class TestPairs:
    def test_all_positives_of_an_anchor_are_relevant(self):
        query = pairs(('q', 'a'), ('r', 'b', 'n'), ('q', 'c'), ('q', 'a'))
        truth, relevant = found(query)
        assert called(query, truth.queries) == ['q', 'r']
        assert sorted(called(query, truth.index)) == ['a', 'b', 'c', 'n']
        assert relevant == [['a', 'c'], ['b']]

    def test_an_anchor_that_is_a_positive_elsewhere_does_not_find_itself(self):
        query = pairs(('q', 'r'), ('r', 'q'), ('s', 's'))
        truth, relevant = found(query)
        assert relevant == [['r'], ['q'], []]
        assert (truth.own >= 0).all()
        assert found(query, exclude_self=False)[1] == [['r'], ['q'], ['s']]

    def test_anchors_come_in_the_order_of_the_rows(self):
        query = Records('pair', list('abqr'), [''] * 4, rows=np.array([[3, 0], [2, 1], [3, 1]]))
        truth, relevant = found(query)
        assert called(query, truth.queries) == ['r', 'q']
        assert relevant == [['a', 'b'], ['b']]

    def test_texts_are_found_in_an_index_of_texts(self):
        truth, relevant = found(pairs(('q', 'a'), ('r', 'b')), plain(texts=['b', 'x', 'a', 'q', 'a']))
        assert relevant == [['a'], ['b']]
        assert_array_equal(truth.own, [3, -1])
        assert_array_equal(truth.index, range(4))  # the second 'a' is the first

    def test_contents_that_are_no_texts_need_no_index_of_their_own(self):
        query = Records('pair', [np.ones(2), np.zeros(2)], ['row 0', 'row 0'], rows=np.array([[0, 1]]))
        assert_array_equal(ground_truth(query).n_relevant, [1])
        with pytest.raises(DataError, match='pairs of texts'):
            ground_truth(query, plain(texts=['a']))

    @quick
    @given(st.lists(st.tuples(*[st.sampled_from('abcdef')] * 2), min_size=1, max_size=12), st.booleans())
    def test_equals_sets_of_positives(self, rows, exclude_self):
        query = pairs(*rows)
        truth, relevant = found(query, exclude_self=exclude_self)
        expected = {a: {p for q, p in rows if q == a and (p != a or not exclude_self)} for a, _ in rows}
        assert dict(zip(called(query, truth.queries), map(set, relevant), strict=True)) == expected


@pytest.mark.parametrize(
    ('query', 'index', 'message'),
    [
        (plain(ids=['a']), None, 'query_data has no labels'),
        (Records('score', ['a', 'b'], ['', ''], rows=np.array([[0, 1]]), scores=np.ones((1, 1))), None, 'has scores'),
        (labelled(['x']), plain(ids=['a']), 'index_data has none'),
        (labelled([]), None, 'query_data is empty'),
        (plain(texts=[]), None, 'query_data is empty'),
        (labelled(['x']), labelled([]), 'index_data is empty'),
    ],
)
def test_data_without_ground_truth_is_refused(query, index, message):
    with pytest.raises(DataError, match=message):
        ground_truth(query, index)


def test_sessions_without_matches_have_an_empty_index():
    truth = ground_truth(sessions(('q', {}), ('r', {})))
    assert len(truth.index) == 0
    assert_array_equal(truth.n_relevant, [0, 0])
