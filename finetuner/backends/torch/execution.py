"""Precision, compilation and gradient checkpointing of a PyTorch module."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from finetuner.errors import ModelError

FLAG, DOES = 'gradient_checkpointing', '_gradient_checkpointing_func'


def autocast(precision: str, device: str) -> Callable[[], AbstractContextManager[None]]:
    """What to call the model in, so that layers that may compute in 'bf16' or '16' do; for '32' it is nothing."""
    if precision == '32':
        return nullcontext
    return partial(torch.autocast, device, torch.float16 if precision == '16' else torch.bfloat16)


def no_precision(precision: str, model: Any, device: str, training: bool = True) -> str | None:
    """Why the model cannot compute in 'bf16' or '16' on a device, to be trained or to encode; None if it can."""
    other = sorted({str(p.dtype) for p in model.parameters() if p.is_floating_point()} - {'torch.float32'})
    if other:
        return f"expected weights in float32, got {', '.join(other)}. Call model.float(), or take precision='32'."
    return None


def bf16_is_faster(device: str) -> bool:
    """Whether a large model is trained faster in bf16 on a device; of CPUs, one with units for it."""
    return device == 'cpu' or torch.cuda.get_device_capability(device)[0] >= 8


def no_compile() -> str | None:
    """Why nothing can be compiled; None if it can."""
    return None


def compiled(model: Any) -> Any:
    """The module compiled, with the dropout of the one that is not; the module itself stays as it is."""
    return torch.compile(model, options={'fallback_random': True})


@contextmanager
def explained(model: Any) -> Iterator[None]:
    """In here, what the compiler cannot do is refused with what to do."""
    try:
        yield
    except torch._dynamo.exc.TorchDynamoException as error:
        said = str(error).strip().partition('\n')[0]
        raise ModelError(
            f'torch.compile cannot compile {type(model).__name__}: {said} Leave compile=True out. On a CPU it needs a '
            f'C++ compiler, such as g++.'
        ) from error


def no_checkpointing(model: Any) -> str | None:
    """Why the model cannot compute activations again; None if it can."""
    if _offering(model):
        return None
    return (
        f'expected a model of transformers that supports it, by itself or within yours; {type(model).__name__} has '
        f'none. Leave it out, and take mini_batch_size=… to save memory.'
    )


def recompute(model: Any) -> Callable[[], None]:
    """Have the model compute activations again; gives what switches it off as it was."""
    parts = [
        (part, {name: vars(part)[name] for name in (FLAG, DOES) if name in vars(part)}) for part in model.modules()
    ]
    for part in _offering(model):
        # Renamed in transformers 5, where the old name warns.
        enable = getattr(part, 'activation_checkpointing_enable', None) or part.gradient_checkpointing_enable
        enable({'use_reentrant': False})

    def undo() -> None:
        for part, before in parts:
            for name in (FLAG, DOES):
                vars(part).pop(name, None)
            vars(part).update(before)

    return undo


def _offering(model: Any) -> list[Any]:
    # The outermost modules that offer it.
    found: list[Any] = []
    for part in model.modules():
        if getattr(part, 'supports_gradient_checkpointing', False) and not any(part in one.modules() for one in found):
            found.append(part)
    return found
