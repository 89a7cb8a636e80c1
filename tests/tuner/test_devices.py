"""How many devices were asked for, against what was started; and several of them in one process of JAX."""

import os
from types import SimpleNamespace

import pytest

import finetuner
from finetuner import world as worlds
from finetuner.errors import ArgumentError
from finetuner.tuner import devices
from finetuner.world import LAUNCHERS, World, launched
from tests.fresh import run
from tests.models import clusters, mlp

STARTED = {
    'torchrun': {'WORLD_SIZE': '4', 'RANK': '3', 'LOCAL_RANK': '1', 'LOCAL_WORLD_SIZE': '2'},
    'paddle.distributed.launch': {
        'PADDLE_TRAINERS_NUM': '4', 'PADDLE_TRAINER_ID': '3', 'PADDLE_LOCAL_RANK': '1', 'PADDLE_LOCAL_SIZE': '2',
    },
    'srun': {
        'SLURM_STEP_NUM_TASKS': '4', 'SLURM_PROCID': '3', 'SLURM_LOCALID': '1', 'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    """These tests may themselves run as a task of Slurm."""
    for launcher in LAUNCHERS:
        for name in launcher[1:]:
            monkeypatch.delenv(name, raising=False)


def join(framework='torch', device=None, **asked):
    return devices.join(
        SimpleNamespace(framework=framework),
        device,
        *(asked.get(name) for name in ('devices', 'num_nodes', 'strategy')),
    )


def test_the_rows_of_all_processes_are_all_rows():
    for n in (2, 13, 64):
        places = []
        for rank in range(2):
            world = World()
            world.rank, world.size = rank, 2
            places += range(n)[world.place(n)]
        assert places == list(range(n))


@pytest.mark.parametrize('name', STARTED)
def test_what_a_launcher_says_is_understood(name):
    assert launched(STARTED[name]) == (name, 4, 3, 2, 1)


def test_a_script_that_sbatch_starts_is_one_process():
    assert launched({'SLURM_NTASKS': '4', 'SLURM_PROCID': '0', 'SLURM_LOCALID': '0'}).size == 1


@pytest.mark.parametrize('extra', [{}, {'LOCAL_RANK': '0'}])
def test_a_launcher_that_does_not_say_which_gpu_is_for_whom_is_refused(extra, monkeypatch):
    for name, value in ({'WORLD_SIZE': '2', 'RANK': '1'} | extra).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match='WORLD_SIZE=2 and RANK=1 are in the environment, .*LOCAL_WORLD_SIZE'):
        join()
    assert join(devices=1, num_nodes=1)[1] == 1
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert join()[1] == 1


@pytest.mark.parametrize(
    ('each', 'gpus', 'found'), [('1', 1, 'cuda'), (None, 1, None), ('2', 1, None), (None, 4, 'cuda')]
)
def test_a_task_of_slurm_may_see_its_own_gpu_alone(each, gpus, found, monkeypatch):
    monkeypatch.delenv('SLURM_GPUS_PER_TASK', raising=False)
    if each:
        monkeypatch.setenv('SLURM_GPUS_PER_TASK', each)
    started = launched(STARTED['srun'])
    if found is None:
        with pytest.raises(ArgumentError, match='2 processes on this machine, and 1 GPUs'):
            worlds.kind_of_device(started, None, gpus)
    else:
        assert worlds.kind_of_device(started, None, gpus) == found


def test_one_process_that_is_asked_for_nothing_or_one_is_alone():
    for asked in ({}, {'devices': 1}, {'devices': 1, 'num_nodes': 1}):
        assert join(**asked)[1] == 1
    assert worlds.current().size == 1


def test_processes_that_are_to_train_models_of_their_own_are_alone(monkeypatch):
    for variables in STARTED.values():
        with monkeypatch.context() as there:
            for name, value in variables.items():
                there.setenv(name, value)
            for framework in ('torch', 'paddle'):
                assert join(framework, devices=1)[1] == join(framework, devices=1, num_nodes=1)[1] == 1


@pytest.mark.parametrize(
    ('framework', 'asked', 'said'),
    [
        ('torch', {'devices': 2}, 'devices=2: .* Type: torchrun --nproc_per_node 2 script.py'),
        ('torch', {'num_nodes': 2, 'devices': 4}, 'torchrun --nnodes 2 .* --nproc_per_node 4'),
        ('torch', {'strategy': 'ddp'}, "strategy='ddp': .* Type: torchrun"),
        ('paddle', {'devices': 2}, 'Type: python -m paddle.distributed.launch --nproc_per_node 2 script.py'),
        ('torch', {'strategy': 'fsdp'}, "strategy='fsdp' .* Take strategy='ddp'"),
        ('torch', {'strategy': 'ddpp'}, "strategy='ddpp'. .*ddp"),
        ('torch', {'devices': 0}, 'devices=0: expected a whole number'),
        ('torch', {'num_nodes': 1.5}, 'num_nodes=1.5: expected a whole number'),
    ],
)
def test_what_nothing_started_is_refused_with_what_to_type(framework, asked, said, monkeypatch):
    monkeypatch.setattr('sys.argv', ['ipykernel_launcher'])
    with pytest.raises(ArgumentError, match=said):
        join(framework, **asked)


@pytest.mark.parametrize(
    ('launcher', 'framework', 'asked', 'said'),
    [
        (
            'torchrun',
            'paddle',
            {},
            'torchrun started 4 processes, and a model of Paddle is trained in those that paddle',
        ),
        (
            'paddle.distributed.launch',
            'torch',
            {},
            'a model of PyTorch is trained in those that torchrun or srun starts',
        ),
        ('torchrun', 'torch', {'devices': 4}, 'devices=4, but torchrun started 2 processes on each machine'),
        ('srun', 'torch', {'num_nodes': 3}, 'num_nodes=3, but srun started 2 machines'),
        (
            'torchrun',
            'torch',
            {'device': 'cuda:1'},
            "device='cuda:1': each process takes a GPU of its own",
        ),
    ],
)
def test_what_was_started_otherwise_is_refused(launcher, framework, asked, said, monkeypatch):
    for name, value in STARTED[launcher].items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=said):
        join(framework, **asked)


def test_processes_that_met_on_one_kind_of_device_stay_on_it(monkeypatch):
    for name, value in STARTED['torchrun'].items():
        monkeypatch.setenv(name, value)
    met = World()
    met.rank, met.size, met.device = 3, 4, 'cpu'
    monkeypatch.setattr(devices, '_JOINED', [met])
    with pytest.raises(ArgumentError, match="device='cuda', and these processes have met for trainings on cpu"):
        join(device='cuda')
    assert worlds.current().size == 1


def refused(backend, **asked):
    with pytest.raises(ArgumentError) as raised:
        finetuner.fit(mlp(backend), clusters(), **asked)
    return str(raised.value)


@pytest.mark.backends('keras-tensorflow', 'keras-torch')
def test_keras_on_an_engine_with_one_device_names_the_ways_that_work(backend):
    said = refused(backend, devices=2)
    assert f'Keras on {backend.removeprefix("keras-")} trains on one device' in said
    assert 'KERAS_BACKEND=jax' in said and 'torchrun' in said and 'paddle.distributed.launch' in said


@pytest.mark.backends('keras-jax')
def test_more_devices_than_jax_sees_are_refused(backend):
    assert 'devices=3, and jax sees 1' in (said := refused(backend, devices=3))
    assert 'XLA_FLAGS=--xla_force_host_platform_device_count=3' in said


@pytest.mark.backends('keras-jax')
def test_several_devices_are_of_the_kind_that_is_asked_for(backend):
    from finetuner.backends.keras import replicas

    assert replicas._seen('cpu') == replicas._seen(None) == ['cpu:0']
    assert 'jax sees 0: none of that kind' in refused(backend, devices=2, device='cuda')
    assert "several devices have one kind. Say 'cpu'" in refused(backend, devices=2, device='cuda:1')


@pytest.mark.backends('keras-jax')
def test_keras_is_not_trained_by_several_processes(backend, monkeypatch):
    assert 'num_nodes=2 is not for Keras' in refused(backend, num_nodes=2)
    assert "strategy='ddp' is not for Keras" in refused(backend, strategy='ddp')
    for name, value in STARTED['torchrun'].items():
        monkeypatch.setenv(name, value)
    assert 'torchrun started 4 processes, and Keras trains in one' in refused(backend)


ON_JAX = """
import sys
import numpy as np
import finetuner
from finetuner import inference
from finetuner.callback import Callback
from finetuner.losses import CLIPLoss, CrossBatchMemory
from tests.models import clusters, mlp


class Watches(Callback):
    def on_train_batch_end(self, tuner):
        watched.append({len(v.value.sharding.device_set) for v in tuner.encoder.model.variables})
        watched.append({len(v.value.sharding.device_set) for v in tuner.optimizer.variables})
        watched.append({tuner.encoder.devices.get_data_layout((n, 3)).axes[0] for n in (12, 13)})


found = []
for devices in (None, 2):
    watched = []
    model, history = finetuner.fit(
        mlp('keras-jax', noisy=True), clusters(), loss=CrossBatchMemory(CLIPLoss(), memory_size=30), batch_size=12,
        epochs=2, devices=devices, callbacks=[Watches()] if devices else [], val_split=0, return_history=True,
    )
    assert {len(v.value.sharding.device_set) for v in model.variables} == {1}
    weights = list(inference.encoder(model).weights().values())
    found.append([*weights, [record['train_loss'] for record in history.epochs]])
assert watched[:3] == [{2}, {2}, {'batch', None}], watched[:3]
for one, two in zip(*found, strict=True):
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
"""


@pytest.mark.backends('keras-jax')
def test_two_devices_of_jax_learn_what_one_does():

    flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count=2'
    run(ON_JAX, XLA_FLAGS=flags, KERAS_BACKEND='jax')
