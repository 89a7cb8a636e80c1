"""The products of a search in PyTorch, on a device."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from finetuner.evaluation.engines import Best, Numpy, plenty
from finetuner.inference import wanted_device


def engine(device: str | None = None) -> Numpy:
    """Of a device; None takes a GPU if there is one.

    Raises:
        ArgumentError: there is no such device.
    """
    chosen = wanted_device(device, torch.cuda.is_available(), 'PyTorch')
    return Host() if chosen == 'cpu' else Device(chosen)


class Host(Numpy):
    """PyTorch's product on the CPU; numpy chooses among the scores, which it does faster."""

    name = 'torch'

    def product(self, queries, tile):
        with _exactly('cpu'):
            return (torch.from_numpy(queries) @ torch.from_numpy(tile).T).numpy()


class Device(Numpy):
    """Products and choice on a device; only what was chosen is copied back."""

    name = 'torch'

    def __init__(self, device: str) -> None:
        self.device = device

    def place(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rows).to(self.device)

    def last(self, scores: torch.Tensor, k: int) -> torch.Tensor:
        """(B,) the k-th highest of each row."""
        return scores.topk(k, dim=1, sorted=False).values.amin(dim=1)

    def best(self, queries, tile, k, bound, slack) -> Best:
        with _exactly(torch.device(self.device).type):
            scores = queries @ tile.T
            least = self.place(bound)
            if k < scores.shape[1] and np.isneginf(bound).any():
                least = torch.maximum(least, self.last(scores, k) - self.place(slack))
            rows, columns = torch.nonzero(scores >= least[:, None], as_tuple=True)
            if k < scores.shape[1] and len(rows) > len(scores) * plenty(k):
                least = torch.maximum(least, self.last(scores, k) - self.place(slack))
                rows, columns = torch.nonzero(scores >= least[:, None], as_tuple=True)
            return rows.cpu().numpy(), columns.cpu().numpy(), scores[rows, columns].cpu().numpy()


@contextmanager
def _exactly(device: str) -> Iterator[None]:
    # A program that allows TF32 or bfloat16 in its products means its model; here errors must be those of float32.
    with torch.no_grad(), torch.autocast(device, enabled=False):
        before = _precisions()
        _allow(dict.fromkeys(before, 'ieee'))
        try:
            yield
        finally:
            _allow(before)


def _precisions() -> dict[str, str]:
    if not hasattr(torch.backends.mkldnn, 'matmul'):  # before PyTorch 2.9
        return {'': torch.get_float32_matmul_precision()}
    return {name: getattr(torch.backends, name).matmul.fp32_precision for name in ('cuda', 'mkldnn')}


def _allow(precisions: dict[str, str]) -> None:
    for name, precision in precisions.items():
        if not name:
            torch.set_float32_matmul_precision('highest' if precision == 'ieee' else precision)
            continue
        matmul = getattr(torch.backends, name).matmul
        for value in ('none', precision):  # what is inherited must not become a setting of its own
            if matmul.fp32_precision != precision:
                matmul.fp32_precision = value
