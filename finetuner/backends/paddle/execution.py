"""Precision, compilation and gradient checkpointing of a Paddle layer."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from finetuner.backends.paddle import paddle

FLAG = 'enable_recompute'


def no_precision(precision: str, model: Any, device: str, training: bool = True) -> str | None:
    """Why the layer cannot compute in 'bf16' or '16' on a device, to be trained or to encode; None if it can."""
    if device == 'cpu':
        return (
            "on a CPU Paddle's own auto_cast does nothing and says nothing: all is computed in float32. Leave it out."
        )
    if precision == '16' and training:
        return "float16 needs a loss that is scaled, which is not done here for Paddle. precision='bf16' needs none."
    other = sorted({str(p.dtype) for p in model.parameters() if p.is_floating_point()} - {'paddle.float32'})
    if other:
        return f"expected weights in float32, got {', '.join(other)}. Call model.float(), or take precision='32'."
    return None


def bf16_is_faster(device: str) -> bool:
    """Whether a model is trained faster in bf16 on a device."""
    if device == 'cpu':
        return False
    number = int(device.partition(':')[2] or 0)
    return bool(paddle.device.cuda.get_device_capability(number)[0] >= 8)


def computing(precision: str) -> AbstractContextManager[Any]:
    """In here, layers compute in a precision; never run on a GPU so far."""
    if precision == '32':
        return nullcontext()
    dtype = 'float16' if precision == '16' else 'bfloat16'
    return paddle.amp.auto_cast(dtype=dtype, level='O1')  # type: ignore[no-any-return]


def no_compile() -> str | None:
    """Why nothing can be compiled; None if it can."""
    return None


def compiled(model: Any) -> Callable[..., Any]:
    """The forward of a layer compiled; the layer itself stays as it is."""
    return paddle.jit.to_static(model.forward, full_graph=True)


def no_checkpointing(model: Any) -> str | None:
    """Why the layer cannot compute activations again; None if it can."""
    if _offering(model):
        return None
    return (
        f'expected layers with the switch {FLAG}, as those of PaddleNLP have it; {type(model).__name__} has none. '
        f'Leave it out, and take mini_batch_size=… to save memory.'
    )


def recompute(model: Any) -> Callable[[], None]:
    """Have the layers compute activations again; gives what switches it off as it was."""
    found = [(layer, layer.enable_recompute) for layer in _offering(model)]
    for layer, _ in found:
        layer.enable_recompute = True

    def undo() -> None:
        for layer, before in found:
            layer.enable_recompute = before

    return undo


def _offering(model: Any) -> list[Any]:
    return [layer for layer in model.sublayers(include_self=True) if isinstance(vars(layer).get(FLAG), bool)]
