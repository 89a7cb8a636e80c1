"""Callbacks: what is measured, kept and stopped, and what cannot work is refused at the start."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import (
    BestModelCheckpoint,
    Callback,
    EarlyStopping,
    EvaluationCallback,
    TrainingCheckpoint,
    WiSEFTCallback,
)
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from tests.models import clusters, mlp


class Pretend(Callback):
    """Writes given losses into the history."""

    def __init__(self, losses):
        self.losses = losses

    def on_epoch_end(self, tuner):
        tuner.state.history[-1]['val_loss'] = self.losses[tuner.state.epoch]


def _epochs(backend, losses, *callbacks, **arguments):
    _, history = finetuner.fit(
        mlp(backend), clusters(), clusters(), epochs=len(losses), return_history=True,
        callbacks=[Pretend(losses), *callbacks], **arguments,
    )  # fmt: skip
    return len(history.epochs)


@pytest.mark.parametrize(
    ('losses', 'options', 'epochs'),
    [
        ([0.5, 0.6, 0.7, 0.1], {}, 3),
        ([0.5, 0.6, 0.4, 0.5, 0.6, 0.1], {}, 5),
        ([0.5, 0.6, 0.7], {'patience': 1}, 2),
        ([0.5, 0.45, 0.44, 0.1], {'min_delta': 0.1}, 3),
        ([0.5, 0.4, 0.3], {'baseline': 0.01}, 2),
        ([0.5, 0.6, 0.7], {'mode': 'max'}, 3),
    ],
)
def test_early_stopping(backend, losses, options, epochs):
    assert _epochs(backend, losses, EarlyStopping(**options)) == epochs


def test_the_best_model_is_kept(backend, tmp_path):
    class Keeps(Callback):
        def __init__(self):
            self.weights = []

        def on_epoch_end(self, tuner):
            self.weights.append(tuner.encoder.weights())

    keeps = Keeps()
    _epochs(backend, [0.5, 0.3, 0.4], keeps, BestModelCheckpoint(save_dir=tmp_path))
    model = finetuner.load(tmp_path / 'best_model_val_loss', mlp(backend, seed=9))
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, keeps.weights[1][name])


def test_the_last_checkpoints_are_kept(backend, tmp_path):
    _epochs(backend, [1.0] * 5, TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'saved_model_epoch_0{n}' for n in (3, 4, 5)]


def test_evaluation_before_and_after_every_epoch(backend):
    vectors, labels = clusters()
    measured = EvaluationCallback((vectors, labels), limit=5)
    model, history = finetuner.fit(mlp(backend), (vectors, labels), epochs=3, callbacks=[measured], return_history=True)
    assert set(history.before) == measured.metrics() == set(history.after)
    assert history.after['precision_at_k'] > history.before['precision_at_k']
    again = finetuner.evaluate(model, (vectors, labels), limit=5)
    assert again == pytest.approx(history.after)
    assert finetuner.history(model) == history


def test_a_metric_can_be_monitored(backend, tmp_path):
    shape = {'name': 'shape', 'metrics': ['alignment', 'knn_accuracy', 'nmi', 'purity', 'uniformity']}
    model, history = finetuner.fit(
        mlp(backend), clusters(), epochs=2, return_history=True,
        callbacks=[
            EvaluationCallback(clusters()),
            EvaluationCallback(clusters(), **shape),
            BestModelCheckpoint(monitor='average_precision', save_dir=tmp_path),
            EarlyStopping(monitor='precision_at_20', patience=1, min_delta=1.0),
            EarlyStopping(monitor='shape/alignment', patience=1),
        ],
    )  # fmt: skip
    assert len(history.epochs) == 2
    assert (tmp_path / 'best_model_average_precision').is_dir()
    assert history.after['shape/alignment'] < history.before['shape/alignment']
    found = finetuner.evaluate(model, clusters(), metrics=shape['metrics'])
    assert {f'shape/{name}': value for name, value in found.items()} == pytest.approx(
        {name: value for name, value in history.after.items() if name.startswith('shape/')}, rel=1e-4
    )


@pytest.mark.backends('torch')
def test_grades_of_matches_reach_metrics_of_ones_own(backend):
    docarray = pytest.importorskip('docarray')
    if not hasattr(docarray, 'DocumentArray'):
        pytest.skip('docarray before 0.30 is not installed')
    vectors, _ = clusters(n_classes=3, per_class=4)
    sessions = docarray.DocumentArray()
    for root in range(0, 12, 4):
        document = docarray.Document(tensor=vectors[root])
        for item, grade in ((root + 1, 1), (root + 2, 3), ((root + 5) % 12, -1)):
            document.matches.append(docarray.Document(tensor=vectors[item], tags={'finetuner_label': grade}))
        sessions.append(document)

    def share(relevance, n_relevant, grades):
        assert grades.tolist() == [[3, 1]] * 3
        return relevance.max(axis=1) / 3

    chosen = {**finetuner.evaluation.Evaluator.default_metrics(), 'share': (share, {})}
    model, history = finetuner.fit(
        mlp(backend), sessions, epochs=1, callbacks=[EvaluationCallback(sessions, metrics=chosen)], return_history=True
    )
    assert history.after['share'] == history.before['share'] == 1
    assert history.after == pytest.approx(finetuner.evaluate(model, sessions, metrics=chosen))
    assert history.after['dcg_at_k'] > 2  # of grade 1 alone it would be less


def test_less_alignment_and_uniformity_are_better():
    for monitor, sign in [('val_loss', -1), ('alignment', -1), ('unseen/uniformity', -1), ('map_at_r', 1)]:
        assert EarlyStopping(monitor=monitor).sign == sign
    assert EarlyStopping(monitor='alignment', mode='max').sign == 1
    assert WiSEFTCallback(alpha=None, monitor='alignment').sign == -1
    assert WiSEFTCallback(alpha=None).sign == 1


@pytest.mark.parametrize(
    ('callbacks', 'message'),
    [
        ([EarlyStopping()], "watches 'val_loss', which this training never measures. Pass eval_data="),
        ([BestModelCheckpoint(monitor='precision_at_k')], 'add an EvaluationCallback'),
        (
            [EarlyStopping(monitor='precision_at_k'), EvaluationCallback(clusters())],
            'put the EvaluationCallback before it',
        ),
        ([EarlyStopping(monitor='train_lose')], "Did you mean 'train_loss'"),
        (['EarlyStopping'], 'expected instances of finetuner.callback.Callback'),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(backend, callbacks, message):
    model = mlp(backend)
    before = encoder(model).weights()
    with pytest.raises(ArgumentError, match=message):
        finetuner.fit(model, clusters(), callbacks=callbacks, epochs=1)
    for name, value in encoder(model).weights().items():
        np.testing.assert_array_equal(value, before[name])


def test_impossible_options_of_callbacks():
    with pytest.raises(ArgumentError, match="mode='most'"):
        EarlyStopping(mode='most')
    with pytest.raises(ArgumentError, match='last_k_epochs=0: expected a whole number of at least 1'):
        TrainingCheckpoint(last_k_epochs=0)


def test_several_evaluations_have_names_of_their_own(backend):
    one, other = clusters(seed=1), clusters(seed=2)
    model = mlp(backend)
    before = [finetuner.evaluate(model, data)['map_at_r'] for data in (one, other)]
    callbacks = [
        EvaluationCallback(one),
        EvaluationCallback(other, name='other'),
        EarlyStopping(monitor='other/hit_at_20'),
    ]
    _, history = finetuner.fit(model, clusters(), epochs=2, callbacks=callbacks, return_history=True)
    assert [history.before['map_at_r'], history.before['other/map_at_r']] == pytest.approx(before)
    after = [finetuner.evaluate(model, data)['map_at_r'] for data in (one, other)]
    assert [history.after['map_at_r'], history.after['other/map_at_r']] == pytest.approx(after)
    with pytest.raises(ArgumentError, match='give one of them a name'):
        finetuner.fit(model, clusters(), callbacks=[EvaluationCallback(one), EvaluationCallback(other)])
