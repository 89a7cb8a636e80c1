from decimal import Decimal

import numpy as np
import pytest
from PIL import Image

from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.readers import contents, read
from finetuner.data.sampler import SequentialSampler, make_sampler
from finetuner.errors import DataError

docarray = pytest.importorskip('docarray', reason='docarray is not installed: pip install "docarray<0.30"')
if not hasattr(docarray, 'DocumentArray'):
    pytest.skip('docarray 0.4x is installed, which has no DocumentArray', allow_module_level=True)
from docarray import Document, DocumentArray  # noqa: E402


def labelled(labels, **more):
    tags = [{} if label is None else {'finetuner_label': label} for label in labels]
    return [Document(id=f'd{i}', text=f't{i}', tags=tag, **more) for i, tag in enumerate(tags)]


def session(name, *labels):
    matches = [
        Document(id=f'{name}{i}', text=f'm{i}', tags={'finetuner_label': label}) for i, label in enumerate(labels)
    ]
    return Document(id=name, text=name, matches=matches)


@pytest.mark.parametrize('kind', [list, DocumentArray])
def test_labels_in_tags(kind):
    records = read(kind(labelled(['x', 2, 2.0])))
    assert (records.kind, records.labels) == ('class', ['x', 2, 2])
    assert records.names[1] == "document 'd1'"
    assert Dataset(records).content(1) == 't1'
    assert Dataset(records, preprocess_fn=lambda document: document.id).content(1) == 'd1'


def test_several_labels_and_a_round_trip_through_protobuf():
    documents = DocumentArray(labelled([[1, 2], [2], [3, 'x']]))
    again = DocumentArray.from_bytes(documents.to_bytes(protocol='protobuf'), protocol='protobuf')
    assert read(again).labels == read(documents).labels == [(1, 2), (2,), (3, 'x')]


def test_missing_labels_are_found_everywhere_not_in_the_first_alone_and_named():
    records = read(DocumentArray(labelled([1, 1, None, 2, None])))
    with pytest.raises(DataError, match=r"2 of 5 items have no label: document 'd2' and document 'd4'"):
        make_sampler(Dataset(records), 4)
    assert read(DocumentArray(labelled([None, 1]))).labels == [None, 1]


def test_sessions():
    records = read(DocumentArray([session('q', 1, -1.0), session('r'), session('s', 1)]))
    assert records.kind == 'session'
    assert records.session.tolist() == [0, 0, 0, 1, 2, 2]
    assert records.grade.tolist() == [0, 1, -1, 0, 0, 1]
    assert [Dataset(records).content(i) for i in range(6)] == ['q', 'm0', 'm1', 'r', 's', 'm0']
    assert records.names[2] == "document 'q1'"


def test_matches_may_belong_to_a_document_more_or_less():
    records = read(DocumentArray([session('q', 1, 3.0, -1, 127)]))
    assert records.grade.tolist() == [0, 1, 3, -1, 127]
    assert make_sampler(Dataset(records), 8).most == 3  # positives of one another, whatever their grade


@pytest.mark.parametrize(
    'kind', [np.array, np.int8, np.float32, Decimal, lambda label: pytest.importorskip('torch').tensor(label)]
)
def test_grades_may_be_numbers_of_any_kind(kind):
    assert read(DocumentArray([session('q', kind(1), kind(3), kind(-1))])).grade.tolist() == [0, 1, 3, -1]


@pytest.mark.parametrize(
    'label', [0, -2, 0.5, 128, float('nan'), '1', True, np.array(0), np.True_, np.ones(2), [1], None]
)
def test_session_labels_that_are_no_grades_are_refused(label):
    with pytest.raises(DataError, match=r"Match 'q1' of document 'q' has finetuner_label .*expected 1 .* or -1"):
        read(DocumentArray([session('q', 1, label)]))


def test_sessions_without_anything_that_belongs_together_are_refused():
    with pytest.raises(DataError, match=r'No match of any session is labelled 1'):
        make_sampler(Dataset(read(DocumentArray([session('q', -1), session('r', -1)]))), 8)


def test_two_chunks_are_a_pair_and_with_a_score_a_scored_one():
    def pair(i, **tags):
        return Document(id=f'p{i}', chunks=[Document(text=f't{i}'), Document(tensor=np.full(3, i))], tags=tags)

    records = read(DocumentArray([pair(i) for i in range(3)]))
    assert (records.kind, records.rows.tolist()) == ('pair', [[0, 3], [1, 4], [2, 5]])
    dataset = Dataset(records)
    assert dataset.content(1) == 't1'
    assert dataset.content(5).tolist() == [2, 2, 2]
    scored = read(DocumentArray([pair(i, finetuner_score=i / 2) for i in range(3)]))
    assert (scored.kind, scored.scores.ravel().tolist()) == ('score', [0.0, 0.5, 1.0])
    with pytest.raises(DataError, match=r'finetuner_score is no number'):
        read(DocumentArray([pair(0, finetuner_score='high')]))


def test_documents_that_teach_differently_are_named():
    documents = [session('q', 1), session('r', 1), *labelled([1])]
    with pytest.raises(DataError, match=r"Most documents have matches, but document 'd0' has a finetuner_label"):
        read(DocumentArray(documents))
    chunks = [Document(chunks=[Document(text='a'), Document(text='b')]) for _ in range(3)]
    with pytest.raises(DataError, match=r"two chunks, but document 'd0' has nothing to learn from"):
        read(DocumentArray([*chunks, *labelled([None])]))


def test_documents_with_nothing_are_instances():
    assert read(DocumentArray(labelled([None, None]))).kind == 'instance'
    assert len(read(DocumentArray())) == 0
    with pytest.raises(DataError, match=r'The data are empty'):
        make_sampler(Dataset(read(DocumentArray())), 8)


def test_a_label_that_can_be_none_names_the_document():
    with pytest.raises(DataError, match=r"label of document 'd0' is wrong: a dict is no class label"):
        read(DocumentArray(labelled([{'a': 1}, 2])))


def test_contents_to_encode_are_the_documents_themselves_and_are_filled():
    documents = DocumentArray([session('q', 1, -1), session('r', 1)])
    records = contents(documents)
    assert len(records) == 2
    records.fill(np.array([[1, 2], [3, 4]], np.float32))
    assert documents[1].embedding.tolist() == [3, 4]
    plain = labelled([1, 2])
    contents(plain).fill(np.array([[1, 2], [3, 4]], np.float32))
    assert plain[0].embedding.tolist() == [1, 2]
    contents(documents[:1]).fill(np.array([[7, 8]], np.float32))
    assert documents[0].embedding.tolist() == [7, 8]


def test_a_uri_is_read_when_needed(tmp_path):
    Image.new('RGB', (4, 3)).save(tmp_path / 'a.png')
    (tmp_path / 'a.txt').write_text('hello')
    documents = [Document(uri=str(tmp_path / name)) for name in ('a.png', 'a.txt', 'missing.png')]
    dataset = Dataset(read(DocumentArray([*documents, Document(blob=(tmp_path / 'a.png').read_bytes())])))
    assert dataset.content(0).shape == dataset.content(3).shape == (3, 4, 3)
    assert dataset.content(1) == 'hello'
    with pytest.raises(DataError, match=r'Cannot read document .*missing.png'):
        dataset.content(2)


@pytest.fixture
def on_disk(tmp_path):
    documents = DocumentArray(storage='sqlite', config={'connection': str(tmp_path / 'db'), 'table_name': 'docs'})
    documents.extend(labelled(list('abab') * 5))
    return documents


def test_documents_on_disk_are_read_one_by_one(on_disk, monkeypatch):
    records = read(on_disk)
    assert records.labels == list('abab') * 5
    asked = []
    get = type(on_disk)._get_doc_by_id
    monkeypatch.setattr(type(on_disk), '_get_doc_by_id', lambda self, i: asked.append(i) or get(self, i))
    next(Loader(Dataset(records), make_sampler(Dataset(records), 4), collate_fn=list).epoch(0))
    assert 0 < len(asked) <= 4


def test_documents_on_disk_are_opened_anew_in_another_process(on_disk):
    records = read(on_disk)
    assert records.contents.documents is on_disk
    records.contents.process = -1  # as if this were a fork
    assert records.contents[3].text == 't3'
    assert records.contents.documents is not on_disk
    assert len(on_disk) == 20


def test_documents_on_disk_are_read_by_workers_and_filled(on_disk):
    records = contents(on_disk)
    loader = Loader(Dataset(records), SequentialSampler(20, 4), collate_fn=list, num_workers=2)
    assert [text for texts, _ in loader.epoch(0) for text in texts] == [f't{i}' for i in range(20)]
    assert on_disk[3].text == 't3'
    records.fill(np.arange(40, dtype=np.float32).reshape(20, 2))
    assert on_disk[3].embedding.tolist() == [6, 7]


def test_one_document_is_no_list_of_them():
    with pytest.raises(DataError, match=r'one document: give a list of documents'):
        read(Document(text='a'))
