"""Paddle in several processes of `paddle.distributed.launch`, on gloo between CPUs and NCCL between GPUs."""

from collections.abc import Callable, Sequence
from typing import Any

from finetuner import world
from finetuner.backends.paddle import paddle
from finetuner.errors import ArgumentError
from finetuner.typing import Inputs
from finetuner.world import Launched


class World(world.World):
    """Processes of the launcher.

    Args:
        started: what it says.
        device: where this process computes.
    """

    def __init__(self, started: Launched, device: str) -> None:
        self.rank, self.size, self.device = started.rank, started.size, device

    def gather(self, rows: Any, n: int) -> Any:
        places = [self.place(n, rank) for rank in range(self.size)]
        sizes = [place.stop - place.start for place in places]
        missing = max(sizes) - rows.shape[0]  # blocks of one length are gathered
        even = paddle.concat([rows, paddle.zeros([missing, rows.shape[1]], rows.dtype)]) if missing else rows
        found: list[Any] = []
        paddle.distributed.all_gather(found, even)
        return paddle.concat([block[:size] for block, size in zip(found, sizes, strict=True)])

    def add(self, tensors: Sequence[Any]) -> None:
        self._exchange(paddle.distributed.all_reduce, tensors)

    def copy(self, tensors: Sequence[Any]) -> None:
        self._exchange(lambda flat: paddle.distributed.broadcast(flat, 0), tensors)

    def _exchange(self, talk: Callable[[Any], Any], tensors: Sequence[Any]) -> None:
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in one order in all processes
            own = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = paddle.concat([tensor.detach().reshape([-1]) for tensor in own])
            talk(flat)
            start = 0
            for tensor in own:
                tensor.set_value(flat[start : start + tensor.size].reshape(tensor.shape))
                start += tensor.size

    def most(self, number: int) -> int:
        found = paddle.to_tensor([number], dtype='int64')
        paddle.distributed.all_reduce(found, op=paddle.distributed.ReduceOp.MAX)
        return int(found.item())


def join(started: Launched, device: str | None) -> World:
    """Meet the other processes of the launcher.

    Raises:
        ArgumentError: there are fewer GPUs than processes, or the launcher started them for other devices.
    """
    gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    device = world.kind_of_device(started, device, gpus)
    if device == 'cpu' and gpus:
        raise ArgumentError(
            "device='cpu', and paddle.distributed.launch started these processes for GPUs, between which they talk. "
            'Start them with: python -m paddle.distributed.launch --devices cpu.'
        )
    own = f'cuda:{paddle.distributed.ParallelEnv().device_id}' if device == 'cuda' else 'cpu'
    paddle.set_device(own.replace('cuda', 'gpu'))
    paddle.distributed.init_parallel_env()
    return World(started, own)


class Several:
    """What the training step of one process must also do among several; the attributes are those of `Tuner`."""

    encoder: Any
    optimizers: dict[str, Any]
    parameters: dict[str, Any]
    world: Any
    _embeddings: Any
    _statistics: Any
    _update: Any

    def attached(self, inputs: Inputs) -> Any:
        """The embeddings of some rows, with their graph."""
        return self._embeddings(inputs)

    def draw(self, embeddings: Any, slopes: Any) -> None:
        """Add the slopes of the weights that come of those of the embeddings."""
        embeddings.backward(slopes)

    def forget(self) -> None:
        """Have no slopes of the model's weights."""
        for p in self._of_model():
            p.clear_gradient(False)

    def unite(self) -> None:
        """Add up the slopes of the model's weights; what else a step changes is as in the first process."""
        trained = self._of_model()
        reached = paddle.to_tensor([float(p.grad is not None) for p in trained])
        for p in trained:
            if p.grad is None:
                p.grad = paddle.zeros_like(p)
        slopes = [p.grad for p in trained]
        self.world.add([*slopes, reached])
        for p, slope, processes in zip(trained, slopes, reached.tolist(), strict=True):
            p.grad = slope if processes else None  # of None the loss does not depend: no optimizer shall move it
        learned = [p for p in self.parameters.values() if p.grad is not None]
        slopes = [p.grad for p in learned]
        self.world.copy(slopes)
        for p, slope in zip(learned, slopes, strict=True):
            p.grad = slope
        saved = {id(value) for value in self.encoder.model.state_dict().values()}  # others are caches of own rows
        self.world.copy([value for value in self._statistics() if id(value) in saved])

    def unify(self) -> None:
        """Have the model and what the loss learns as they are in the first process."""
        held = [value for value in self.encoder.model.state_dict().values() if value._is_initialized()]
        self.world.copy([*held, *self.parameters.values()])

    def update(self) -> None:
        """Clip the slopes and update."""
        self._update()

    def _of_model(self) -> list[Any]:
        # Weights that an optimizer of the model moves, also where it was given them in groups.
        own = [optimizer for name, optimizer in self.optimizers.items() if name != 'loss']
        groups = [one for optimizer in own for one in optimizer._param_groups]
        return [p for one in groups for p in (one['params'] if isinstance(one, dict) else [one])]
