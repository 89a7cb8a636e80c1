"""What happens within an epoch: measurements and checkpoints every so many updates; and examples of what is found."""

import json
import os

import numpy as np
import pytest

import finetuner
from finetuner.callback import Callback, EvaluationCallback, HistoryLogger, TrainingCheckpoint
from finetuner.errors import ArgumentError
from finetuner.inference import encoder
from finetuner.tuner import checkpoint
from finetuner.tuner.history import History
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 10, 'num_items_per_class': 2, 'guard': False, 'return_history': True}


class Stops(Callback):
    """Presses Ctrl-C after an update, before any other callback hears of it."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, tuner):
        if tuner.state.step == self.step:
            raise KeyboardInterrupt


class Reads(Callback):
    """Reads a file of a HistoryLogger within an epoch."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, tuner):
        if tuner.state.step == 2:
            Reads.epochs = [line.partition(',')[0] for line in self.path.read_text().splitlines()[1:]]


def fit(backend, *callbacks, seed=0, **arguments):
    return finetuner.fit(mlp(backend, noisy=True, seed=seed), clusters(), callbacks=callbacks, **ARGUMENTS | arguments)


def measured(**options):
    return EvaluationCallback(clusters(seed=2), metrics=['map_at_r', 'hit_at_k'], limit=3, show=False, **options)


def test_measured_and_saved_within_epochs(backend, tmp_path):
    def watching(**options):
        return [
            measured(steps_per_interval=2),
            measured(steps_per_interval=3, name='other'),
            HistoryLogger(path=tmp_path / 'a.jsonl'),
            TrainingCheckpoint(save_dir=tmp_path / 'run', **options),
        ]

    plain, history = fit(backend, measured())
    saved = {'every_n_steps': 3, 'last_k_steps': 1, 'every_n_epochs': 2}
    model, record = fit(backend, *watching(**saved))
    same(model, plain)  # looking and saving change nothing
    assert [(row['step'], row['epoch']) for row in record.steps] == [(2, 0.5), (3, 0.75), (6, 1.5)]
    assert set(record.steps[0]) == {'step', 'epoch', 'map_at_r', 'hit_at_k'}
    assert set(record.steps[1]) == {'step', 'epoch', 'other/map_at_r', 'other/hit_at_k'}
    assert set(record.steps[2]) == set(record.steps[0]) | set(record.steps[1])
    for ours, theirs in zip(record.epochs, history.epochs, strict=True):
        assert all(ours[name] == value for name, value in theirs.items() if name != 'seconds')
    rows = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert [row['epoch'] for row in rows] == [0, 0.5, 0.75, 1, 1.5, 2]
    assert rows == json.loads(json.dumps(record.rows(), default=float))
    names = sorted(path.name for path in (tmp_path / 'run').iterdir())
    assert names == [f'saved_model_epoch_{name}' for name in ('02', '02_step_000006')]

    resumed, later = fit(backend, *watching(), seed=7, resume=tmp_path / 'run' / names[1])
    same(resumed, model)
    assert later.steps == record.steps


def same(model, other):
    for name, value in encoder(other).weights().items():
        np.testing.assert_array_equal(encoder(model).weights()[name], value, err_msg=name)


# What follows is the same code on every framework.


@pytest.mark.backends('torch')
def test_ctrl_c_between_an_update_and_its_measurement(request, tmp_path):
    backend = request.config.getoption('--backend')
    path = tmp_path / 'a.csv'
    _, whole = fit(backend, measured(steps_per_interval=2), HistoryLogger(path=path), Reads(path), epochs=1)
    assert Reads.epochs == ['0', '0.5']  # and it is written at once
    fit(backend, Stops(2), measured(steps_per_interval=2), TrainingCheckpoint(save_dir=tmp_path), epochs=1)
    _, resumed = fit(backend, measured(steps_per_interval=2), seed=7, epochs=1, resume=tmp_path)
    assert resumed.steps == whole.steps and len(whole.steps) == 1


def test_what_was_measured_within_epochs_is_drawn_between_them(tmp_path):
    numbers = {'train_loss': 1.0, 'learning_rates': {'model': 0.1}, 'seconds': 1}
    epochs = [{'epoch': epoch, 'a': 0.5 - 0.4 * epoch, **numbers} for epoch in range(2)]
    plain, within = (History({'a': 0.9}, epochs, steps=steps) for steps in ([], [{'step': 3, 'epoch': 0.3, 'a': 0.7}]))
    assert [row['epoch'] for row in within.rows()] == [0, 0.3, 1, 2]
    pictures = [history.plot(tmp_path / f'{n}.svg').read_text() for n, history in enumerate((plain, within))]
    points = [picture.count('<use') for picture in pictures]
    assert points[1] == points[0] + 1


def test_the_newest_checkpoint_is_the_last_that_was_written(tmp_path):
    names = ['01_step_000002', '01', '02_step_000006', '02', '03_step_000010']
    for number, name in enumerate(names):
        folder = tmp_path / f'saved_model_epoch_{name}'
        folder.mkdir()
        (folder / 'manifest.json').touch()
        os.utime(folder / 'manifest.json', (1, 1 if number < 4 else 2))
    (tmp_path / 'saved_model_epoch_03_step_x').mkdir()
    assert [path.name.removeprefix('saved_model_epoch_') for path in checkpoint.numbered(tmp_path)] == names
    os.utime(tmp_path / 'saved_model_epoch_01' / 'manifest.json', (3, 3))
    assert checkpoint.numbered(tmp_path)[-1].name == 'saved_model_epoch_01'


@pytest.mark.backends('torch')
def test_examples_of_what_changed_most(request, tmp_path, capsys):
    backend = request.config.getoption('--backend')
    judge = {'query_data': clusters(seed=2), 'limit': 4, 'gather_examples': True, 'num_example_queries': 3}
    _, whole = fit(backend, EvaluationCallback(**judge), TrainingCheckpoint(save_dir=tmp_path, last_k_epochs=2))
    assert 'What queries find' in capsys.readouterr().out
    assert len(whole.examples) == 3
    change = [example['after'] - example['before'] for example in whole.examples]
    assert change[0] >= change[1] >= change[2]
    for example in whole.examples:
        assert example['metric'] == 'average_precision' and example['query'].startswith('item ')
        for moment in ('before', 'after'):
            right = np.array(example[f'right_{moment}'])
            assert len(right) == len(example[f'found_{moment}']) == 5
            precision = (np.cumsum(right) / np.arange(1, 6))[:4]
            assert example[moment] == pytest.approx(precision[right[:4]].sum() / 7)  # of 7 that are relevant
    first = tmp_path / 'saved_model_epoch_01'
    _, resumed = fit(backend, EvaluationCallback(**judge | {'show': False}), seed=7, resume=first)
    assert resumed.examples == whole.examples


@pytest.mark.backends('torch')
def test_a_sample_of_the_queries_searches_the_whole_index(request):
    data = clusters(seed=2)
    sampled = {'limit': 4, 'query_sample_size': 6, 'show': False}
    copied = data[0].copy(), data[1]
    judges = [EvaluationCallback(data, **sampled), EvaluationCallback(data, copied, name='again', **sampled)]
    model, history = fit(request.config.getoption('--backend'), *judges, epochs=1)
    values = judges[0].evaluator.per_query['average_precision']
    assert np.isfinite(values).sum() == 6
    assert history.after['average_precision'] == pytest.approx(np.nanmean(values))
    # With an index of its own a query finds itself, as long as it is no document: first, of one relevant item more.
    again = judges[1].evaluator.per_query['average_precision']
    assert np.array_equal(np.isfinite(again), np.isfinite(values)) and not np.array_equal(again, values)
    every = finetuner.evaluation.Evaluator(data, model=model)
    every.evaluate(limit=4)
    asked = np.isfinite(values)
    np.testing.assert_allclose(values[asked], every.per_query['average_precision'][asked])


def test_what_is_for_models_by_name_is_refused():
    for options, message in (
        ({'model': 'clip-text'}, "model='clip-text'.*leave model out"),
        ({'multi_modal': True}, 'two towers'),
        ({'name': 'a', 'caption': 'b'}, 'give one'),
        ({'steps_per_interval': 0}, 'steps_per_interval=0'),
        ({'query_sample_size': 1.5}, 'query_sample_size=1.5'),
    ):
        with pytest.raises(ArgumentError, match=message):
            EvaluationCallback(clusters(), **options)
    assert EvaluationCallback(clusters(), caption='a').metrics() == EvaluationCallback(clusters(), name='a').metrics()
