"""What a Paddle layer really calls, seen by hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from finetuner.backends.paddle import paddle
from finetuner.backends.paddle.encoder import Encoder
from finetuner.backends.paddle.parts import TENSORS, layers_of, loose, statistics, weights
from finetuner.errors import ModelError
from finetuner.inference import leaves, length
from finetuner.tailor.layers import PARAMETER, Call, dtype_of, main_key, uncallable
from finetuner.typing import Inputs


def main(output: Any) -> Any:
    """The main tensor of a layer's output; None if it has none."""
    try:
        key = main_key(output, TENSORS)
    except LookupError:
        return None
    return output if key is None else output[key]


def calls(model: Any, inputs: Inputs) -> list[Call]:
    """All calls of one pass in evaluation mode, in the order in which they end."""
    batch = length(inputs)
    seen: list[tuple[str, Any, tuple[int | None, ...] | None, str]] = []
    once: set[str] = set()

    def entered(path: str, own: dict[str, Any]) -> Callable[..., None]:
        def hook(layer: Any, _: Any) -> None:
            for name, parameter in own.items():
                full = f'{path}.{name}' if path else name
                if full not in once:
                    once.add(full)
                    seen.append((full, parameter, tuple(parameter.shape), dtype_of(parameter)))

        return hook

    def ended(path: str) -> Callable[..., None]:
        def hook(layer: Any, _: Any, output: Any) -> None:
            tensor = main(output)
            if tensor is None:
                seen.append((path, layer, None, ''))
                return
            first, *rest = tensor.shape or (0,)
            shape = (None if first == batch else first, *rest) if tensor.ndim else ()
            seen.append((path, layer, shape, dtype_of(tensor)))

        return hook

    with watched(model, ended, lambda path, layer: entered(path, loose(layer))):
        run(model, inputs)
    found = []
    for path, thing, shape, dtype in seen:
        alone = isinstance(thing, paddle.Tensor)
        own = [thing] if alone else list(weights(thing).values())
        kind = PARAMETER if alone else type(thing).__name__
        numbers, trained = sum(int(p.size) for p in own), any(not p.stop_gradient for p in own)
        found.append(Call(path, kind, shape, dtype, numbers, trained))
    return found


def watch(layer: Any, hook: Callable[..., None]) -> Any:
    """Call the hook after a layer, but before those that end the model there (`ends`); gives what removes it."""
    handle = layer.register_forward_post_hook(hook)
    hooks = layer._forward_post_hooks
    for key in [key for key, other in hooks.items() if getattr(other, 'ends', False) and other is not hook]:
        hooks.move_to_end(key)
    return handle


@contextmanager
def watched(model: Any, ended: Any, entered: Any = None) -> Iterator[None]:
    """Where every layer tells of its calls.

    Args:
        model: with its layers.
        ended: makes the hook that follows a layer's calls, from its path.
        entered: makes the hook that precedes them, from path and layer.
    """
    handles = []
    try:
        for path, layer in layers_of(model).items():
            handles.append(watch(layer, ended(path)))
            if entered is not None:
                handles.append(layer.register_forward_pre_hook(entered(path, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def undisturbed(model: Any, training: bool = False) -> Iterator[None]:
    """Calls in here leave modes, statistics and chance as they were; the same chance is drawn each time."""
    layers = model.sublayers(include_self=True)
    modes = [(layer, layer.training) for layer in layers]
    buffers = [(layer, dict(layer._buffers)) for layer in layers]
    moving = [layer._parameters[name] for layer in layers for name in statistics(layer)]
    kept = [(value, value.clone()) for value in (*model.buffers(), *moving) if value._is_initialized()]
    devices = {'cpu', paddle.device.get_device().partition(':')[0]}
    chance = [(device, paddle.get_rng_state(device)) for device in devices]
    translator = paddle.jit.dy2static.program_translator.ProgramTranslator()
    compiles = translator.enable_to_static
    for layer in layers:
        layer.training = training
    try:
        translator.enable(False)  # hooks see nothing of what is compiled
        with paddle.no_grad():
            paddle.seed(0)
            yield
    finally:
        translator.enable(compiles)
        for device, state in chance:
            paddle.set_rng_state(state, device)
        for value, before in kept:
            value.set_value(before)
        for layer, own in buffers:  # another tensor may have been put in their place
            layer._buffers.update(own)
        for layer, mode in modes:
            layer.training = mode


def run(model: Any, inputs: Inputs, training: bool = False) -> Any:
    """What a model gives.

    Raises:
        ModelError: it cannot be called with these inputs; says what was given.
    """
    try:
        with undisturbed(model, training):
            coder = Encoder(model)
            return coder.call(leaves(lambda x: x.clone(), coder.native(inputs)))  # it may write into them
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise uncallable(inputs, f'{type(error).__name__}: {_said(error)}') from error


def _said(error: Exception) -> str:
    # Paddle puts the calls in C++ before what it has to say, and the place in its own source behind it.
    said = str(error).rpartition('Error Message Summary:')[2].partition('(at /paddle')[0]
    return ' '.join(said.strip('-\n ').split()).rstrip('.')


def activation(model: Any, inputs: Inputs, at: str, call: int, training: bool = False) -> tuple[Any, Any]:
    """The main tensor that a layer gave in a call, and its whole output."""
    found: list[Any] = []

    def ended(layer: Any, _: Any, output: Any) -> None:
        tensor = main(output)
        # As it is now: the next layer may write into it.
        found.append((tensor if tensor is None else tensor.clone(), output))

    handle = watch(layers_of(model)[at], ended)
    try:
        run(model, inputs, training)
    finally:
        handle.remove()
    if len(found) < call:
        raise ModelError(f'{at} ran {len(found)} times with these inputs, and its call {call} was asked for.')
    return found[call - 1]


def entered_until(model: Any, inputs: Inputs, at: str, call: int) -> list[str]:
    """The paths of the layers that were entered before a call of a layer ended, in this order, with repetitions."""
    entered: list[str] = []
    ends: list[int] = []

    def ended(path: str) -> Callable[..., None]:
        return lambda layer, args, output: ends.append(len(entered)) if path == at else None

    with watched(model, ended, lambda path, _: lambda layer, args: entered.append(path)):
        run(model, inputs)
    return entered[: ends[call - 1]]


def same_tensor(model: Any, inputs: Inputs, at: str, call: int) -> tuple[str, int]:
    """The last call of a layer within a call that gave the very tensor that is this one's main one; else this one."""
    seen: list[tuple[str, Any]] = []

    def ended(path: str) -> Callable[..., None]:
        return lambda layer, args, output: seen.append((path, main(output)))

    with watched(model, ended):
        run(model, inputs)
    end = [i for i, (path, _) in enumerate(seen) if path == at][call - 1]
    row = max((i for i in range(end) if seen[i][1] is seen[end][1]), default=end)
    path = seen[row][0]
    return path, sum(other == path for other, _ in seen[: row + 1])
