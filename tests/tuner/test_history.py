"""The numbers of a training as data, as files, and as a picture."""

import csv
import json

import pytest

import finetuner
from finetuner.callback import EvaluationCallback, HistoryLogger, TrainingCheckpoint
from finetuner.console import live_console
from finetuner.errors import ArgumentError
from finetuner.tuner.history import History
from tests.models import clusters, mlp

RATES = {'learning_rates': {'model': 0.1}, 'seconds': 1}
HISTORY = History(
    {'map_at_r': 0.5, 'hit_at_k': 0.7},
    [
        {'epoch': 0, 'train_loss': 2.0, 'val_loss': 3.0, 'map_at_r': 0.6, **RATES},
        {'epoch': 1, 'train_loss': 1.0, 'val_loss': 2.0, 'map_at_r': 0.8, **RATES},
    ],
)


def test_rows_are_flat_and_count_epochs_that_were_trained():
    rows = HISTORY.rows()
    assert [row['epoch'] for row in rows] == [0, 1, 2]
    assert rows[0]['hit_at_k'] == 0.7 and rows[2]['map_at_r'] == 0.8 and rows[1]['learning_rate/model'] == 0.1
    assert History({}, HISTORY.epochs).rows() == rows[1:]


def printed(function, *arguments):
    with live_console.capture() as captured:
        function(*arguments)
    return captured.get()


def test_metrics_are_displayed():
    found = printed(HISTORY.display_metrics)
    assert all(number in found for number in ('0.5000', '0.8000', '+0.3000'))
    with pytest.raises(ArgumentError, match='give fit eval_data'):
        History({}, HISTORY.epochs).display_metrics()


def test_examples_are_displayed_with_as_many_results_as_asked_for():
    results = {f'{what}_{moment}': list(values) for what, values in (('found', 'abc'), ('right', (True, False, True)))
               for moment in ('before', 'after')}  # fmt: skip
    example = {'query': 'my query', 'metric': 'map_at_r', 'before': 0.25, 'after': 0.5, **results}
    history = History({}, HISTORY.epochs, examples=[example])
    found = printed(history.display_examples, 2)
    assert 'my query' in found and 'map_at_r 0.250' in found
    assert (found.count('✓'), found.count('✗')) == (2, 2)
    assert (printed(history.display_examples).count('✓')) == 4
    with pytest.raises(ArgumentError, match='gather_examples=True'):
        HISTORY.display_examples()
    with pytest.raises(ArgumentError, match='k=0'):
        history.display_examples(0)


@pytest.mark.parametrize('name, start', [('a.png', b'\x89PNG'), ('a.svg', b'<?xml'), ('a.pdf', b'%PDF')])
def test_the_picture(tmp_path, name, start):
    path = HISTORY.plot(tmp_path / name)
    assert path == tmp_path / name and path.read_bytes().startswith(start)


def test_the_picture_shows_what_was_chosen(tmp_path):
    text = HISTORY.plot(tmp_path / 'a.svg', ['map_at_r']).read_text()
    assert 'map_at_r' in text and 'val_loss' in text and 'hit_at_k' not in text
    assert 'retrieval' not in History({}, HISTORY.epochs).plot(tmp_path / 'b.svg').read_text()
    for message, options in [
        ("'map_at_q' was not measured. Did you mean 'map_at_r'", {'metrics': ['map_at_q']}),
        ('ends in .png', {'path': tmp_path / 'a.txt'}),
    ]:
        with pytest.raises(ArgumentError, match=message):
            HISTORY.plot(**{'path': tmp_path / 'c.png', **options})
    with pytest.raises(ArgumentError, match='nothing to draw'):
        History({}, []).plot(tmp_path / 'c.png')


def test_the_file_has_the_whole_history_also_when_resumed(backend, tmp_path):
    def tuned(path, **options):
        callbacks = [
            EvaluationCallback(clusters(seed=2), show=False),
            HistoryLogger(path=path),
            TrainingCheckpoint(save_dir=tmp_path / 'all', last_k_epochs=9),
        ]
        return finetuner.fit(mlp(backend), clusters(), epochs=2, callbacks=callbacks, **options)

    history = finetuner.history(tuned(tmp_path / 'a.jsonl'))
    rows = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    assert rows == json.loads(json.dumps(history.rows(), default=float))
    assert len(rows) == 3 + bool(history.final)
    tuned(tmp_path / 'a.csv', resume=tmp_path / 'all' / 'saved_model_epoch_01')
    with (tmp_path / 'a.csv').open() as file:
        table = list(csv.DictReader(file))
    for ours, theirs in zip(table, rows, strict=True):
        assert {k: float(v) for k, v in ours.items() if v and k != 'seconds'} == {
            k: float(v) for k, v in theirs.items() if k != 'seconds'
        }


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(ArgumentError, match=r'\.csv or \.jsonl'):
        HistoryLogger(path='history.txt')
