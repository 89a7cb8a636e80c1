"""Three ways to end a PyTorch module at one of its layers; the first that gives the same numbers is taken.

1. structural: the modules that only run later become `nn.Identity`, or leave their `nn.Sequential`. The class stays.
2. graph: torch.fx lists the operations, and only those that the layer depends on are kept.
3. wrapper: the forward is stopped at the layer. It works for every module.
"""

import copy
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from finetuner.backends.torch.encoder import Encoder
from finetuner.backends.torch.stopped import CutOff, Stopped
from finetuner.backends.torch.tracing import activation, entered_until, main, run, same_tensor, undisturbed
from finetuner.errors import ModelError
from finetuner.inference import leaves
from finetuner.tailor.base import Cut
from finetuner.tailor.layers import inside, main_key, topmost
from finetuner.typing import Inputs


def cut(model: nn.Module, at: str, call: int, inputs: Inputs) -> Cut:
    """See `finetuner.tailor.base.Tailor.cut`."""
    if any(weight.is_meta for weight in model.parameters()):
        raise ModelError(
            'The model is on the meta device, where weights have no numbers: load it with its weights, or make them '
            "with model.to_empty(device='cpu')."
        )
    inputs = Encoder(model).native(inputs)
    tensor, output = activation(model, inputs, at, call)
    if tensor is None:
        raise ModelError(f'{at or "The model"} gives a {type(output).__name__} and no tensor: it cannot be cut there.')
    if output is main(output) and not at:
        return Cut(model, 'whole')
    checks = _expected(model, inputs, at, call)
    places = [(at, call)]
    if output is not main(output):  # a pooler beside it need not run
        places.insert(0, same_tensor(model, inputs, at, call))
    reasons: list[str] = []
    for place in dict.fromkeys(places):
        found = _cut(model, *place, inputs, checks, reasons)
        if found is not None:
            return found
    raise ModelError(f'No way of cutting at {at!r} gives the same numbers. {"; ".join(dict.fromkeys(reasons))}')


def _cut(model: nn.Module, at: str, call: int, inputs: Inputs, checks: Sequence[Any], reasons: list[str]) -> Cut | None:
    unused = _unused(model, inputs, at, call)
    key = main_key(activation(model, inputs, at, call)[1], torch.Tensor)
    for way, make in _WAYS:
        try:
            with warnings.catch_warnings(action='ignore'):  # of what is only tried
                candidate = make(model, at, call, key, unused)
                for batch, training, expected in checks:
                    _verify(run(candidate, batch, training), expected)
                if way == 'structural':
                    _check_the_end(candidate, inputs, at, call)
            return Cut(candidate, way)
        except Exception as error:  # a model that is cut wrong can do anything
            reasons.append(f'{way}: {type(error).__name__}: {error}')
    return None


def _expected(model: nn.Module, inputs: Inputs, at: str, call: int) -> list[tuple[Inputs, bool, torch.Tensor]]:
    # On other inputs, because a function after the cut may change nothing on these; in training mode, because a dropout
    # that is a function does not show otherwise, nor does a mode that was baked in.
    found = [(inputs, False, activation(model, inputs, at, call)[0])]
    for batch, training in (
        (leaves(_altered, inputs), False),
        (leaves(lambda x: x[:1], inputs), False),
        (inputs, True),
    ):
        try:
            found.append((batch, training, activation(model, batch, at, call, training)[0]))
        except Exception:  # what the model itself cannot do, the cut one need not
            continue
    return found


def _altered(x: Any) -> Any:
    if not isinstance(x, torch.Tensor) or not x.ndim:
        return x
    return -1.7 * x.flip(0) if x.is_floating_point() else x.flip(0)


def _verify(got: Any, expected: torch.Tensor) -> None:
    if not isinstance(got, torch.Tensor) or got.shape != expected.shape or got.dtype != expected.dtype:
        what = tuple(got.shape) if isinstance(got, torch.Tensor) else type(got).__name__
        raise ModelError(f'gives {what} in place of {tuple(expected.shape)}')
    finite = expected[expected.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    if not torch.allclose(got, expected, rtol=1e-6, atol=1e-6 * max(scale, 1e-6), equal_nan=True):
        raise ModelError('gives other numbers')


def _check_the_end(candidate: nn.Module, inputs: Inputs, at: str, call: int) -> None:
    before = entered_until(candidate, inputs, at, call)
    every = entered_until(candidate, inputs, '', 1)
    later = [path for path in every[len(before) :] if not isinstance(candidate.get_submodule(path), nn.Identity)]
    if later:
        raise ModelError(f'{later[0]} still runs after the cut')


def skeleton(model: nn.Module) -> nn.Module:
    """A module of other objects with the same weights and statistics."""
    return copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())})


def _unused(model: nn.Module, inputs: Inputs, at: str, call: int) -> tuple[str, ...]:
    # Paths of modules, and of parameters that a module holds by itself, which are used after the cut and not before it.
    # Slopes show what is used without a call. What is used nowhere stays: other inputs may take the way to it.
    before = set(entered_until(model, inputs, at, call))
    later = set(entered_until(model, inputs, '', 1)) - before
    early, late = _reached(model, inputs, at, call), _reached(model, inputs, '', 1)
    late -= early
    owned = {id(p) for path in before for p in model.get_submodule(path).parameters(recurse=False)}
    named = list(model.named_parameters(remove_duplicate=False))
    needed = [*before, *(name for name, p in named if name in early and id(p) not in owned)]
    idle = []
    for path, module in model.named_modules(remove_duplicate=False):
        after = path in later or any(f'{path}.{name}' in late for name, _ in module.named_parameters())
        if path and after and not any(inside(name, path) for name in needed):
            idle.append(path)
    whole = topmost(idle)
    composite = {path for path, module in model.named_modules() if next(module.children(), None) is not None}
    loose = [name for name, _ in named if name in late and name.rpartition('.')[0] in composite]
    return (*whole, *(name for name in loose if not any(inside(name, path) for path in whole)))


def _reached(model: nn.Module, inputs: Inputs, at: str, call: int) -> set[str]:
    # The parameters that the output of a layer depends on, frozen ones too; all of them where that cannot be said.
    twins = {id(p): nn.Parameter(p.detach(), p.is_floating_point()) for p in model.parameters()}
    probe = copy.deepcopy(model, {**twins, **{id(b): b for b in model.buffers()}})
    names, weights = zip(*[(n, p) for n, p in probe.named_parameters(remove_duplicate=False)], strict=True)
    found: list[Any] = []
    handle = probe.get_submodule(at).register_forward_hook(lambda module, args, output: found.append(output))
    try:
        with undisturbed(probe), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            Encoder(probe).call(inputs)
            tensors: list[torch.Tensor] = []
            leaves(lambda x: tensors.append(x) if isinstance(x, torch.Tensor) else None, found[call - 1])
            total = sum(t.double().sum() for t in tensors if t.is_floating_point())
            slopes = torch.autograd.grad(total, [p for p in weights if p.requires_grad], allow_unused=True)
    except (RuntimeError, TypeError, AttributeError):  # nothing that can be differentiated
        return set(names)
    finally:
        handle.remove()
    with_slope = iter(slopes)
    return {name for name, p in zip(names, weights, strict=True) if not p.requires_grad or next(with_slope) is not None}


def _dropped(model: nn.Module, unused: Sequence[str], stand_in: type[nn.Module]) -> nn.Module:
    model = skeleton(model)
    for path in unused:
        place, _, name = path.rpartition('.')
        parent = model.get_submodule(place)
        setattr(parent, name, None if name in parent._parameters else stand_in().train(parent.training))
    return model


def _structural(model: nn.Module, at: str, call: int, key: Any, unused: Sequence[str]) -> nn.Module:
    candidate = _dropped(model, unused, nn.Identity)
    for path, module in candidate.named_modules():
        # A Sequential ends where the rest is not used; a subclass may have a forward of its own.
        if type(module).forward is nn.Sequential.forward:
            names = list(module._modules)
            while names and (f'{path}.{names[-1]}' if path else names[-1]) in unused:
                del module._modules[names.pop()]
    return candidate


class _Tracer(fx.Tracer):
    # The layer is one operation, whatever is in it.

    def __init__(self, at: str = '') -> None:  # without arguments where a pickled graph is read
        super().__init__()
        self.at = at

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # Hooks would be lost if the forward were written out.
        watched = m._forward_hooks or m._forward_pre_hooks
        return module_qualified_name == self.at or bool(watched) or super().is_leaf_module(m, module_qualified_name)


def _graph(model: nn.Module, at: str, call: int, key: Any, unused: Sequence[str]) -> nn.Module:
    root = skeleton(model)
    graph = _Tracer(at).trace(root)
    targets = [node for node in graph.nodes if node.op == 'call_module' and node.target == at]
    if len(targets) < call:
        raise ModelError('the layer is no operation of the graph')
    graph.erase_node(next(node for node in graph.nodes if node.op == 'output'))
    kept, todo = set(), [targets[call - 1]]
    while todo:
        node = todo.pop()
        if node not in kept:
            kept.add(node)
            todo += node.all_input_nodes
    for node in reversed(graph.nodes):
        if node.op != 'placeholder' and node not in kept:
            graph.erase_node(node)
    if any(node.op == 'get_attr' and str(node.target).startswith('_tensor_constant') for node in graph.nodes):
        raise ModelError('tensors made in the forward would be constants, and stay on one device')
    last = targets[call - 1]
    graph.output(last if key is None else graph.call_function(operator.getitem, (last, key)))
    graph.lint()
    made, theirs = fx.GraphModule(root, graph, type(model).__name__), set(root.modules())
    for module in made.modules():  # those that only hold others are new
        if module not in theirs:
            module.training = root.training
    return made


def _stopped(model: nn.Module, at: str, call: int, key: Any, unused: Sequence[str]) -> nn.Module:
    return Stopped(_dropped(model, unused, CutOff), at, call)


def _whole(model: nn.Module, at: str, call: int, key: Any, unused: Sequence[str]) -> nn.Module:
    # Something looks at what is not used, so it stays.
    model = skeleton(model)
    for path in unused:
        place, _, name = path.rpartition('.')
        thing = getattr(model.get_submodule(place), name)
        for parameter in [thing] if isinstance(thing, nn.Parameter) else thing.parameters():
            parameter.requires_grad_(False)
    return Stopped(model, at, call)


_WAYS = (('structural', _structural), ('graph', _graph), ('wrapper', _stopped), ('wrapper', _whole))
