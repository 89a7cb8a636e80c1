"""The texts of a batch go through the model in groups of like length; what it learns is the same."""

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArgumentError, CheckpointError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.training_checkpoint import TrainingCheckpoint
from tests.models import dense, framework, mlp

GROUPS = ('torch', 'paddle')
WIDTH = 40
OPTIONS = {'epochs': 2, 'batch_size': 20, 'num_items_per_class': 4, 'loss': 'InfoNCELoss'}


def reader(backend, seen, careless=False):
    """Words to vectors, their mean, a projection; careless ones count padding. `seen` gets the shape of every input."""
    rng = np.random.default_rng(0)
    words = rng.standard_normal((50, 16)).astype(np.float32)
    kernel, bias = dense(rng, 16, 8)
    if framework(backend) == 'torch':
        import torch
        from torch import nn

        class Reader(nn.Module):
            def __init__(self):
                super().__init__()
                self.words = nn.Embedding.from_pretrained(torch.from_numpy(words.copy()), freeze=False)
                self.head = nn.Linear(16, 8)
                self.head.weight.data, self.head.bias.data = torch.from_numpy(kernel.T.copy()), torch.from_numpy(bias)

            def forward(self, input_ids, attention_mask):
                seen.append((*input_ids.shape, self.training))
                mask = torch.ones_like(attention_mask) if careless else attention_mask
                mask = mask.float()[..., None]
                return self.head((self.words(input_ids) * mask).sum(1) / mask.sum(1))

        return Reader()
    if framework(backend) == 'paddle':
        from finetuner.backends.paddle import paddle

        class Reader(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.words, self.head = paddle.nn.Embedding(50, 16), paddle.nn.Linear(16, 8)
                self.words.weight.set_value(words)
                self.head.weight.set_value(kernel)

            def forward(self, input_ids, attention_mask):
                seen.append((*input_ids.shape, self.training))
                mask = paddle.ones_like(attention_mask) if careless else attention_mask
                mask = mask.astype('float32').unsqueeze(-1)
                return self.head((self.words(input_ids) * mask).sum(1) / mask.sum(1))

        return Reader()
    import keras

    class Reader(keras.Model):
        def __init__(self):
            super().__init__()
            self.words, self.head = keras.layers.Embedding(50, 16), keras.layers.Dense(8)

        def call(self, input_ids, attention_mask):
            seen.append((*input_ids.shape, False))
            mask = keras.ops.cast(attention_mask, 'float32')[..., None]
            return self.head(keras.ops.sum(self.words(input_ids) * mask, 1) / keras.ops.sum(mask, 1))

    return Reader()


def texts():
    """40 texts of 5 classes, as numbers of words: most are short, and some long."""
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 5
    found = [
        10 * label + rng.integers(0, 10, WIDTH if i % 10 == 0 else rng.integers(2, 9)) for i, label in enumerate(labels)
    ]
    return found, labels


def filled(contents):
    """As a tokenizer fills them up."""
    lengths = np.array([len(content) for content in contents])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.zeros(mask.shape, np.int64)
    for row, content in zip(ids, contents, strict=True):
        row[: len(content)] = content
    return {'input_ids': ids, 'attention_mask': mask}


def computed(seen, training):
    return sum(rows * width for rows, width, trains in seen if trains == training)


def trained(backend, seen, careless=False, **options):
    model = reader(backend, seen, careless)
    finetuner.fit(model, texts(), collate_fn=filled, **OPTIONS | options)
    return encoder(model).weights()


@pytest.mark.backends(*GROUPS)
def test_a_training_in_groups_comes_to_the_same_weights_with_less_work(backend, monkeypatch):
    monkeypatch.setitem(finetuner.shortening.OVERHEAD, 'cpu', 8)
    for chunks in ({}, {'mini_batch_size': 7}):
        whole, grouped = [], []
        a = trained(backend, whole, group_by_length=False, **chunks)
        b = trained(backend, grouped, **chunks)
        assert computed(grouped, True) < 0.6 * computed(whole, True)
        assert {width for _, width, training in whole if training} == {WIDTH}
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=2e-6)


@pytest.mark.backends(*GROUPS)
def test_where_padding_changes_the_vectors_batches_stay_whole(backend, monkeypatch):
    monkeypatch.setitem(finetuner.shortening.OVERHEAD, 'cpu', 8)
    whole, grouped = [], []
    a = trained(backend, whole, careless=True, group_by_length=False)
    b = trained(backend, grouped, careless=True)
    assert [call for call in grouped if call[-1]] == [call for call in whole if call[-1]]
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_vectors_come_back_in_their_order(backend, monkeypatch):
    monkeypatch.setitem(finetuner.shortening.OVERHEAD, 'cpu', 8)
    seen, (contents, _) = [], texts()
    model = reader(backend, seen)
    found = finetuner.embed(model, contents, collate_fn=filled)
    work = computed(seen, False)
    one_by_one = np.concatenate([finetuner.embed(model, [content], collate_fn=filled) for content in contents[:12]])
    np.testing.assert_allclose(found[:12], one_by_one, rtol=0, atol=2e-6)
    if backend not in ('keras-tensorflow', 'keras-jax'):  # which compile a model for every shape
        assert work < 0.6 * len(contents) * WIDTH


@pytest.mark.backends(*GROUPS)
def test_a_training_goes_on_as_it_was_and_in_no_other_way(backend, tmp_path, monkeypatch):
    monkeypatch.setitem(finetuner.shortening.OVERHEAD, 'cpu', 8)
    weights = trained(backend, [], callbacks=[TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2)])
    first = tmp_path / 'saved_model_epoch_01'
    again = trained(backend, [], resume=first)
    for name in weights:
        np.testing.assert_array_equal(weights[name], again[name])
    with pytest.raises(CheckpointError, match='group_by_length=None, this one has group_by_length=False'):
        trained(backend, [], resume=first, group_by_length=False)


def test_it_is_refused_where_it_cannot_be(backend):
    data = np.zeros((8, 10), np.float32), np.arange(8) % 2
    reasons = {
        'keras': 'Keras trains on whole batches',
        'torch': "'BatchNorm1d' would",
        'paddle': "'BatchNorm1D' would",
    }
    with pytest.raises(ArgumentError, match=f'group_by_length=True: {reasons[framework(backend)]}.*Leave it out'):
        finetuner.fit(mlp(backend, noisy=True), data, group_by_length=True)
    if framework(backend) != 'keras':
        with pytest.raises(ArgumentError, match='compiled for each shape'):
            finetuner.fit(mlp(backend), data, group_by_length=True, compile=True)
    with pytest.raises(ArgumentError, match="group_by_length='yes': expected True, False or None"):
        finetuner.fit(mlp(backend), data, group_by_length='yes')
