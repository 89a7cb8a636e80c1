"""The processes that train one model together, as each of them knows them."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from finetuner.errors import ArgumentError
from finetuner.typing import Tensor


class World:
    """One process alone; a framework says how several talk to each other.

    Every verb is called by all processes, at the same point of the same training, or none goes on.

    Attributes:
        rank: which of the processes this is, from 0; the first writes the files and prints.
        size: how many there are.
        device: where this one computes; None leaves that to whoever asks.
        meets: whether the others wait for this one, or will, in a training.
    """

    rank: int = 0
    size: int = 1
    device: str | None = None
    meets: bool = False

    def place(self, n: int, rank: int | None = None) -> slice:
        """Which of n rows belong to this process, or to another: one block, no more than one longer than the others.

        >>> World().place(5)
        slice(0, 5, None)
        """
        own = self.rank if rank is None else rank
        return slice(own * n // self.size, (own + 1) * n // self.size)

    def share(self, n: int) -> int:
        """How many of n rows belong to this process."""
        return len(range(n)[self.place(n)])

    def gather(self, rows: Tensor, n: int) -> Tensor:
        """The (n, D) rows of all processes, of which each gives its `place`."""
        return rows

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the sum of those that the processes have in its place."""

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor what it is in the first process."""

    def most(self, number: int) -> int:
        """The highest of the numbers that the processes give."""
        return number

    def alike(self, number: int) -> bool:
        """Whether all processes give the same number."""
        return self.most(number) == -self.most(-number)


class Launcher(NamedTuple):
    """What starts several processes, and the variables by which it tells each of them which one it is."""

    name: str
    size: str
    rank: str
    local_rank: str
    local_size: str


LAUNCHERS = (
    Launcher('torchrun', 'WORLD_SIZE', 'RANK', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'),
    Launcher(
        'paddle.distributed.launch', 'PADDLE_TRAINERS_NUM', 'PADDLE_TRAINER_ID', 'PADDLE_LOCAL_RANK',
        'PADDLE_LOCAL_SIZE',
    ),
    # The step's, not the job's: a script that sbatch starts without srun is one process, however many tasks there are.
    Launcher('srun', 'SLURM_STEP_NUM_TASKS', 'SLURM_PROCID', 'SLURM_LOCALID', 'SLURM_STEP_TASKS_PER_NODE'),
)  # fmt: skip


class Launched(NamedTuple):
    """What a launcher says of this process.

    Attributes:
        by: the launcher; '' where there is none.
        size: processes in all.
        rank: which of them this is.
        local_size: processes on this machine.
        local_rank: which of these it is.
    """

    by: str = ''
    size: int = 1
    rank: int = 0
    local_size: int = 1
    local_rank: int = 0


def launched(variables: Mapping[str, str] = os.environ) -> Launched:
    """What started this process, by the environment.

    >>> launched(
    ...     {
    ...         'SLURM_STEP_NUM_TASKS': '4',
    ...         'SLURM_PROCID': '3',
    ...         'SLURM_LOCALID': '1',
    ...         'SLURM_STEP_TASKS_PER_NODE': '2(x2)',
    ...     }
    ... )
    Launched(by='srun', size=4, rank=3, local_size=2, local_rank=1)
    """
    for one in LAUNCHERS:
        found = [variables.get(name, '') for name in one[1:]]
        found[3] = found[3].split(',')[0].split('(')[0]
        if all(value.isdecimal() for value in found):
            size, rank, local_rank, local_size = map(int, found)
            return Launched(one.name, size, rank, local_size, local_rank)
    return Launched()


def half_launched(variables: Mapping[str, str] = os.environ) -> str | None:
    """What a launcher left out that says which of several processes this is, for a sentence; None if nothing is amiss.

    >>> half_launched({'WORLD_SIZE': '4', 'RANK': '1'})
    'WORLD_SIZE=4 and RANK=1 are in the environment, LOCAL_RANK and LOCAL_WORLD_SIZE are not'
    """
    size, rank = variables.get('WORLD_SIZE', ''), variables.get('RANK', '')
    missing = [name for name in ('LOCAL_RANK', 'LOCAL_WORLD_SIZE') if name not in variables]
    if not (missing and size.isdecimal() and rank.isdecimal() and int(size) > 1):
        return None
    there = 'is not' if len(missing) == 1 else 'are not'
    return f'WORLD_SIZE={size} and RANK={rank} are in the environment, {" and ".join(missing)} {there}'


def first_host(nodes: str) -> str:
    """The first of the machines that Slurm names.

    >>> first_host('gpu[07-09,12],login'), first_host('gpu3,gpu4'), first_host('gpu-a[1,5]')
    ('gpu07', 'gpu3', 'gpu-a1')
    """
    return re.sub(r'\[(\w+)[^]]*\]', r'\1', nodes).split(',')[0]


def kind_of_device(started: Launched, device: str | None, gpus: int) -> str:
    """Where processes of a launcher compute: 'cpu' or 'cuda', a GPU for each.

    Args:
        started: what the launcher says.
        device: as it was asked for; None takes GPUs if there are any.
        gpus: how many this process sees; all of the machine, or those that Slurm gives it by `--gpus-per-task`.

    Raises:
        ArgumentError: there are fewer GPUs than processes.
    """
    found = device or ('cuda' if gpus else 'cpu')
    own = started.by == 'srun' and os.environ.get('SLURM_GPUS_PER_TASK') == str(gpus)
    if found == 'cuda' and gpus < started.local_size and not own:
        raise ArgumentError(
            f'{started.local_size} processes on this machine, and {gpus} GPUs: start as many as there are GPUs, or say '
            f"device='cpu'."
        )
    return found


_alone = World()
_present: list[World] = [_alone]


def current() -> World:
    """The world that this process trains in; itself alone until it has joined others."""
    return _present[-1]


def enter(world: Any) -> None:
    """From now on this process trains in this world."""
    _present[:] = [world]
