"""A file of vectors is whole or absent; the same call goes on with it or finds it, and no other touches it."""

import json
import os
from dataclasses import dataclass

import numpy as np
import pytest

import finetuner
from finetuner import Document, DocumentArray
from finetuner.data.readers import contents
from finetuner.encoding import batches, output
from finetuner.encoding.records import embed_records
from finetuner.errors import ArgumentError, CheckpointError, DataError
from tests.disks import on_a_small_disk
from tests.encoding.stand_ins import PreTrainedTokenizerBase, Reader, texts

DATA = texts()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Several windows, blocks and batches of a few texts, and a note after each."""
    monkeypatch.setattr(batches, 'WINDOW', 10)
    monkeypatch.setattr(batches, 'BLOCK', 150)
    monkeypatch.setitem(batches.BUDGET, 'cpu', 64)
    monkeypatch.setattr(output, 'EVERY', 0)


class Failing(Reader):
    """Fails in the call after so many."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def forward(self, inputs):
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError('the power went')
        return super().forward(inputs)


def encoded(path, coder=None, data=DATA, **options):
    options = {'collate_fn': PreTrainedTokenizerBase(), **options}
    return embed_records(coder or Reader(), contents(data), output=path, **options)


def test_a_file_has_what_is_returned_without_one(tmp_path):
    path = tmp_path / 'new' / 'vectors.npy'
    found = encoded(path)
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_array_equal(found, encoded(None))
    np.testing.assert_array_equal(np.load(path), found)
    assert sorted(os.listdir(path.parent)) == ['vectors.npy', 'vectors.npy.json']


def test_the_same_call_finds_its_file(tmp_path):
    before = np.array(encoded(tmp_path / 'vectors.npy'))
    again = Reader()
    np.testing.assert_array_equal(encoded(str(tmp_path / 'vectors.npy'), again), before)
    assert len(again.shapes) <= 2


@pytest.mark.parametrize('calls', [3, 5, 9, 14])
def test_what_was_interrupted_goes_on(tmp_path, calls):
    path, whole = tmp_path / 'vectors.npy', Reader()
    right = np.array(encoded(tmp_path / 'whole.npy', whole))
    with pytest.raises(RuntimeError, match='the power went'):
        encoded(path, Failing(calls))
    assert not path.exists() and (tmp_path / 'vectors.npy.part').exists() == (calls > 3)
    rest = Reader()
    np.testing.assert_array_equal(encoded(path, rest), right)
    assert len(rest.shapes) <= len(whole.shapes) - calls + 4
    assert not (tmp_path / 'vectors.npy.part').exists()


def test_what_goes_on_does_not_try_again_whether_padding_counts(tmp_path):
    class Wide(Failing):  # padding counts from a width on, which later texts do not have
        def forward(self, inputs):
            return super().forward(inputs) + inputs['input_ids'].shape[1] // 8

    data = texts(300)
    right = encoded(None, Wide(10**9), data, batch_size=4)
    for calls in range(10, 60, 10):
        path = tmp_path / f'{calls}.npy'
        with pytest.raises(RuntimeError, match='the power went'):
            encoded(path, Wide(calls), data, batch_size=4)
        np.testing.assert_array_equal(encoded(path, Wide(10**9), data, batch_size=4), right)


@pytest.mark.parametrize('finished', [True, False])
@pytest.mark.parametrize(
    ('other', 'named'),
    [
        ({'coder': 'weights'}, "'weights' differs"),
        ({'data': texts(seed=1)}, "'data' differs"),
        ({'data': DATA[:-1]}, "'data' and 'items' differ"),
        ({'normalize': True}, "'normalize' differs"),
        ({'batch_size': 3}, "'batch_size' differs"),
        ({'preprocess_fn': str.upper}, "'data' and 'preprocess_fn' differ"),
        ({'collate_fn': PreTrainedTokenizerBase('left')}, "'collate_fn' differs"),
    ],
)
def test_another_encode_is_refused_and_nothing_is_lost(tmp_path, other, named, finished):
    path = tmp_path / 'vectors.npy'
    if finished:
        encoded(path)
    else:
        with pytest.raises(RuntimeError):
            encoded(path, Failing(9))
    if 'coder' in other:
        changed = Reader()
        changed.model[0, 0] += 1
        other = {'coder': changed}
    with pytest.raises(CheckpointError, match=f'{named}. Call it as before to go on, name another file, or remove'):
        encoded(path, **other)
    np.testing.assert_array_equal(encoded(path), encoded(None))


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / 'vectors.npy'
    np.save(path, np.zeros(3))
    with pytest.raises(ArgumentError, match=r'vectors.npy. exists, and is not what this call writes: name another'):
        encoded(path)
    assert np.load(path).tolist() == [0, 0, 0]
    part = tmp_path / 'other.npy.part'
    part.write_text('mine')
    with pytest.raises(ArgumentError, match=r'nothing says of what it is: remove it, or name another output'):
        encoded(tmp_path / 'other.npy')
    assert part.read_text() == 'mine'


def test_a_file_that_was_finished_and_not_noted_is_found(tmp_path):
    path, note = tmp_path / 'vectors.npy', tmp_path / 'vectors.npy.json'
    encoded(path)
    found = json.loads(note.read_text())
    note.write_text(json.dumps({**found, 'next': [0, 1]}))
    np.testing.assert_array_equal(encoded(path), encoded(None))


def test_a_removed_file_is_made_anew(tmp_path):
    path = tmp_path / 'vectors.npy'
    encoded(path)
    path.unlink()
    np.testing.assert_array_equal(encoded(path), encoded(None))


def test_two_do_not_write_one_file(tmp_path):
    path = tmp_path / 'vectors.npy'

    class Second(Reader):
        def forward(self, inputs):
            if len(self.shapes) == 4:
                self.shapes.append(None)
                with pytest.raises(ArgumentError, match='another process writes this file'):
                    encoded(path)
            return super().forward(inputs)

    np.testing.assert_array_equal(encoded(path, Second()), encoded(None))


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('vectors', r"expected a name with the ending .npy, such as output='vectors.npy'"),
        ('vectors.npz', 'expected a name with the ending .npy'),
        (3, 'expected the path of a file'),
        ('folder.npy', 'is a folder: name a file in it'),
        ('file/vectors.npy', 'is a file. Name a folder that you may write to'),
    ],
)
def test_a_path_that_cannot_be_is_refused_before_anything_is_computed(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder.npy').mkdir()
    (tmp_path / 'file').touch()
    coder = Reader()
    with pytest.raises(ArgumentError, match=message):
        encoded(path, coder)
    assert not coder.shapes
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder.npy']


def test_no_data_make_no_file(tmp_path):
    with pytest.raises(DataError, match='the data are empty'):
        encoded(tmp_path / 'vectors.npy', data=[])
    assert not os.listdir(tmp_path)


def test_a_model_without_vectors_leaves_no_file(tmp_path):
    class Tokens(Reader):
        def forward(self, inputs):
            return self.model[inputs['input_ids']]

    with pytest.raises(ValueError, match='gives one vector per item'):
        encoded(tmp_path / 'vectors.npy', Tokens())
    assert not os.listdir(tmp_path)


FULL = """
import sys
from pathlib import Path
from finetuner.data.readers import contents
from finetuner.encoding.records import embed_records
from finetuner.errors import StorageError
from tests.encoding.stand_ins import PreTrainedTokenizerBase, Reader
try:
    texts = ['abc'] * 100_000
    embed_records(Reader(), contents(texts), collate_fn=PreTrainedTokenizerBase(), output=sys.argv[1] + '/vectors.npy')
except StorageError as error:
    print(error, list(Path(sys.argv[1]).iterdir()))
"""


def test_a_full_disk_is_said_at_the_beginning(tmp_path):
    said = on_a_small_disk(FULL, tmp_path)
    assert 'could not be written: No space left on device. It needs 2.4 MB' in said and '[]' in said


@pytest.mark.parametrize('noted', [True, False])
def test_a_kill_before_the_first_row_leaves_nothing_in_the_way(tmp_path, noted):
    path = tmp_path / 'vectors.npy'
    if noted:  # by another encode, whose file was removed since
        encoded(path, normalize=True)
        path.unlink()
    (tmp_path / 'vectors.npy.part').touch()
    np.testing.assert_array_equal(encoded(path), encoded(None))


def test_documents_get_embeddings_that_can_be_changed(tmp_path):
    docs = DocumentArray([Document(text=text) for text in DATA[:5]])
    found = finetuner.embed(Reader(), docs, collate_fn=PreTrainedTokenizerBase(), output=tmp_path / 'vectors.npy')
    docs[0].embedding *= 2
    np.testing.assert_array_equal(docs[0].embedding, 2 * found[0])
    np.testing.assert_array_equal(np.load(tmp_path / 'vectors.npy'), encoded(None, data=DATA[:5]))


def tensors(value):
    torch = pytest.importorskip('torch')
    return [torch.full((4,), value) for _ in range(3)]


def halves(value):
    torch = pytest.importorskip('torch')
    return [{'x': [torch.full((4,), value, dtype=torch.bfloat16, requires_grad=True)]} for _ in range(3)]


@dataclass
class Pair:
    name: str
    vector: np.ndarray


def pairs(value):  # the middle of which is not shown
    return [Pair('one', np.array([0] * 5000 + [value] * 4 + [0] * 5000, np.float32)) for _ in range(3)]


def documents(value, **more):
    return DocumentArray([Document(tensor=np.full(4, value, np.float32), **more) for _ in range(3)])


class Sums(Reader):
    def forward(self, inputs):
        return np.asarray(inputs) @ np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ('made', 'preprocess_fn'),
    [
        (tensors, None),
        (halves, None),
        (pairs, None),
        (documents, None),
        (lambda value: documents(value, id='one'), None),
        (lambda value: [[value] * 4] * 3, np.float32),
        (lambda value: [{'x': np.full(4, value, np.float32)}] * 3, lambda item: item['x']),
        (lambda value: [str(value)] * 3, lambda text: np.full(4, float(text), np.float32) + np.random.rand()),
    ],
)
def test_other_data_are_refused_and_the_same_made_anew_are_found(tmp_path, made, preprocess_fn):
    def collate(items):
        if isinstance(items[0], Pair):
            return np.stack([item.vector[5000:5004] for item in items])
        return np.stack([item['x'][0].detach().float() if isinstance(item, dict) else item for item in items])

    def found(value):
        options = {'collate_fn': collate, 'preprocess_fn': preprocess_fn}
        return encoded(tmp_path / 'vectors.npy', Sums(), made(value), **options)

    before = np.array(found(1.0))
    np.testing.assert_array_equal(found(1.0), before)
    with pytest.raises(CheckpointError, match="'data' differs"):
        found(2.0)


def test_what_is_in_files_and_comes_out_of_preprocess_fn_is_looked_at(tmp_path):
    np.save(tmp_path / 'item.npy', np.ones(4, np.float32))
    options = {'data': [str(tmp_path / 'item.npy')], 'preprocess_fn': np.load, 'collate_fn': np.stack}
    encoded(tmp_path / 'vectors.npy', Sums(), **options)
    np.save(tmp_path / 'item.npy', np.zeros(4, np.float32))
    with pytest.raises(CheckpointError, match="'data' differs"):
        encoded(tmp_path / 'vectors.npy', Sums(), **options)


def test_items_that_cannot_be_told_apart_are_refused(tmp_path):
    class Odd:
        pass

    def collate(items):
        return np.ones((len(items), 4), np.float32)

    with pytest.raises(ArgumentError, match='cannot be seen in item 0, a content of type Odd, .* Make arrays'):
        encoded(tmp_path / 'vectors.npy', Sums(), [Odd(), Odd()], collate_fn=collate)
    assert not os.listdir(tmp_path)
    assert encoded(None, Sums(), [Odd(), Odd()], collate_fn=collate).shape == (2, 2)
