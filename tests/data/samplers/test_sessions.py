import numpy as np
import pytest
from hypothesis import given, strategies as st

from finetuner.data.sampler import SessionSampler
from finetuner.errors import ArgumentError, DataError
from finetuner.losses.relation import relate

sessions = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=12)


def data(shapes):
    session, grade = [], []
    for number, (near, far) in enumerate(shapes):
        session += [number] * (1 + near + far)
        grade += [0] + [1] * near + [-1] * far
    return np.array(session), np.array(grade)


@given(sessions, st.integers(3, 30), st.integers(0, 4))
def test_every_item_once_an_epoch_in_batches_of_one_length(shapes, batch_size, epoch):
    session, grade = data(shapes)
    sampler = SessionSampler(session, grade, batch_size, seed=2)
    batches = list(sampler.batches(epoch))
    assert {len(batch) for batch in batches} == {sampler.rows}
    assert sampler.rows <= batch_size
    assert len(batches) == len(sampler)
    slots = np.concatenate(batches)
    assert set(slots[slots >= 0]) == set(range(len(session)))
    assert all(batch[0] >= 0 for batch in batches)


@given(sessions, st.integers(3, 30))
def test_whole_sessions_or_chunks_with_root_and_both_kinds(shapes, batch_size):
    session, grade = data(shapes)
    for batch in SessionSampler(session, grade, batch_size).batches(0):
        items = batch[batch >= 0]
        for number in set(session[items]):
            near, far = shapes[number]
            found = grade[items[session[items] == number]].tolist()
            assert found.count(0) == 1
            if 1 + near + far <= batch_size:
                assert (found.count(1), found.count(-1)) == (near, far)
            else:
                assert (1 in found, -1 in found) == (near > 0, far > 0)


@given(sessions, st.integers(3, 30))
def test_no_anchor_has_more_positives_than_promised(shapes, batch_size):
    session, grade = data(shapes)
    sampler = SessionSampler(session, grade, batch_size)
    for batch in sampler.batches(0):
        filler = batch < 0
        rows = {name: np.where(filler, -1, code[batch]) for name, code in [('session', session), ('kind', grade)]}
        relation = relate({'item': batch, **rows}, {'item': batch, **rows}, sampler.most)
        assert relation.positives.sum(1).max() <= sampler.most


def test_batches_are_packed_and_not_one_session_each():
    session, grade = data([(1, 1)] * 18)
    for batch_size, count in [(3, 18), (6, 9), (9, 6), (10, 6), (54, 1), (1000, 1)]:
        assert len(SessionSampler(session, grade, batch_size)) == count
    assert SessionSampler(session, grade, 1000).rows == 54  # no larger than all of it


def test_sessions_of_different_sizes_meet_others_in_other_epochs():
    session, grade = data([(n, 0) for n in range(12)])  # no two can change places
    sampler = SessionSampler(session, grade, 26)

    def met(epoch):
        return {tuple(sorted(set(session[batch[batch >= 0]]))) for batch in sampler.batches(epoch)}

    assert met(0) == met(0)
    assert met(0) != met(1)


def test_matches_of_a_large_session_are_spread_differently_in_other_epochs():
    session, grade = data([(20, 20)])
    sampler = SessionSampler(session, grade, 11)
    assert len(sampler) == 4
    first, second = (np.sort([batch.tolist() for batch in sampler.batches(epoch)]).tolist() for epoch in (0, 1))
    assert first != second


def test_a_batch_too_small_for_a_session_is_refused():
    session, grade = data([(1, 1)])
    with pytest.raises(ArgumentError, match=r'batch_size=2 has no room for a session: expected at least 3'):
        SessionSampler(session, grade, 2)
    assert len(SessionSampler(*data([(2, 0)]), 2)) == 2  # one kind of match needs two places


def test_a_session_needs_one_root():
    with pytest.raises(DataError, match=r'has 0'):
        SessionSampler(np.array([0, 0]), np.array([1, -1]), 8)
    with pytest.raises(DataError, match=r'no sessions'):
        SessionSampler(np.array([]), np.array([]), 8)


def test_the_number_of_batches_holds_where_packing_is_tight():
    session, grade = data([(size - 1, 0) for size in (6, 4, 4, 3, 3)])  # fits into two tens one way only
    sampler = SessionSampler(session, grade, 10)
    for epoch in range(20):
        slots = np.concatenate(list(sampler.batches(epoch)))
        assert sorted(slots) == list(range(20))
