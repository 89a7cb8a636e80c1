"""After the last epoch callbacks may change the weights: these are measured, and a resumed training ends the same."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback, EvaluationCallback, TrainingCheckpoint
from finetuner.inference import encoder
from tests.models import clusters, mlp


class Half(Callback):
    """Ends between the first weights and the last, and counts how often it did."""

    def __init__(self):
        self.first = {}
        self.changed = []

    def on_fit_begin(self, tuner):
        self.first = self.first or tuner.encoder.weights()

    def arrays(self, tuner):
        return self.first

    def restore(self, tuner, arrays):
        self.first = dict(arrays)

    def finish(self, tuner):
        self.changed.append(tuner.changed)
        tuner.encoder.assign({name: (self.first[name] + value) / 2 for name, value in tuner.encoder.weights().items()})
        return True


class Stops(Callback):
    """Ends the process, as far as the training can tell, after an epoch."""

    def on_epoch_end(self, tuner):
        raise RuntimeError('power is gone')


def test_what_changed_at_the_end_is_measured(backend):
    changes = [Half(), Half()]
    model, history = finetuner.fit(
        mlp(backend), clusters(), epochs=2, return_history=True,
        callbacks=[EvaluationCallback(clusters(), limit=5, metrics=['precision_at_k', 'map_at_r']), *changes],
    )  # fmt: skip
    assert [change.changed for change in changes] == [[False], [True]]
    last = {name: history.epochs[-1][name] for name in history.before}
    assert history.after == history.final != last
    again = finetuner.evaluate(model, clusters(), limit=5, metrics=['precision_at_k', 'map_at_r'])
    assert again == pytest.approx(history.after)
    assert history.rows()[-1] == {'epoch': 2, **history.final}


def test_a_resumed_training_ends_with_the_same_weights(backend, tmp_path):
    whole = finetuner.fit(mlp(backend), clusters(), epochs=2, callbacks=[Half(), TrainingCheckpoint(save_dir=tmp_path)])
    (tmp_path / 'cut').mkdir()
    with pytest.raises(RuntimeError, match='power'):
        finetuner.fit(
            mlp(backend), clusters(), epochs=2,
            callbacks=[Half(), TrainingCheckpoint(save_dir=tmp_path / 'cut'), Stops()],
        )  # fmt: skip
    # A model of other weights: what the callback kept comes from the checkpoint.
    resumed = finetuner.fit(
        mlp(backend, seed=9), clusters(), epochs=2, callbacks=[Half()], resume=tmp_path / 'cut',
    )  # fmt: skip
    for name, value in encoder(whole).weights().items():
        np.testing.assert_array_equal(encoder(resumed).weights()[name], value)
