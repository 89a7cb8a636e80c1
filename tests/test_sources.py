"""The same labelled vectors train alike, wherever they come from, and with workers."""

import numpy as np
import pytest

import finetuner
from tests.models import clusters, mlp

VECTORS, LABELS = clusters()


def documents(**storage):
    docarray = pytest.importorskip('docarray')
    return docarray.DocumentArray(
        [docarray.Document(tensor=x, tags={'finetuner_label': int(y)}) for x, y in zip(VECTORS, LABELS, strict=True)],
        **storage,
    )


def dataframe():
    pandas = pytest.importorskip('pandas')
    return pandas.DataFrame({'content': list(VECTORS), 'label': LABELS})


def hugging_face():
    datasets = pytest.importorskip('datasets')
    return datasets.Dataset.from_dict({'content': VECTORS.tolist(), 'label': LABELS.tolist()})


def csv(folder):
    path = folder / 'data.csv'
    lines = ['"' + ' '.join(map(repr, map(float, x))) + f'",{y}' for x, y in zip(VECTORS, LABELS, strict=True)]
    path.write_text('\n'.join(['text,label', *lines]))
    return path


def losses(backend, data, **arguments):
    _, history = finetuner.fit(mlp(backend), data, epochs=2, batch_size=16, return_history=True, **arguments)
    return [record['train_loss'] for record in history.epochs]


@pytest.fixture(scope='module')
def expected(backend):
    return losses(backend, (VECTORS, LABELS))


@pytest.mark.parametrize('source', [documents, dataframe, hugging_face])
def test_sources(backend, expected, source):
    assert losses(backend, source()) == pytest.approx(expected)


def test_documents_on_disk(backend, expected, tmp_path):
    docs = documents(storage='sqlite', config={'connection': str(tmp_path / 'docs.db'), 'table_name': 'docs'})
    assert losses(backend, docs) == pytest.approx(expected)


def test_csv(backend, expected, tmp_path):
    def parse(text):
        return np.array(text.split(), np.float32)

    assert losses(backend, csv(tmp_path), preprocess_fn=parse) == pytest.approx(expected)


def test_workers(backend, expected):
    found = losses(backend, (VECTORS, LABELS), num_workers=2, preprocess_fn=lambda x: x, collate_fn=np.stack)
    assert found == pytest.approx(expected)


def test_sessions(backend):
    docarray = pytest.importorskip('docarray')
    docs = docarray.DocumentArray()
    for label in range(5):
        own, other = VECTORS[label == LABELS], VECTORS[label != LABELS]
        root = docarray.Document(tensor=own[0])
        root.matches = [docarray.Document(tensor=x, tags={'finetuner_label': 1}) for x in own[1:]]
        root.matches.extend(docarray.Document(tensor=x, tags={'finetuner_label': -1}) for x in other[:4])
        docs.append(root)
    _, history = finetuner.fit(mlp(backend), docs, docs, epochs=5, batch_size=24, return_history=True)
    assert history.epochs[-1]['val_loss'] < history.epochs[0]['val_loss']
    assert history.after['map_at_r'] > history.before['map_at_r']
