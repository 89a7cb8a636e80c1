"""On how many devices a model is trained, and which processes train it: what was asked for against what was started."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from finetuner import console, world as worlds
from finetuner.console import logger
from finetuner.data.batch import Loader
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, enumerated, nearest, whole_number
from finetuner.inference import Encoder
from finetuner.tuner.meeting import fail
from finetuner.world import Launched, World

P = ParamSpec('P')
R = TypeVar('R')
STRATEGIES = ('ddp', 'fsdp')
OWN = {'torch': ('torchrun', 'srun'), 'paddle': ('paddle.distributed.launch',), 'keras': ()}
NAMES = {'torch': 'PyTorch', 'paddle': 'Paddle', 'keras': 'Keras'}
_JOINED: list[World] = []  # the one that this process met, for all its trainings


def join(coder: Encoder, device: Any, devices: Any, num_nodes: Any, strategy: Any) -> tuple[World, int]:
    """The processes that this one trains with, and the number of devices in all.

    Args:
        coder: the model.
        device: as in `finetuner.fit`, like all that follow.
        devices: on each machine.
        num_nodes: machines.
        strategy: how they share the work.

    Raises:
        ArgumentError: nothing started so many processes, or the framework cannot; says what to type instead.
    """
    devices = None if devices is None else whole_number('devices', devices, 1)
    num_nodes = None if num_nodes is None else whole_number('num_nodes', num_nodes, 1)
    if strategy is not None and strategy not in STRATEGIES:
        raise ArgumentError(f'strategy={strategy!r}. {nearest(str(strategy), STRATEGIES)}')
    if strategy == 'fsdp':
        raise ArgumentError(
            "strategy='fsdp' cuts the weights into parts, and here every process must have all of them: for the guard, "
            "averages and checkpoints. Take strategy='ddp', and to save memory gradient_checkpointing=True, "
            "mini_batch_size=…, precision='bf16' or adapter='lora'."
        )
    started = worlds.launched()
    _enter(World())
    if coder.framework == 'keras':
        return World(), _of_one_process(load('keras', 'replicas'), started, device, devices, num_nodes, strategy)
    wanted = (devices or 1) * (num_nodes or 1)
    alone = devices == 1 and (num_nodes == 1 or (num_nodes is None and started.local_size > 1))
    half = worlds.half_launched()
    if half and not started.by and not alone and coder.framework == 'torch':
        raise ArgumentError(
            f'{half}: which GPU of its machine is for this process? Start processes with torchrun, or set LOCAL_RANK '
            f'and LOCAL_WORLD_SIZE too. devices=1, num_nodes=1 trains a model of its own in each.'
        )
    if started.size == 1 or alone:
        if wanted > 1 or (strategy is not None and not started.by):
            raise ArgumentError(_start(coder.framework, devices, num_nodes, strategy))
        return World(), 1
    if started.by not in OWN[coder.framework]:
        raise ArgumentError(
            f'{started.by} started {started.size} processes, and a model of {NAMES[coder.framework]} is trained in '
            f'those that {" or ".join(OWN[coder.framework])} starts: {_command(coder.framework, started.local_size)}. '
            f'devices=1, num_nodes=1 trains a model of its own in each.'
        )
    nodes = -(-started.size // started.local_size)
    for name, asked, there in (('devices', devices, started.local_size), ('num_nodes', num_nodes, nodes)):
        if asked is not None and asked != there:
            what = 'processes on each machine' if name == 'devices' else 'machines'
            raise ArgumentError(
                f'{name}={asked}, but {started.by} started {there} {what}: start as many as you ask for, or leave '
                f'{name} out, which takes all.'
            )
    if device is not None and device not in ('cpu', 'cuda'):
        raise ArgumentError(f"device={device!r}: each process takes a GPU of its own. Say 'cpu' or 'cuda'.")
    if not _JOINED:
        _JOINED.append(load(coder.framework, 'processes').join(started, device))
    world = _JOINED[0]
    if device is not None and device != str(world.device).partition(':')[0]:
        raise ArgumentError(
            f'device={device!r}, and these processes have met for trainings on {world.device}: start others for it.'
        )
    world.meets = True
    _enter(world)
    logger.info(
        '%d processes%s train together, started by %s: batch_size is that of all of them. The first one writes and '
        'prints.', world.size, f' on {nodes} machines' if nodes > 1 else '', started.by,
    )  # fmt: skip
    return world, world.size


def together(train: Callable[P, R]) -> Callable[P, R]:
    """The function, which joins others, and has them know if it fails."""

    @wraps(train)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return train(*args, **kwargs)
        finally:
            fail(worlds.current())

    return told


def share(loader: Loader, world: World, layers: list[str]) -> int:
    """Have a loader read what this process embeds; gives how many items of a batch these are.

    Args:
        loader: of the batches.
        world: the processes.
        layers: the class names of the model's layers; of one with BatchNorm it is said what it learns.

    Raises:
        ArgumentError: a batch has too few items.
    """
    if loader.layout.items < world.size:
        raise ArgumentError(
            f'A batch has {loader.layout.items} items, and {world.size} processes train together: expected one item '
            f'for each at least. Give a larger batch_size, or start fewer processes.'
        )
    loader.place = world.place(loader.layout.items)
    norms = sorted({name for name in layers if 'BatchNorm' in name})
    if norms and world.size > 1:
        logger.warning(
            'The model has %s, which normalises the rows of every process by themselves: it learns something else than '
            'in one process, and keeps the statistics of the first. LayerNorm would not.', enumerated(norms),
        )  # fmt: skip
    return world.share(loader.layout.items)


def _enter(world: World) -> None:
    worlds.enter(world)
    console.silence(world.rank > 0)


def _of_one_process(
    part: Any, started: Launched, device: Any, devices: int | None, num_nodes: int | None, strategy: Any
) -> int:
    # Keras has one process, and on JAX several devices in it.
    if started.size > 1 and not (devices == num_nodes == 1):
        raise ArgumentError(
            f'{started.by} started {started.size} processes, and Keras trains in one: each would train the whole model '
            f'by itself. Start one. {part.WAYS} devices=1, num_nodes=1 trains a model of its own in each.'
        )
    if (num_nodes or 1) > 1 or strategy is not None:
        what = f'strategy={strategy!r}' if strategy is not None else f'num_nodes={num_nodes}'
        raise ArgumentError(f'{what} is not for Keras, which trains in one process. {part.WAYS}')
    if (devices or 1) > 1:
        if device not in (None, 'cpu', 'cuda'):
            raise ArgumentError(
                f"device={device!r}, devices={devices}: several devices have one kind. Say 'cpu' or 'cuda'."
            )
        part.check(devices, device)
    return devices or 1


def _start(framework: str, devices: int | None, num_nodes: int | None, strategy: Any) -> str:
    given = {'devices': devices, 'num_nodes': num_nodes, 'strategy': strategy}
    said = ', '.join(f'{name}={value!r}' for name, value in given.items() if value is not None)
    return (
        f'{said}: several processes train one model when a launcher has started them, and none has started this one. '
        f'Type: {_command(framework, devices or 2, num_nodes or 1)}'
    )


def _command(framework: str, devices: int, num_nodes: int = 1) -> str:
    script = sys.argv[0] if sys.argv and Path(sys.argv[0]).suffix == '.py' else 'script.py'
    if framework == 'paddle':
        several = f'--nnodes {num_nodes} --master HOST:PORT ' if num_nodes > 1 else ''
        return f'python -m paddle.distributed.launch {several}--nproc_per_node {devices} {script}'
    several = f'--nnodes {num_nodes} --rdzv_backend c10d --rdzv_endpoint HOST:29500 ' if num_nodes > 1 else ''
    return f'torchrun {several}--nproc_per_node {devices} {script}'
