"""How a model is run while it is trained: in which precision, compiled or not, which activations are kept.

Weights, optimizer, embeddings, loss and evaluation are in float32 whatever is chosen here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetuner.console import logger
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, enumerated, nearest
from finetuner.inference import Encoder
from finetuner.tuner import cpu
from finetuner.tuner.schedule import is_transformer

PRECISIONS = ('auto', '32', 'bf16', '16')
LARGE = 5_000_000
"""From so many weights on a transformer gains from bf16 on a CPU."""


@dataclass(frozen=True)
class Execution:
    """How the model is run in training mode; see `finetuner.fit` for what the fields mean. `devices` are all of them.

    >>> str(Execution('bf16', compile=True))
    'bf16, compiled'
    """

    precision: str = '32'
    compile: bool = False
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    devices: int = 1

    def __str__(self) -> str:
        said = ['float32' if self.precision == '32' else {'16': 'float16'}.get(self.precision, self.precision)]
        said += ['compiled'] if self.compile else []
        said += ['gradient checkpointing'] if self.gradient_checkpointing else []
        return ', '.join(said + ([f'{self.devices} devices'] if self.devices > 1 else []))


def resolve(
    precision: Any,
    compile: Any,
    gradient_checkpointing: Any,
    coder: Encoder,
    group_by_length: Any = None,
    devices: int = 1,
) -> Execution:
    """What was asked for, with a precision chosen where it was left open.

    Args:
        precision: one of `PRECISIONS`; None is 'auto'.
        compile: as in `finetuner.fit`.
        gradient_checkpointing: as in `finetuner.fit`.
        coder: the model, placed on its device.
        group_by_length: as in `finetuner.fit`.
        devices: how many train it, in all.

    Raises:
        ArgumentError: there is no such value, or the framework cannot do it here; says what to do instead.
    """
    for name, value in (('compile', compile), ('gradient_checkpointing', gradient_checkpointing)):
        if not isinstance(value, bool):
            raise ArgumentError(f'{name}={value!r}: expected True or False.')
    wanted = 'auto' if precision is None else str(precision)
    if wanted not in PRECISIONS:
        raise ArgumentError(f'precision={precision!r}. {nearest(wanted, PRECISIONS)}')
    part = load(coder.framework, 'execution')
    if compile and (why := part.no_compile()):
        raise ArgumentError(f'compile=True: {why}')
    if gradient_checkpointing and (why := part.no_checkpointing(coder.model)):
        raise ArgumentError(f'gradient_checkpointing=True: {why}')
    if group_by_length not in (None, True, False):
        raise ArgumentError(f'group_by_length={group_by_length!r}: expected True, False or None.')
    why = _no_groups(coder, compile)
    if group_by_length and why:
        raise ArgumentError(f'group_by_length=True: {why} Leave it out.')
    if wanted == 'auto':
        wanted = 'bf16' if _gains(part, coder) else '32'
    elif wanted != '32':
        _check(wanted, part, coder)
    grouped = why is None and group_by_length is not False
    return Execution(wanted, compile, gradient_checkpointing, grouped, devices)


def of_what_trains(running: Execution, precision: Any, coder: Encoder) -> Execution:
    """The same with a precision for the part that is trained, where it was left open and not the whole model is run.

    Args:
        running: for the whole model.
        precision: as it was asked for.
        coder: the model.
    """
    if coder.upper is None or precision not in (None, 'auto'):
        return running
    gains = _gains(load(coder.framework, 'execution'), coder.upper)
    return replace(running, precision='bf16' if gains else '32')


def _no_groups(coder: Encoder, compile: bool) -> str | None:
    # Why a batch of texts cannot be trained on in groups.
    if coder.framework == 'keras':
        return 'Keras trains on whole batches.'
    if compile or coder.shapes_matter:
        return 'what is compiled is compiled for each shape of a group.'
    norms = sorted({name for name in coder.layers() if 'BatchNorm' in name})
    return f'{enumerated(norms)} would normalise every group by itself.' if norms else None


def _check(precision: str, part: Any, coder: Encoder) -> None:
    on_cpu = coder.device == 'cpu'
    why: str | None = part.no_precision(precision, coder.model, coder.device)
    if on_cpu and precision == '16' and why is None:
        why = "float16 is for GPUs. A CPU computes in bf16, if in less than float32: precision='bf16'."
    if why is not None:
        raise ArgumentError(f'precision={precision!r}: {why}')
    if on_cpu and not cpu.multiplies_bf16():
        logger.warning('This CPU has no units for matrices of bf16 (AMX): bf16 is slower here than float32.')


def _gains(part: Any, coder: Encoder) -> bool:
    if not part.bf16_is_faster(coder.device) or part.no_precision('bf16', coder.model, coder.device) is not None:
        return False
    return coder.device != 'cpu' or (cpu.multiplies_bf16() and _large(coder.layers(), coder))


def _large(layers: Sequence[str], coder: Encoder) -> bool:
    return is_transformer(list(layers)) and coder.size() >= LARGE
