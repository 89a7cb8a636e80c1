import numpy as np
import pytest

from finetuner.data.dataset import Dataset
from finetuner.data.readers import read
from finetuner.data.records import Records
from finetuner.data.sampler import make_sampler

SESSIONS = Records(
    'session', list('abcde'), list('abcde'), session=np.array([0, 0, 0, 1, 1]), grade=np.array([0, 1, -1, 0, 1])
)


@pytest.mark.parametrize(
    ('records', 'summary', 'width'),
    [
        (read([('a', 1)]), '1 item of 1 class', 1),
        (read([('a', ['x', 'y']), ('b', None)]), '2 items of 2 classes', 1),
        (SESSIONS, '5 items in 2 sessions', 1),
        (read([('a', 'b'), ('c', 'd')]), '2 pairs', 2),
        (read([('a', 'b', 'c'), ('c', 'd', 'e')]), '2 rows of 3', 3),
        (read([('a', 'b', 0.5)]), '1 scored pairs', 2),
        (read([('a', 'b', 'c', 0.5)]), '1 scored triplets', 3),
        (read(np.zeros((1234, 2))), '1,234 items without labels', 1),
    ],
)
def test_summary(records, summary, width):
    assert (records.summary(), records.width) == (summary, width)


def test_sessions_have_a_sampler_and_alone_they_are_items():
    sampler = make_sampler(Dataset(SESSIONS), 3)
    assert type(sampler).__name__ == 'SessionSampler'
    alone = SESSIONS.alone()
    assert (alone.kind, len(alone), alone.session) == ('instance', 5, None)


def test_only_documents_are_filled():
    class Document:
        embedding = None

    class Bare:
        __slots__ = ()

    documents = [Document(), Bare()]
    Records('instance', documents, ['a', 'b'], documents=documents).fill(np.eye(2))
    assert documents[0].embedding.tolist() == [1, 0]
    SESSIONS.fill(np.zeros((5, 2)))  # nothing to fill
