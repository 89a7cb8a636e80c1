"""PyTorch in several processes, on gloo between CPUs and NCCL between GPUs."""

import atexit
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed

from finetuner import world
from finetuner.typing import Inputs
from finetuner.world import Launched


class World(world.World):
    """Processes of a launcher.

    Args:
        started: what it says.
        device: where this process computes.
    """

    def __init__(self, started: Launched, device: str) -> None:
        self.rank, self.size, self.device = started.rank, started.size, device

    def gather(self, rows: torch.Tensor, n: int) -> torch.Tensor:
        places = [self.place(n, rank) for rank in range(self.size)]
        sizes = [place.stop - place.start for place in places]
        even = rows.new_zeros((max(sizes), rows.shape[1]))  # gloo gathers blocks of one length
        even[: len(rows)] = rows
        found = [torch.empty_like(even) for _ in sizes]
        distributed.all_gather(found, even)
        return torch.cat([block[:size] for block, size in zip(found, sizes, strict=True)])

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        self._exchange(distributed.all_reduce, tensors)

    def copy(self, tensors: Sequence[torch.Tensor]) -> None:
        # Of bytes, for gloo does not know every type.
        self._exchange(lambda flat: distributed.broadcast(flat.view(torch.uint8), 0), tensors)

    def _exchange(self, talk: Callable[[torch.Tensor], Any], tensors: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in one order in all processes
                own = [tensor for tensor in tensors if tensor.dtype == dtype]
                flat = torch.cat([tensor.reshape(-1) for tensor in own])
                talk(flat)
                for tensor, found in zip(own, flat.split([tensor.numel() for tensor in own]), strict=True):
                    tensor.copy_(found.view_as(tensor))

    def most(self, number: int) -> int:
        found = torch.tensor([number])
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)


def join(started: Launched, device: str | None) -> World:
    """Meet the other processes of a launcher.

    Raises:
        ArgumentError: there are fewer GPUs than processes.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = world.kind_of_device(started, device, gpus)
    if device == 'cuda':
        # A task of Slurm may see its own GPU alone.
        device = f'cuda:{started.local_rank if gpus >= started.local_size else 0}'
        torch.cuda.set_device(device)
    if started.by == 'srun':  # which names no place to meet at; torchrun does
        os.environ.setdefault('MASTER_ADDR', world.first_host(os.environ['SLURM_STEP_NODELIST']))
        os.environ.setdefault('MASTER_PORT', str(15000 + int(os.environ['SLURM_JOB_ID']) % 10000))
    backend = 'gloo' if device == 'cpu' else 'cpu:gloo,cuda:nccl'
    distributed.init_process_group(backend, rank=started.rank, world_size=started.size)
    atexit.register(_leave)
    return World(started, device)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _statistics(model: torch.nn.Module) -> list[torch.Tensor]:
    # Buffers that are saved with the model: others are caches, whose shape may be that of the process's own rows.
    return [
        buffer
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None and name not in module._non_persistent_buffers_set
    ]


class Several:
    """What the training step of one process must also do among several; the attributes are those of `Tuner`."""

    encoder: Any
    optimizers: dict[str, Any]
    parameters: dict[str, Any]
    world: Any
    _embeddings: Any
    _update: Any

    def attached(self, inputs: Inputs) -> torch.Tensor:
        """The embeddings of some rows, with their graph."""
        return self._embeddings(inputs)

    def draw(self, embeddings: torch.Tensor, slopes: torch.Tensor) -> None:
        """Add the slopes of the weights that come of those of the embeddings."""
        embeddings.backward(slopes.to(embeddings.dtype))

    def forget(self) -> None:
        """Have no slopes of the model's weights."""
        for p in self._trained():
            p.grad = None

    def unite(self) -> None:
        """Add up the slopes of the model's weights; what else a step changes is as in the first process."""
        trained = self._trained()
        reached = torch.tensor([float(p.grad is not None) for p in trained], device=self.encoder.device)
        for p in trained:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.world.add([p.grad for p in trained] + [reached])
        for p, processes in zip(trained, reached.tolist(), strict=True):
            if not processes:  # the loss does not depend on it: no optimizer shall move it
                p.grad = None
        self.world.copy([p.grad for p in self.parameters.values() if p.grad is not None])
        self.world.copy(_statistics(self.encoder.model))

    def unify(self) -> None:
        """Have the model and what the loss learns as they are in the first process."""
        self.world.copy([*self.encoder.model.state_dict().values(), *self.parameters.values()])

    def update(self) -> None:
        """Clip the slopes and update."""
        self._update()

    def _trained(self) -> list[torch.nn.Parameter]:
        own = [optimizer for name, optimizer in self.optimizers.items() if name != 'loss']
        return [p for optimizer in own for group in optimizer.param_groups for p in group['params']]
