"""In which precision a model computes, for training and encoding: what can be had, and where bf16 is faster.

Weights and vectors are in float32 whatever is chosen.
"""

from collections.abc import Sequence
from typing import Any

from finetuner import cpu
from finetuner.console import logger
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, nearest
from finetuner.inference import Encoder

PRECISIONS = ('auto', '32', 'bf16', '16')
LARGE = 5_000_000
"""From so many weights on a transformer gains from bf16 on a CPU."""


def named(precision: Any) -> str:
    """One of `PRECISIONS`; None is 'auto'.

    Raises:
        ArgumentError: there is no such precision.
    """
    wanted = 'auto' if precision is None else str(precision)
    if wanted not in PRECISIONS:
        raise ArgumentError(f'precision={precision!r}. {nearest(wanted, PRECISIONS)}')
    return wanted


def check(precision: str, coder: Encoder, *, training: bool = True) -> None:
    """Refuse a precision that cannot be had, and warn of one that is slow here.

    Args:
        precision: 'bf16' or '16'.
        coder: the model, placed on its device.
        training: whether it is to be trained so; to encode asks for less.

    Raises:
        ArgumentError: the framework cannot do it here; says what to do instead.
    """
    on_cpu = coder.device == 'cpu'
    why: str | None = load(coder.framework, 'execution').no_precision(precision, coder.model, coder.device, training)
    if on_cpu and precision == '16' and why is None:
        why = "float16 is for GPUs. A CPU computes in bf16, if in less than float32: precision='bf16'."
    if why is not None:
        raise ArgumentError(f'precision={precision!r}: {why}')
    if on_cpu and not cpu.multiplies_bf16():
        logger.warning('This CPU has no units for matrices of bf16 (AMX): bf16 is slower here than float32.')


def gains(coder: Encoder) -> bool:
    """Whether the model can compute in bf16, and gains from it: on a GPU with units for it, or large on such a CPU."""
    part = load(coder.framework, 'execution')
    if not part.bf16_is_faster(coder.device) or part.no_precision('bf16', coder.model, coder.device) is not None:
        return False
    return coder.device != 'cpu' or (cpu.multiplies_bf16() and _large(coder.layers(), coder))


def is_transformer(layers: Sequence[str]) -> bool:
    """Whether there is attention in it, by the class names of the layers."""
    return any('Attention' in name or 'Transformer' in name for name in layers)


def _large(layers: Sequence[str], coder: Encoder) -> bool:
    return is_transformer(layers) and coder.size() >= LARGE
