import numpy as np
import pytest

from finetuner.evaluation.copies import Copies
from finetuner.evaluation.engines import Numpy
from finetuner.evaluation.shortlist import Rounded, Shortlist, most, shortlists
from finetuner.evaluation.survey import survey

DISTANCES = ('cosine', 'dot', 'euclidean')


def rounded(index, metric):
    known = survey(index, metric == 'cosine')
    return Rounded(index, known.squares[known.first], known.centre, Copies(known.first, known.group), metric)


def exact(queries, index, metric):
    """What ascends as scores do, in the units of scores but for a constant of each query, in 64 bits of mantissa."""
    q, x = queries.astype(np.longdouble), index.astype(np.longdouble)
    if metric == 'cosine':
        x = x / np.sqrt((x * x).sum(1))[:, None]
    if metric == 'euclidean':
        return -np.square(q[:, None] - x[None]).sum(-1) / 2
    return (q / np.sqrt((q * q).sum(1))[:, None]) @ x.T


@pytest.mark.parametrize('metric', DISTANCES)
@pytest.mark.parametrize('kind', ['float64', 'float32', 'float16', 'far', 'collapsed', 'large', 'whole numbers'])
def test_scores_are_wrong_by_no_more_than_the_error(rng, metric, kind):
    index = rng.standard_normal((300, 96))
    if kind == 'far':
        index += 1000
    elif kind == 'collapsed':
        index = rng.standard_normal(96) + 1e-5 * index
    elif kind == 'large':
        index *= 1e30
    elif kind == 'whole numbers':
        index = (10 * index).astype(np.int16)
    if kind.startswith('float'):
        index = index.astype(kind)
    queries = np.concatenate([index[:20].astype(float), index[20:40] * 50.0])
    found = rounded(index, metric)
    tile = found.tile(0, 300)
    squares = np.square(queries).sum(1)
    q, lost = found.queries(queries, squares)
    assert tile.dtype == q.dtype == np.float32
    scores = (q @ tile.T).astype(np.longdouble)
    if metric == 'euclidean':
        unit = found._scale**2 * q[:, -1].astype(np.longdouble)[:, None]  # 1 / length
    else:
        unit = np.longdouble(found._scale)
    wrong = scores - exact(queries, index, metric) * unit
    wrong -= (wrong.max(1) + wrong.min(1))[:, None] / 2  # what is the same for all is no error
    assert (np.abs(wrong) <= (found.error + lost)[:, None]).all()
    assert found.error < 1e-4


@pytest.mark.parametrize('metric', DISTANCES)
def test_a_list_holds_the_nearest_and_little_else(rng, metric):
    index, queries = rng.standard_normal((3000, 32)).astype(np.float32), rng.standard_normal((40, 32))
    squares = np.square(queries).sum(1)
    [(start, found)] = shortlists(Numpy(), rounded(index, metric), queries, squares, 10, 1 << 22)
    assert start == 0 and not found.crowded.any()
    best = np.argsort(-exact(queries, index, metric), axis=1)[:, :10]
    for row, expected in enumerate(best):
        assert set(expected.tolist()) <= set(found.columns[found.rows == row].tolist())
    assert len(found.rows) < 40 * 13


def test_what_is_too_much_alike_is_given_up():
    found = Shortlist(2, 3)
    many = most(3) + 1
    rows = np.repeat([0, 1], [many, 4])
    scores = np.concatenate([np.full(many, 0.5), [0.1, 0.2, 0.3, 0.4]]).astype(np.float32)
    found.add(rows, np.concatenate([np.arange(many), np.arange(4)]), scores, np.full(2, 1e-6, np.float32))
    assert found.crowded.tolist() == [True, False]
    assert found.rows.tolist() == [1, 1, 1] and found.columns.tolist() == [1, 2, 3]
    assert found.level[0] == np.inf and found.level[1] == np.float32(0.2)


def test_a_later_tile_of_larger_error_is_not_cut_too_close():
    found = Shortlist(1, 1)
    add = lambda column, score, slack: found.add(  # noqa: E731
        np.array([0]), np.array([column]), np.array([score], np.float32), np.array([slack], np.float32)
    )
    add(0, 0.5, 0.0)
    add(1, 0.4, 0.2)
    found.settle(np.array([0.2], np.float32))
    assert found.columns.tolist() == [0, 1]
