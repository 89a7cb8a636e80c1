"""Vectors for any input that training accepts: evaluation mode, any batching, dict and list inputs, documents."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ModelError
from tests.models import clusters, framework, mlp

TOLERANCE = {'torch': 2e-6}


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize('batch_size', [1, 7, 40])
def test_vectors_do_not_depend_on_the_batching(backend, batch_size):
    model, (data, _) = mlp(backend, noisy=True), clusters()
    whole = unit(finetuner.embed(model, data))
    assert whole.dtype == np.float32 and whole.shape == (40, 32)
    parts = unit(finetuner.embed(model, data, batch_size=batch_size))
    np.testing.assert_allclose(parts, whole, atol=TOLERANCE.get(backend, 1e-5))


def test_the_mode_is_restored(backend):
    if framework(backend) == 'keras':
        pytest.skip('a Keras model has no mode: training is an argument of each call')
    model = mlp(backend, noisy=True)
    model.train()
    frozen = model[2]
    frozen.eval()
    finetuner.embed(model, clusters()[0])
    assert model.training and not frozen.training and model[3].training


def test_every_kind_of_data_gives_its_items(backend):
    model, (data, labels) = mlp(backend), clusters()
    expected = finetuner.embed(model, data)
    for same in (list(data), (data, labels), list(zip(data, labels.tolist(), strict=True))):
        np.testing.assert_array_equal(finetuner.embed(model, same), expected)
    np.testing.assert_array_equal(finetuner.encode(model, data), expected)
    assert finetuner.embed(model, data[:0]).shape[0] == 0


def test_documents_are_filled_in_place(backend):
    docarray = pytest.importorskip('docarray')
    model, (data, labels) = mlp(backend), clusters()
    docs = docarray.DocumentArray(
        docarray.Document(tensor=x, tags={'finetuner_label': int(y)}) for x, y in zip(data, labels, strict=True)
    )
    vectors = finetuner.embed(docs, model)  # the original's order
    np.testing.assert_array_equal(docs.embeddings, vectors)
    finetuner.embed(model, docs[:1])


def two_inputs(backend):
    """A model of a dict of token ids and a mask: the mean of rows of a table."""
    if backend == 'torch':
        import torch

        class Words(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.table = torch.nn.Embedding(50, 8)

            def forward(self, ids, mask):
                return (self.table(ids) * mask[..., None]).sum(1)

        return Words()
    if backend == 'paddle':
        import paddle

        class Words(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.table = paddle.nn.Embedding(50, 8)

            def forward(self, ids, mask):
                return (self.table(ids) * mask.astype('float32').unsqueeze(-1)).sum(1)

        return Words()
    import keras

    ids, mask = keras.Input((None,), dtype='int32', name='ids'), keras.Input((None,), dtype='int32', name='mask')
    words = keras.layers.Embedding(50, 8)(ids)
    weights = keras.ops.expand_dims(keras.ops.cast(mask, 'float32'), -1)
    return keras.Model({'ids': ids, 'mask': mask}, keras.ops.sum(words * weights, 1))


def two_arguments(backend):
    """A model of two arguments: a projection of their difference."""
    if backend == 'torch':
        import torch

        class Difference(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(10, 4)

            def forward(self, a, b):
                return self.layer(a - b)

        return Difference()
    if backend == 'paddle':
        import paddle

        class Difference(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.layer = paddle.nn.Linear(10, 4)

            def forward(self, a, b):
                return self.layer(a - b)

        return Difference()
    import keras

    class Difference(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.Dense(4)

        def call(self, a, b):
            return self.layer(a - b)

    return Difference()


def test_lists_and_dicts_are_spread_over_the_arguments(backend):
    model, (data, labels) = two_arguments(backend), clusters()

    def listed(items):
        return [np.stack(items), np.stack(items)[::-1].copy()]

    def named(items):
        a, b = listed(items)
        return {'b': b, 'a': a}

    finetuner.fit(model, (data, labels), collate_fn=named, epochs=1)
    vectors = finetuner.embed(model, data, collate_fn=named)
    np.testing.assert_array_equal(finetuner.embed(model, data, collate_fn=listed), vectors)
    np.testing.assert_array_equal(finetuner.embed(model, data, collate_fn=lambda x: tuple(listed(x))), vectors)


def test_a_compiled_model(backend):
    model, (data, _) = mlp(backend), clusters()
    expected = finetuner.embed(model, data)
    if backend == 'torch':
        import torch

        model = torch.jit.script(model)
    elif backend == 'paddle':
        import paddle

        model = paddle.jit.to_static(model)
    else:
        model.compile('adam', 'mse', run_eagerly=False)
    np.testing.assert_allclose(finetuner.embed(model, data), expected, atol=1e-6)
    finetuner.fit(model, clusters(), epochs=1)
    assert np.abs(finetuner.embed(model, data) - expected).max() > 1e-4


def pad(texts):
    width = max(map(len, texts))
    ids = np.array([[ord(c) % 50 for c in text.ljust(width)] for text in texts], np.int64)
    return {'ids': ids, 'mask': np.array([[1] * len(t) + [0] * (width - len(t)) for t in texts], np.int64)}


def test_dicts_of_token_ids(backend):
    model = two_inputs(backend)
    texts = ['one', 'three', 'two', 'eleven', 'a', 'bb']
    whole = finetuner.embed(model, texts, collate_fn=pad)
    np.testing.assert_allclose(finetuner.embed(model, texts, collate_fn=pad, batch_size=1), whole, atol=1e-5)
    data = [(text, len(text) % 2) for text in texts]
    _, history = finetuner.fit(model, data, collate_fn=pad, epochs=5, return_history=True)
    assert history.epochs[-1]['train_loss'] < history.epochs[0]['train_loss']


def test_num_workers_give_the_same_vectors(backend):
    model, (data, _) = mlp(backend), clusters()
    there = finetuner.embed(model, data, num_workers=2, batch_size=8, preprocess_fn=np.negative)
    np.testing.assert_array_equal(there, finetuner.embed(model, data, batch_size=8, preprocess_fn=np.negative))


def test_a_model_without_vectors_is_refused(backend):
    data = np.zeros((4, 3, 10), np.float32)
    with pytest.raises(ModelError, match=r'shape \(4, 3, 32\).*to_embedding_model=True'):
        finetuner.embed(mlp(backend) if framework(backend) != 'keras' else _any_rank(), data)


def _any_rank():
    import keras

    return keras.Sequential([keras.layers.Dense(32)])
