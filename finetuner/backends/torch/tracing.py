"""What a PyTorch module really calls, seen by hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from finetuner.backends.torch.encoder import Encoder
from finetuner.errors import ModelError
from finetuner.inference import length
from finetuner.tailor.layers import PARAMETER, Call, dtype_of, main_key, uncallable
from finetuner.typing import Inputs


def main(output: Any) -> torch.Tensor | None:
    """The main tensor of a layer's output, if it has one."""
    try:
        key = main_key(output, torch.Tensor)
    except LookupError:
        return None
    return output if key is None else output[key]


def calls(model: nn.Module, inputs: Inputs) -> list[Call]:
    """All calls of one pass in evaluation mode, in the order in which they end."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise ModelError('What runs inside a TorchScript module cannot be seen: give the module it was made from.')
    if hasattr(model, '_orig_mod'):
        raise ModelError('What torch.compile made cannot be seen into: give the module itself, and compile the result.')
    if any(
        is_lazy(weight) for weight in (*model.parameters(), *model.buffers())
    ):  # of nn.LazyLinear, whose shape the first batch decides
        try:
            Encoder(model).forward(inputs)
        except Exception as error:
            raise uncallable(inputs, f'{type(error).__name__}: {error}') from error
    modules = dict(model.named_modules())
    batch = length(inputs)
    seen: list[tuple[str, Any, tuple[int | None, ...] | None, str]] = []

    once: set[str] = set()

    def entered(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any) -> None:
            for name, parameter in module.named_parameters(path, recurse=False):
                if name not in once:
                    once.add(name)
                    seen.append((name, parameter, tuple(parameter.shape), dtype_of(parameter)))

        return hook

    def ended(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            tensor = main(output)
            if tensor is None:
                seen.append((path, module, None, ''))
                return
            first, *rest = tensor.shape or (0,)
            shape = (None if first == batch else first, *rest) if tensor.ndim else ()
            seen.append((path, module, shape, dtype_of(tensor)))

        return hook

    with hooked():
        handles = []
        try:
            for path, module in modules.items():
                handles.append(module.register_forward_hook(ended(path)))
                if next(module.children(), None) is not None:
                    handles.append(module.register_forward_pre_hook(entered(path)))
            run(model, inputs)
        finally:
            for handle in handles:
                handle.remove()
    found = []
    for path, thing, shape, dtype in seen:
        own = [thing] if isinstance(thing, nn.Parameter) else list(thing.parameters())
        kind = PARAMETER if isinstance(thing, nn.Parameter) else type(thing).__name__
        numbers, trained = sum(p.numel() for p in own), any(p.requires_grad for p in own)
        found.append(Call(path, kind, shape, dtype, numbers, trained))
    return found


@contextmanager
def hooked() -> Iterator[None]:
    """Where the layers within `nn.TransformerEncoderLayer` are called one by one, as they are in training."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def undisturbed(model: nn.Module, training: bool = False) -> Iterator[None]:
    """Calls in here leave modes, statistics and chance as they were; the same chance is drawn each time."""
    modes = [(module, module.training) for module in model.modules()]
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [p.device for p in model.parameters() if p.device.type == 'cuda'][:1]
    model.train(training)
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), hooked():
            torch.manual_seed(0)
            yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        for module, mode in modes:
            module.training = mode


def run(model: nn.Module, inputs: Inputs, training: bool = False) -> Any:
    """What a model gives.

    Raises:
        ModelError: it cannot be called with these inputs; says what was given.
    """
    try:
        with undisturbed(model, training):
            return Encoder(model).call(inputs)
    except ModelError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise uncallable(inputs, f'{type(error).__name__}: {error}') from error


def activation(
    model: nn.Module, inputs: Inputs, at: str, call: int, training: bool = False
) -> tuple[torch.Tensor | None, Any]:
    """A copy of the main tensor that a layer gave in a call, and its whole output."""
    found: list[tuple[torch.Tensor | None, Any]] = []

    def record(module: nn.Module, _: Any, output: Any) -> None:
        tensor = main(output)
        # A copy, because ReLU(inplace=True) may follow.
        found.append((None if tensor is None else tensor.clone(), output))

    handle = model.get_submodule(at).register_forward_hook(record)
    try:
        run(model, inputs, training)
    finally:
        handle.remove()
    if len(found) < call:
        raise ModelError(f'{at} ran {len(found)} times with these inputs, and its call {call} was asked for.')
    return found[call - 1]


def entered_until(model: nn.Module, inputs: Inputs, at: str, call: int) -> list[str]:
    """The paths of the modules that were entered before a call of a layer ended, in this order, with repetitions."""
    entered: list[str] = []
    ends: list[int] = []
    handles = []
    try:
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda module, args, path=path: entered.append(path)))
        target = model.get_submodule(at)
        handles.append(target.register_forward_hook(lambda module, args, output: ends.append(len(entered))))
        run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return entered[: ends[call - 1]]


def same_tensor(model: nn.Module, inputs: Inputs, at: str, call: int) -> tuple[str, int]:
    """The last call of another layer, within this call of this one, that gave the very same tensor; else this one."""
    seen: list[tuple[str, torch.Tensor | None]] = []
    handles = []
    try:
        for path, module in model.named_modules():
            handles.append(
                module.register_forward_hook(lambda module, args, output, path=path: seen.append((path, main(output))))
            )
        run(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    end = [i for i, (path, _) in enumerate(seen) if path == at][call - 1]
    rows = [i for i, (path, tensor) in enumerate(seen[:end]) if path != at and tensor is seen[end][1]]
    if not rows:
        return at, call
    path = seen[rows[-1]][0]
    return path, sum(other == path for other, _ in seen[: rows[-1] + 1])
