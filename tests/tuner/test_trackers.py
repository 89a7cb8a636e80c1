"""What trackers of experiments are told, read back from what they keep; a resumed training goes on in the same run."""

import json
import math
import os
import socket
import struct
import sys
from types import ModuleType

import pytest

import finetuner
from finetuner.callback import (
    Callback,
    EvaluationCallback,
    MLflowLogger,
    TensorBoardLogger,
    TrainingCheckpoint,
    WandBLogger,
)
from finetuner.errors import ArgumentError, MissingExtraError
from finetuner.inference import encoder
from finetuner.tuner.callbacks.tracker import Tracker
from tests.models import clusters, mlp

ARGUMENTS = {'epochs': 2, 'batch_size': 10, 'num_items_per_class': 2, 'guard': False, 'return_history': True}
TRACKERS = {'wandb': WandBLogger, 'mlflow': MLflowLogger, 'tensorboard': TensorBoardLogger}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Everything is kept below a folder, and nobody is called."""
    monkeypatch.setenv('FINETUNER_HOME', str(tmp_path / 'home'))
    for name in ('WANDB_MODE', 'MLFLOW_TRACKING_URI'):
        monkeypatch.delenv(name, raising=False)
    connect, called = socket.socket.connect, []

    def connected(own, address):
        if isinstance(address, tuple) and address[0] not in ('127.0.0.1', '::1', 'localhost'):
            called.append(address)
            raise OSError('no network in this test')
        return connect(own, address)

    monkeypatch.setattr(socket.socket, 'connect', connected)
    yield tmp_path / 'home'
    assert not called


class Fails(Callback):
    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_train_batch_end(self, tuner):
        if tuner.state.step == self.step:
            raise self.error


class Kept(Tracker):
    """Keeps what it is told."""

    def __init__(self, **options):
        super().__init__(**options)
        self.runs, self.told, self.ends = [], [], []

    def library(self):
        return json

    def begin(self, tuner, parameters, run):
        self.parameters = parameters
        self.runs.append(run)
        return run or 'first'

    def log(self, values, at, step, epoch):
        self.told.append((at, step, epoch, values))

    def end(self, status, summary):
        self.ends.append((status, summary))


def fit(*callbacks, model=None, **arguments):
    judge = EvaluationCallback(clusters(seed=2), metrics=['map_at_r'], steps_per_interval=3, show=False, num_workers=0)
    return finetuner.fit(model, clusters(), callbacks=[judge, *callbacks], **ARGUMENTS | arguments)


def test_what_is_told_and_kept_also_by_a_resumed_training(backend, tmp_path, home, monkeypatch):
    for library in TRACKERS:
        pytest.importorskip(library)
    place, uri = f'sqlite:///{home / "mlflow.db"}', None
    if backend != 'torch':  # elsewhere a folder, because a new database takes seconds
        monkeypatch.setenv('MLFLOW_ALLOW_FILE_STORE', 'true')
        place = uri = (tmp_path / 'runs').as_uri()
    environment = dict(os.environ)

    def trackers(logs=None):
        import wandb

        return [
            Kept(every_n_steps=2),
            Kept(every_n_steps=5, metrics_logger_step='batch', log_zero_shot=False),
            TensorBoardLogger(log_dir=logs, every_n_steps=1),
            MLflowLogger(tracking_uri=uri, every_n_steps=1, run_name='mine', tags={'who': 'me'}),
            WandBLogger(every_n_steps=1, project='mine', settings=wandb.Settings(silent=True), config={'who': 'me'}),
        ]

    try:
        first, second = trackers(tmp_path / 'logs'), trackers()
        saves = TrainingCheckpoint(save_dir=tmp_path / 'run')
        fit(*first, Fails(3, KeyboardInterrupt()), saves, model=mlp(backend))
        _, history = fit(*second, model=mlp(backend, seed=7), resume=tmp_path / 'run')
    finally:
        if 'wandb' in sys.modules:
            sys.modules['wandb'].teardown()
        os.environ.clear()
        os.environ.update(environment)
    told(*first[:2], *second[:2], history)
    in_tensorboard(tmp_path / 'logs', history, monkeypatch)
    in_mlflow(place, history)
    in_wandb(home, history)


def told(kept, by_batch, again, by_batch_again, history):
    assert kept.parameters == again.parameters
    assert all(isinstance(value, int | float | str) for value in kept.parameters.values())
    assert kept.parameters['epochs'] == 2 and kept.parameters['optimizer'] == 'AdamW'
    assert kept.parameters['loss'].startswith('InfoNCELoss') and kept.parameters['data'] == '40 items of 5 classes'
    assert (kept.runs, again.runs) == ([None], ['first'])
    every = [*kept.told, *again.told]
    assert len(kept.told) == 3 and [each[:3] for each in every] == [
        (0, 0, 0), (2, 2, 0.5), (3, 3, 0.75), (4, 4, 1), (1, 4, 1), (6, 6, 1.5), (8, 8, 2), (2, 8, 2),
    ]  # fmt: skip
    values = [each[3] for each in every]
    assert values[0] == {'metrics/map_at_r': history.before['map_at_r']}
    assert set(values[1]) == {'train/loss', 'lr/model'} and math.isfinite(values[1]['train/loss'])
    assert values[2] == {'steps/map_at_r': history.steps[0]['map_at_r']}
    assert set(values[5]) == set(values[1]) | set(values[2])
    for found, record in zip((values[4], values[7]), history.epochs, strict=True):
        assert found == {
            'train/epoch_loss': record['train_loss'],
            'metrics/map_at_r': record['map_at_r'],
            'seconds': record['seconds'],
        }
    after = {'before/map_at_r': history.before['map_at_r'], 'after/map_at_r': history.after['map_at_r']}
    assert kept.ends == [('KILLED', {})] and again.ends == [('FINISHED', after)]
    assert [each[:2] for each in (*by_batch.told, *by_batch_again.told)] == [(3, 3), (4, 4), (5, 5), (6, 6), (8, 8)]


def by_epoch(history):
    return list(enumerate([history.before['map_at_r'], *(record['map_at_r'] for record in history.epochs)]))


def in_tensorboard(folder, history, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorboard.compat.notf', ModuleType('notf'))  # reads without TensorFlow
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), purge_orphaned_data=True).Reload()
    assert [event.step for event in events.Scalars('train/loss')] == list(range(1, 9))
    measured = [(event.step, event.value) for event in events.Scalars('metrics/map_at_r')]
    assert measured == [(step, pytest.approx(value)) for step, value in by_epoch(history)]
    assert [event.step for event in events.Scalars('steps/map_at_r')] == [3, 6]
    assert events.Scalars('after/map_at_r')[0].value == pytest.approx(history.after['map_at_r'])
    (text,) = events.Tensors('parameters')
    assert b'| framework | ' in text.tensor_proto.string_val[0]


def in_mlflow(place, history):
    client = sys.modules['mlflow'].MlflowClient(tracking_uri=place)
    (run,) = client.search_runs([client.get_experiment_by_name('finetuner').experiment_id])
    assert run.info.status == 'FINISHED' and run.info.run_name == 'mine' and run.data.tags['who'] == 'me'
    assert run.data.params['optimizer'] == 'AdamW'
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    assert [metric.step for metric in found['train/loss']] == list(range(1, 9))
    assert [(metric.step, metric.value) for metric in found['metrics/map_at_r']] == by_epoch(history)
    assert run.data.metrics['after/map_at_r'] == history.after['map_at_r']


def in_wandb(home, history):
    from wandb.proto import wandb_internal_pb2

    rows, runs, config = [], set(), {}
    for path in sorted(home.glob('trainings/*/wandb/offline-run-*/*.wandb'), key=os.path.getmtime):
        for data in records(path):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.WhichOneof('record_type') == 'run':
                runs.add((record.run.project, record.run.run_id))
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.WhichOneof('record_type') == 'history':
                items = record.history.item
                rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in items})
    assert len(runs) == 1 and next(iter(runs))[0] == 'mine'
    assert config['who'] == 'me' and config['optimizer'] == 'AdamW'
    assert [row['step'] for row in rows if 'train/loss' in row] == list(range(1, 9))
    measured = [(row['epoch'], row['metrics/map_at_r']) for row in rows if 'metrics/map_at_r' in row]
    assert measured == by_epoch(history)


def records(path):
    """Those of a file of W&B, which is a log of LevelDB: blocks of 32 kB with parts of records."""
    data, at, record = path.read_bytes(), 7, b''
    while at < len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack_from('<HB', data, at + 4)
        record, at = record + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b''


@pytest.mark.backends('torch')
def test_how_a_training_ended_is_told(request):
    backend = request.config.getoption('--backend')
    kept = Kept()
    fit(kept, Fails(2, KeyboardInterrupt()), model=mlp(backend))
    with pytest.raises(RuntimeError, match='power'):
        fit(kept, Fails(2, RuntimeError('power is gone')), model=mlp(backend))
    assert kept.ends == [('KILLED', {}), ('FAILED', {})]
    with pytest.raises(ArgumentError, match='Kept stands before a EvaluationCallback'):
        fit(kept, EvaluationCallback(clusters(), name='late'), model=mlp(backend))


@pytest.mark.backends('torch')
@pytest.mark.parametrize('extra', TRACKERS)
def test_a_library_that_is_missing_is_named_before_the_training(request, extra, monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    model = mlp(request.config.getoption('--backend'))
    before = encoder(model).weights()
    with pytest.raises(MissingExtraError, match=rf'finetuner\[{extra}\]'):
        fit(TRACKERS[extra](), model=model)
    assert all((encoder(model).weights()[name] == value).all() for name, value in before.items())


def test_impossible_options_are_refused():
    for kind, options, message in (
        (TensorBoardLogger, {'every_n_steps': 0}, 'every_n_steps=0'),
        (MLflowLogger, {'metrics_logger_step': 'batches'}, "Did you mean 'batch'"),
        (WandBLogger, {'wandb_args': 'offline'}, 'expected a dict'),
    ):
        with pytest.raises(ArgumentError, match=message):
            kind(**options)
