"""A training ends with its best weights, and never with worse ones than it began with."""

import numpy as np
import pytest

import finetuner
from finetuner.callback import (
    Callback,
    EarlyStopping,
    EvaluationCallback,
    GradualUnfreezing,
    Guard,
    TrainingCheckpoint,
)
from finetuner.errors import ArgumentError, DataError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.guard import by
from tests.models import clusters, mlp

MANY = clusters(10, 40)


class Spoils(Callback):
    """Makes all weights of an array the same after some epochs; notes the weights after each."""

    def __init__(self, *epochs):
        self.epochs = epochs
        self.weights = []

    def on_train_epoch_end(self, tuner):
        if tuner.state.epoch in self.epochs:
            found = tuner.encoder.weights()
            tuner.encoder.assign({name: np.full_like(value, value.mean()) for name, value in found.items()})
        self.weights.append(tuner.encoder.weights())


class Stops(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, tuner):
        if tuner.state.epoch == self.epoch:
            raise RuntimeError('power is gone')


def _same(model, weights):
    found = encoder(model).weights()
    assert found.keys() == weights.keys()
    return all((found[name] == value).all() for name, value in weights.items())


def test_a_part_is_held_out_and_the_model_is_judged_by_it(backend, caplog):
    with caplog.at_level('INFO'):
        _, history = finetuner.fit(mlp(backend), MANY, epochs=2, return_history=True)
    assert 'Held out to judge the training by: 40 items of 10 classes' in caplog.text
    assert '360 items of 10 classes' in caplog.text
    assert history.verdict['word'] == 'better'
    assert history.verdict['queries'] == 40
    assert history.verdict['metric'] == 'map_at_r'
    assert history.verdict['before'] == pytest.approx(history.before['map_at_r'])
    assert history.verdict['after'] == pytest.approx(history.after['map_at_r'])
    assert 'val_loss' in history.epochs[0]


def test_the_weights_of_the_best_epoch_stay(backend, caplog):
    spoils = Spoils(2)
    with caplog.at_level('INFO'):
        model, history = finetuner.fit(mlp(backend), MANY, epochs=3, callbacks=[spoils], return_history=True)
    best = max(range(3), key=lambda epoch: history.epochs[epoch]['map_at_r'])
    assert best != 2
    assert _same(model, spoils.weights[best])
    assert history.verdict['epoch'] == best + 1
    assert f'epoch {best + 1}, whose weights it has' in caplog.text
    assert history.final['map_at_r'] == pytest.approx(history.epochs[best]['map_at_r'])


def test_a_worse_model_is_never_returned(backend, caplog):
    model = mlp(backend)
    encoder(model).embed(MANY[0][:2])
    first = encoder(model).weights()
    # What is learned is noise, and what the model is judged by is not.
    wrong = MANY[0], np.random.default_rng(0).permutation(MANY[1])
    model, history = finetuner.fit(
        model, wrong, MANY, epochs=2, callbacks=[Spoils(0, 1)], learning_rate=0.01, return_history=True
    )
    assert history.verdict['word'] == 'worse'
    assert history.verdict['epoch'] == 0
    assert _same(model, first)
    assert history.after == pytest.approx(history.before)
    assert 'The model became worse: map_at_r fell from' in caplog.text
    other = finetuner.fit(
        mlp(backend), wrong, MANY, epochs=2, callbacks=[Spoils(0, 1)], learning_rate=0.01, guard=False
    )
    assert not _same(other, first)


@pytest.mark.parametrize(
    ('options', 'items'), [({'guard': False}, 400), ({'val_split': 0}, 400), ({'val_split': 0.5}, 200)]
)
def test_how_much_is_held_out_can_be_said(options, items, caplog):
    pytest.importorskip('torch')
    with caplog.at_level('INFO'):
        _, history = finetuner.fit(mlp('torch'), MANY, epochs=1, return_history=True, **options)
    assert f'· {items} items of 10 classes' in caplog.text
    assert bool(history.verdict) == bool(history.before) == (items < 400)


def test_little_data_are_trained_on_whole(backend, caplog):
    with caplog.at_level('INFO'):
        _, history = finetuner.fit(mlp(backend), clusters(), epochs=1, return_history=True)
    assert 'A tenth of the data is too little to judge the training by' in caplog.text
    assert '40 items of 5 classes' in caplog.text
    assert history.before == history.verdict == {}


def test_few_queries_are_measured_without_a_verdict(backend, caplog):
    _, history = finetuner.fit(mlp(backend), clusters(), clusters(5, 4), epochs=1, return_history=True)
    assert history.verdict['word'] == 'none'
    assert '20 held-out queries are too few to say whether the model became better: 30 are needed' in caplog.text
    assert set(history.before) == set(history.after)


def test_a_resumed_training_keeps_what_was_best_before(backend, tmp_path):
    kept = [Spoils(1, 2), TrainingCheckpoint(save_dir=tmp_path)]
    whole, history = finetuner.fit(mlp(backend), MANY, epochs=3, callbacks=[Spoils(1, 2)], return_history=True)
    assert history.verdict['epoch'] == 1
    with pytest.raises(RuntimeError, match='power'):
        finetuner.fit(mlp(backend), MANY, epochs=3, callbacks=[*kept, Stops(1)])
    resumed, again = finetuner.fit(
        mlp(backend, seed=9), MANY, epochs=3, callbacks=[Spoils(1, 2)], resume=tmp_path, return_history=True
    )
    assert again.verdict == history.verdict
    assert _same(resumed, encoder(whole).weights())


def test_all_data_are_trained_on_in_the_end(backend, caplog):
    with caplog.at_level('INFO'):
        model, history = finetuner.fit(
            mlp(backend), MANY, epochs=2, refit=True, callbacks=[EarlyStopping()], return_history=True
        )
    assert history.verdict['word'] == 'better'
    assert f'Training anew on all data, for {history.verdict["epoch"]} epochs' in caplog.text
    alone = finetuner.fit(mlp(backend), MANY, epochs=history.verdict['epoch'], guard=False)
    assert _same(model, encoder(alone).weights())


def test_a_second_training_that_cannot_be_leaves_the_first(caplog):
    pytest.importorskip('torch')
    unfreezing = GradualUnfreezing()
    model, history = finetuner.fit(
        mlp('torch'), MANY, epochs=3, refit=True, callbacks=[Spoils(1, 2), unfreezing], return_history=True
    )
    assert history.verdict['epoch'] == 1
    assert 'The second training came to no end: the model has the weights of the first' in caplog.text
    assert finetuner.evaluate(model, MANY)['map_at_r'] > finetuner.evaluate(mlp('torch'), MANY)['map_at_r'] - 0.01


@pytest.mark.parametrize(
    ('metrics', 'metric'),
    [
        (['knn_accuracy', 'alignment'], 'knn_accuracy'),
        (['knn_accuracy', 'hit_at_k'], 'hit_at_k'),
        (['hit_at_k', 'map_at_r'], 'map_at_r'),
        (['nmi', 'alignment'], None),
    ],
)
def test_the_metric_is_one_of_which_each_query_has_a_value_and_more_is_better(metrics, metric):
    assert by(EvaluationCallback(MANY, metrics=metrics)) == metric


def test_metrics_of_ones_own_have_no_guard(caplog):
    pytest.importorskip('torch')
    rank = {'mean_rank': (lambda relevance: float(np.argmax(relevance)), {})}
    with caplog.at_level('INFO'):
        _, history = finetuner.fit(
            mlp('torch'), MANY, epochs=1, callbacks=[EvaluationCallback(MANY, metrics=rank)], return_history=True
        )
    assert 'There is no guard: it needs a metric of ours that has a value for each query' in caplog.text
    assert history.verdict == {}
    with pytest.raises(ArgumentError, match='judges by a metric of ours'):
        judge = EvaluationCallback(MANY, metrics=rank)
        finetuner.fit(mlp('torch'), MANY, callbacks=[judge, Guard(judge)])


def test_a_training_that_is_resumed_with_other_data_is_not_judged_by_both(tmp_path, caplog):
    pytest.importorskip('torch')
    saves = TrainingCheckpoint(save_dir=tmp_path)
    with pytest.raises(RuntimeError, match='power'):
        finetuner.fit(mlp('torch'), clusters(), MANY, epochs=2, callbacks=[saves, Stops(0)])
    _, history = finetuner.fit(
        mlp('torch'), clusters(), clusters(10, 12), epochs=2, resume=tmp_path, return_history=True
    )
    assert history.verdict == {}
    assert 'was judged by other data before it was resumed' in caplog.text


def test_a_guard_may_join_a_training_that_is_resumed(tmp_path, caplog):
    pytest.importorskip('torch')
    saves = TrainingCheckpoint(save_dir=tmp_path)
    with pytest.raises(RuntimeError, match='power'):
        finetuner.fit(mlp('torch'), clusters(), MANY, epochs=2, callbacks=[saves, Stops(0)], guard=False)
    _, history = finetuner.fit(mlp('torch'), clusters(), MANY, epochs=2, resume=tmp_path, return_history=True)
    assert history.verdict == {}
    assert 'The guard saw no beginning of this training' in caplog.text


def test_what_is_held_out_unasked_never_stops_a_training(caplog):
    pytest.importorskip('torch')
    vectors, _ = clusters(1, 430)
    labels = [0] * 400 + [1 + n // 3 for n in range(30)]
    with caplog.at_level('INFO'):
        finetuner.fit(mlp('torch'), (vectors, labels), epochs=1)
    assert 'too little to judge the training by' in caplog.text


def test_pairs_and_scores_are_judged_by_their_own_metrics(backend):
    vectors, _ = clusters(1, 700, seed=3)
    chance = np.random.default_rng(0)
    near = vectors + chance.standard_normal(vectors.shape).astype(np.float32) * 0.3
    pairs = list(zip(vectors, near, strict=True))
    _, history = finetuner.fit(mlp(backend), pairs, epochs=1, return_history=True)
    assert (history.verdict['metric'], history.verdict['queries']) == ('reciprocal_rank', 70)
    noise = chance.random(700) * 3
    scored = [(a, a + s * chance.standard_normal(10), float(-s)) for a, s in zip(vectors, noise, strict=True)]
    scored = [(a, b.astype(np.float32), score) for a, b, score in scored]
    _, history = finetuner.fit(mlp(backend), scored, epochs=1, return_history=True)
    assert (history.verdict['metric'], history.verdict['queries']) == ('spearman', 70)
    assert history.before.keys() == {'spearman', 'pearson'}


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'val_split': 1}, ArgumentError, 'val_split=1: expected a part from 0 to below 1'),
        ({'val_split': True}, ArgumentError, 'val_split=True: expected a part'),
        ({'guard': 'yes'}, ArgumentError, "guard='yes': expected True or False"),
        ({'val_split': 0.1, 'eval_data': MANY}, ArgumentError, 'leave one of them out'),
        ({'refit': True, 'eval_data': MANY}, ArgumentError, 'here there are none'),
        ({'refit': True, 'guard': False}, ArgumentError, 'here there are none'),
        ({'refit': True, 'callbacks': [EvaluationCallback(MANY)]}, ArgumentError, 'here there are none'),
        ({'refit': True, 'resume': 'somewhere'}, ArgumentError, 'a training is resumed'),
        ({'train_data': clusters(30, 3), 'val_split': 0.01}, DataError, 'holds out nothing to be judged by'),
        ({'train_data': MANY[0], 'val_split': 0.1}, DataError, 'items without labels say nothing'),
    ],
)
def test_what_cannot_be_held_out_is_refused(arguments, error, message):
    pytest.importorskip('torch')
    with pytest.raises(error, match=message):
        finetuner.fit(mlp('torch'), **{'train_data': MANY, **arguments})
