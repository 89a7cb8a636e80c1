"""How a model is run while it is trained: in which precision, compiled or not, which activations are kept.

Weights, optimizer, embeddings, loss and evaluation are in float32 whatever is chosen here.
"""

from dataclasses import dataclass, replace
from typing import Any

from finetuner import precision as precisions
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, enumerated
from finetuner.inference import Encoder


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
        precision: one of `finetuner.precision.PRECISIONS`; None is 'auto'.
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
    wanted = precisions.named(precision)
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
        wanted = 'bf16' if precisions.gains(coder) else '32'
    elif wanted != '32':
        precisions.check(wanted, coder)
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
    return replace(running, precision='bf16' if precisions.gains(coder.upper) else '32')


def _no_groups(coder: Encoder, compile: bool) -> str | None:
    # Why a batch of texts cannot be trained on in groups.
    if coder.framework == 'keras':
        return 'Keras trains on whole batches.'
    if compile or coder.shapes_matter:
        return 'what is compiled is compiled for each shape of a group.'
    norms = sorted({name for name in coder.layers() if 'BatchNorm' in name})
    return f'{enumerated(norms)} would normalise every group by itself.' if norms else None
