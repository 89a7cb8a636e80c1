"""Runs where docarray 0.4x is installed, with nothing but numpy and rich beside it."""

import numpy as np
import pytest

from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import contents, read
from finetuner.data.sampler import make_sampler
from finetuner.errors import DataError
from tests.requirements import require

# Without a global of that name, which doctest would look into.
if not hasattr(pytest.importorskip('docarray', reason='docarray is not installed: pip install docarray'), 'DocList'):
    require('docarray2', 'docarray 0.21 has no DocList: this runs in an environment of its own, make test-doclist')

from docarray import BaseDoc, DocList
from docarray.documents import ImageDoc, TextDoc
from docarray.typing import NdArray


class Labelled(BaseDoc):
    text: str
    label: str | int | None = None
    embedding: NdArray | None = None


class Tagged(BaseDoc):
    tensor: NdArray[3]
    tags: dict = {}  # noqa: RUF012


class Captioned(BaseDoc):
    caption: TextDoc
    picture: ImageDoc
    score: float | None = None


def questions(*labels):
    matches = DocList[Labelled]([Labelled(id=f'm{i}', text=f'm{i}', label=label) for i, label in enumerate(labels)])

    class Asked(BaseDoc):
        text: str
        matches: DocList[Labelled]

    return DocList[Asked]([Asked(id='q', text='q', matches=matches)])


@pytest.mark.parametrize('kind', [list, DocList[Labelled], DocList])
def test_a_field_that_is_a_label(kind):
    records = read(kind([Labelled(id=f'd{i}', text=f't{i}', label=i % 2) for i in range(4)]))
    assert (records.kind, records.labels) == ('class', [0, 1, 0, 1])
    assert records.names[3] == "document 'd3'"
    assert Dataset(records).content(3) == 't3'
    assert type(Dataset(records).content(3)) is str


def test_a_label_in_tags_and_contents_of_arrays():
    documents = DocList[Tagged]([Tagged(tensor=np.full(3, i), tags={'finetuner_label': i % 2}) for i in range(4)])
    dataset = Dataset(read(documents))
    inputs, codes = next(Loader(dataset, make_sampler(dataset, 4)).epoch(0))
    assert inputs.shape == (4, 3)
    assert inputs[:, 0].tolist() == codes['item'].tolist()


def test_several_labels():
    documents = DocList[Tagged]([Tagged(tensor=np.zeros(3), tags={'finetuner_label': [1, 2]})] * 2)
    assert read(documents).labels == [(1, 2), (1, 2)]


def test_missing_labels_are_named():
    documents = DocList[Labelled]([Labelled(id=f'd{i}', text='t', label=label) for i, label in enumerate([1, None, 1])])
    with pytest.raises(DataError, match=r"1 of 3 items have no label: document 'd1'"):
        make_sampler(Dataset(read(documents)), 4)


def test_sessions():
    records = read(questions(1, -1))
    assert (records.kind, records.grade.tolist()) == ('session', [0, 1, -1])
    assert [Dataset(records).content(i) for i in range(3)] == ['q', 'm0', 'm1']
    with pytest.raises(DataError, match=r"Match 'm1' of document 'q' has finetuner_label -3"):
        read(questions(1, -3))


def test_two_documents_inside_are_a_pair():
    documents = [
        Captioned(caption=TextDoc(text=f't{i}'), picture=ImageDoc(tensor=np.full((2, 2, 3), i))) for i in range(3)
    ]
    dataset = Dataset(read(DocList[Captioned](documents)))
    assert (dataset.kind, dataset.records.rows.tolist()) == ('pair', [[0, 3], [1, 4], [2, 5]])
    assert dataset.content(1) == 't1'
    assert np.asarray(dataset.content(5)).shape == (2, 2, 3)
    for i, document in enumerate(documents):
        document.score = i / 2
    assert read(DocList[Captioned](documents)).scores.ravel().tolist() == [0.0, 0.5, 1.0]


def test_a_url_is_read_when_needed(tmp_path):
    (tmp_path / 'a.txt').write_text('hello')
    documents = DocList[TextDoc]([TextDoc(url=str(tmp_path / 'a.txt')), TextDoc(text='given')])
    dataset = Dataset(read(documents))
    assert (dataset.kind, dataset.content(0), dataset.content(1)) == ('instance', 'hello', 'given')


def test_a_schema_without_content_is_named():
    class Odd(BaseDoc):
        words: str

    with pytest.raises(DataError, match=r'Cannot read document .*a Odd has nothing in a field that is a content'):
        Dataset(read(DocList[Odd]([Odd(words='a')]))).content(0)
    assert Dataset(read([Odd(words='a')]), preprocess_fn=lambda document: document.words).content(0) == 'a'


def test_embeddings_are_filled_where_there_is_a_field_for_them():
    documents = DocList[Labelled]([Labelled(text='a'), Labelled(text='b')])
    contents(documents).fill(np.array([[1, 2], [3, 4]], np.float32))
    assert documents[1].embedding.tolist() == [3, 4]


def test_a_vector_of_documents():
    class Said(BaseDoc):  # without a tensor, because docarray 0.41 cannot stack those on numpy 2.4
        text: str
        label: int

    vector = DocList[Said]([Said(text=f't{i}', label=i) for i in range(3)]).to_doc_vec()
    records = read(vector)
    assert records.labels == [0, 1, 2]
    assert Dataset(records).content(2) == 't2'
