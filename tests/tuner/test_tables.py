"""Models with a table of embeddings, whose rows come up several times in a batch: the same on every framework."""

import numpy as np
import pytest

import finetuner
from finetuner.tuner.callbacks.base import Callback
from tests.models import clusters, framework

IDS, LABELS = np.random.default_rng(0).integers(0, 12, (40, 6)), clusters()[1]
TABLE = np.random.default_rng(1).standard_normal((12, 8)).astype(np.float32)

# The loss of every batch; computed with PyTorch.
FIGURES = {
    'ProxyAnchorLoss': [30.915854, 31.009504, 30.973652, 27.582458, 29.67251, 28.086077],
    'InfoNCELoss': [9.549573, 9.454509, 9.311629, 8.711445, 8.723814, 8.579408],
}


class Losses(Callback):
    """Notes the loss of every batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, tuner):
        self.seen.append(tuner.state.current_loss)


def table(backend):
    """The mean of six rows of a table."""
    if framework(backend) == 'torch':
        import torch

        model = torch.nn.EmbeddingBag(*TABLE.shape, mode='mean')
        model.weight.data = torch.from_numpy(TABLE.copy())
        return model
    if framework(backend) == 'paddle':
        import paddle

        class Mean(paddle.nn.Layer):
            def __init__(self):
                super().__init__()
                self.table = paddle.nn.Embedding(*TABLE.shape)
                self.table.weight.set_value(paddle.to_tensor(TABLE))

            def forward(self, ids):
                return self.table(ids).mean(axis=1)

        return Mean()
    import keras

    rows = keras.layers.Embedding(*TABLE.shape)
    model = keras.Sequential([keras.Input((6,), dtype='int32'), rows, keras.layers.GlobalAveragePooling1D()])
    rows.set_weights([TABLE])
    return model


@pytest.mark.parametrize('loss', ['ProxyAnchorLoss', 'InfoNCELoss'])
def test_the_losses_are_the_same_on_every_framework(backend, loss):
    losses = Losses()
    options = {'loss': loss, 'learning_rate': 0.02, 'batch_size': 20, 'num_items_per_class': 4}
    options |= {'loss_options': {'temperature': 0.05}} if loss == 'InfoNCELoss' else {}
    finetuner.fit(table(backend), (IDS, LABELS), epochs=3, callbacks=[losses], **options)
    np.testing.assert_allclose(losses.seen, FIGURES[loss], rtol=1e-4)
