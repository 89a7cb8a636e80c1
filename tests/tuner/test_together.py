"""Several processes that train one model, started as people start them, on this machine and as if on two."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from tests.fresh import ROOT
from tests.tuner.together import CASES, trained

CLOSE = {'rtol': 0, 'atol': 1e-6}


def free_port():
    with socket.socket() as found:
        found.bind(('', 0))
        return found.getsockname()[1]


@contextmanager
def started(*commands, home, **variables):
    """The processes of some commands, which are ended in the end with all that they started."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith('COVERAGE_')}
    if not environment.get('CUDA_VISIBLE_DEVICES'):  # Paddle 3.3's launcher fails where it is empty
        environment.pop('CUDA_VISIBLE_DEVICES', None)
    environment |= {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'FINETUNER_HOME': str(home)} | variables
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for command in commands
    ]
    try:
        yield running
    finally:
        for one in running:  # a launcher that is terminated ends its processes; one that is killed does not
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)
            one.communicate(timeout=60)


def finished(running):
    """What they printed."""
    return [one.communicate(timeout=180)[0] for one in running]


def found(folder, rank):
    with np.load(folder / f'{rank}.npz') as kept:
        return dict(kept)


def of(case, arrays):
    return {name.partition('/')[2]: value for name, value in arrays.items() if name.startswith(f'{case}/')}


@contextmanager
def hosts():
    """How to start a program on each of two hosts, the address of the first, and the devices of both.

    Network namespaces are as good as hosts, and only root can make them; others take two addresses of this one.
    """
    names = [f'finetuner-{os.getpid()}-{side}' for side in 'ab']
    made = []

    def ip(*words):
        done = subprocess.run(['ip', *words], capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr)

    try:
        try:
            if not shutil.which('ip'):
                raise OSError('there is no ip')
            for name in names:
                ip('netns', 'add', name)
                made.append(name)
            ends = [f'ft{os.getpid()}{side}'[-14:] for side in 'ab']
            ip('link', 'add', ends[0], 'netns', names[0], 'type', 'veth', 'peer', 'name', ends[1], 'netns', names[1])
            for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
                ip('-n', name, 'address', 'add', f'10.77.0.{number}/24', 'dev', end)
                ip('-n', name, 'link', 'set', end, 'up')
                ip('-n', name, 'link', 'set', 'lo', 'up')
            places = [['ip', 'netns', 'exec', name] for name in names]
            yield places, '10.77.0.1', [{'GLOO_SOCKET_IFNAME': end} for end in ends]
        except OSError:
            yield [[], []], '127.0.0.2', [{}, {}]
    finally:
        for name in made:
            subprocess.run(['ip', 'netns', 'delete', name], check=True)


@contextmanager
def launchers(backend, folder):
    """The commands that start two processes: of Paddle on this machine, of PyTorch on two."""
    if backend == 'paddle':
        module, script = 'paddle.distributed.launch', ['tests/tuner/together.py']
        yield [[sys.executable, '-m', module, '--nproc_per_node', '2', '--log_dir', str(folder / 'log'), *script]]
        return
    with hosts() as (places, address, variables):
        port = str(free_port())
        yield [
            [
                *place, 'env', *(f'{name}={value}' for name, value in own.items()), sys.executable, '-m',
                'torch.distributed.run', '--nnodes', '2', '--node_rank', str(number), '--nproc_per_node', '1',
                '--master_addr', address, '--master_port', port, '-m', 'tests.tuner.together',
            ]
            for number, (place, own) in enumerate(zip(places, variables, strict=True))
        ]  # fmt: skip


@pytest.fixture(scope='module')
def together(backend, tmp_path_factory):
    """What two processes came to: where they wrote, the arrays and facts of each, and what was printed."""
    folder = tmp_path_factory.mktemp('together')
    with (
        launchers(backend, folder) as commands,
        started(*([*one, backend, str(folder), 'everything'] for one in commands), home=folder) as running,
    ):
        said = '\n'.join(finished(running))
        codes = [one.returncode for one in running]
    assert (folder / '1.json').exists(), said[-5000:]
    facts = [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]
    return folder, [found(folder, rank) for rank in range(2)], facts, said, codes


@pytest.mark.backends('torch', 'paddle')
@pytest.mark.parametrize('case', CASES)
def test_two_processes_learn_what_one_does(case, together, backend):
    _, (first, second), _, _, _ = together
    alone = trained(backend, **CASES[case])
    for name, value in of(case, first).items():
        np.testing.assert_allclose(value, alone[name], **CLOSE, err_msg=name)
        np.testing.assert_array_equal(value, of(case, second)[name])
    assert len(alone['losses']) == 2


@pytest.mark.backends('torch', 'paddle')
def test_all_begin_with_the_weights_of_the_first_and_have_its_statistics(together):
    _, (first, second), _, said, _ = together
    assert 'which normalises the rows of every process by themselves' in ' '.join(said.split())
    for name, value in of('noisy', first).items():
        np.testing.assert_array_equal(value, of('noisy', second)[name], err_msg=name)


@pytest.mark.backends('torch', 'paddle')
def test_dropout_is_another_in_each(together):
    _, (first, second), _, _, _ = together
    assert np.abs(first['masks/'] - second['masks/']).max() > 0.1


@pytest.mark.backends('torch', 'paddle')
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(together):
    _, arrays, facts, _, _ = together
    assert [one['interrupted'] for one in facts] == [0, 0]
    assert facts[0]['saved'] == ['saved_model_epoch_01']
    for one in arrays:
        for name, value in of('noisy', one).items():
            np.testing.assert_array_equal(value, of('resumed', one)[name], err_msg=name)


@pytest.mark.backends('torch', 'paddle')
def test_a_callback_of_one_stops_all(together):
    assert [one['stopped'] for one in together[2]] == [1, 1]


@pytest.mark.backends('torch', 'paddle')
def test_the_first_alone_writes_and_prints(together):
    folder, _, facts, said, _ = together
    assert [one['quiet'] for one in facts] == [False, True]
    assert sorted(path.name for path in folder.glob('history_*')) == ['history_0.csv']
    assert said.count('epoch 1/2') == 6  # of eight trainings, and two of them came to none
    assert said.count('train together, started by') == 12
    assert 'Initializing distributed' not in said


@pytest.mark.backends('torch', 'paddle')
def test_what_goes_wrong_in_one_ends_all_and_names_it(together):
    first, second = together[2]
    assert second['failed'] == 'DataError: preprocess_fn fails on item 7: ValueError: torn'
    assert first['failed'].startswith('TrainingError: Process 1 of 2, counted from 0, failed')


@pytest.mark.backends('torch', 'paddle')
def test_processes_that_are_given_different_things_are_refused(together):
    for facts in together[2]:
        assert 'train_data are not the same in all' in facts['data']
        assert 'the arguments of fit (learning_rate) are not the same in all' in facts['arguments']
        assert 'A batch has 1 items, and 2 processes train together' in facts['few']


@pytest.mark.backends('torch', 'paddle')
def test_the_others_do_not_wait_for_one_that_died(together):
    folder, _, _, _, codes = together
    assert all(codes)
    assert (folder / 'died').read_text().startswith('TrainingError: Another process of this training ended')


@pytest.mark.backends('torch')
@pytest.mark.skipif(
    os.environ.get('FINETUNER_MATRIX') != 'full', reason='two processes more; FINETUNER_MATRIX=full runs it'
)
def test_the_processes_of_slurm_learn_what_one_does(tmp_path, backend):
    ours = {
        'SLURM_NTASKS': 2, 'SLURM_STEP_NUM_TASKS': 2, 'SLURM_STEP_TASKS_PER_NODE': '2', 'SLURM_NODEID': 0,
        'SLURM_STEP_NODELIST': '127.0.0.1', 'SLURM_JOB_ID': 1, 'SLURM_JOB_NAME': 'tuning', 'MASTER_PORT': free_port(),
    }  # fmt: skip
    commands = []
    for rank in range(2):
        own = ours | {'SLURM_PROCID': rank, 'SLURM_LOCALID': rank}
        variables = [f'{name}={value}' for name, value in own.items()]
        commands.append(['env', *variables, sys.executable, '-m', 'tests.tuner.together', backend, str(tmp_path)])
    with started(*commands, home=tmp_path) as running:
        said = finished(running)
        assert [one.returncode for one in running] == [0, 0], said
    assert '2 processes train together, started by srun' in ' '.join(said[0].split())
    alone = trained(backend, **CASES['infonce'])
    for rank in range(2):
        for name, value in of('infonce', found(tmp_path, rank)).items():
            np.testing.assert_allclose(value, alone[name], **CLOSE, err_msg=name)
