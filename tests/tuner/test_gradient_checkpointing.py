"""Activations that are computed again give the same weights, and the model is as it was in the end."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback
from finetuner.errors import ArgumentError
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 1, 'batch_size': 20, 'num_items_per_class': 4}


def sentences(rate=0.1):
    """A small BERT with dropout within a module of one's own."""
    import torch

    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    sizes = {'hidden_size': 16, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'intermediate_size': 32}
    config = transformers.BertConfig(vocab_size=50, hidden_dropout_prob=rate, **sizes)

    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids):
            return self.bert(input_ids).last_hidden_state.mean(1)

    return Pooled()


def on(bert):
    return all(layer.gradient_checkpointing for layer in bert.encoder.layer)


class Counts(Callback):
    """How often the first block is run while it trains, and whether activations are computed again."""

    def on_fit_begin(self, tuner):
        self.runs, bert = [], tuner.embed_model.bert
        self.hook = bert.encoder.layer[0].attention.register_forward_hook(lambda *_: self.runs.append(0))
        self.on = on(bert)

    def on_fit_end(self, tuner):
        self.hook.remove()


@pytest.mark.backends('torch')
@pytest.mark.parametrize('options', [{}, {'mini_batch_size': 10, 'precision': 'bf16'}], ids=['whole', 'chunked, bf16'])
def test_it_comes_to_the_same_weights(backend, options):
    data = np.random.default_rng(0).integers(0, 50, (40, 6)), clusters()[1]
    found, runs = [], []
    for again in (False, True):
        counts, model = Counts(), sentences()
        finetuner.fit(model, data, **ARGUMENTS | options, gradient_checkpointing=again, callbacks=[counts])
        assert counts.on is again
        assert not on(model.bert)
        found.append([value.numpy() for value in model.state_dict().values()])
        runs.append(len(counts.runs))
    assert runs[0] < runs[1]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.backends('torch')
def test_what_was_on_stays_on(backend):
    model = sentences()
    model.bert.encoder.layer[1].gradient_checkpointing = True
    finetuner.fit(model, (np.arange(80).reshape(40, 2) % 50, clusters()[1]), **ARGUMENTS, gradient_checkpointing=True)
    assert [layer.gradient_checkpointing for layer in model.bert.encoder.layer] == [False, True]


def test_a_model_that_does_not_offer_it_is_refused(backend):
    with pytest.raises(
        ArgumentError, match='gradient_checkpointing=True: .*(transformers|RematScope|enable_recompute)'
    ):
        finetuner.fit(mlp(backend), clusters(), **ARGUMENTS, gradient_checkpointing=True)


@pytest.mark.backends('paddle')
def test_layers_of_paddle_with_the_switch(backend):
    from finetuner.backends.paddle import paddle

    runs = []

    class Switched(paddle.nn.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.enable_recompute = inner, False

        def body(self, x):
            runs.append(self.enable_recompute)
            return self.inner(x)

        def forward(self, x):
            if self.enable_recompute and self.training:
                return paddle.distributed.fleet.utils.recompute(self.body, x)
            return self.body(x)

    found = []
    for again in (False, True):
        first, *others = mlp(backend, noisy=True)
        model = paddle.nn.Sequential(first, Switched(paddle.nn.Sequential(*others)))
        runs.clear()
        finetuner.fit(model, clusters(), **ARGUMENTS, val_split=0, gradient_checkpointing=again)
        assert not model[1].enable_recompute
        assert runs.count(True) == (4 if again else 0)  # two batches, each forwards and once more
        found.append([value.numpy() for value in model.parameters() if not value.stop_gradient])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)
