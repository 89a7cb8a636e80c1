"""Two ways to end a Paddle layer at one of its layers; the first that gives the same numbers is taken.

1. structural: the layers that only run later become `nn.Identity`, or leave their `nn.Sequential`. The class stays.
2. wrapper: the forward is stopped at the layer. It works for every model.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner.backends.paddle import ops, paddle
from finetuner.backends.paddle.encoder import Encoder
from finetuner.backends.paddle.parts import eager, layers_of, loose, weights
from finetuner.backends.paddle.stopped import CutOff, Stopped
from finetuner.backends.paddle.tracing import activation, entered_until, run, same_tensor, undisturbed, watch
from finetuner.errors import ModelError
from finetuner.inference import leaves
from finetuner.tailor.base import Cut
from finetuner.tailor.layers import inside, topmost
from finetuner.typing import Inputs

_nn = paddle.nn


def cut(model: Any, at: str, call: int, inputs: Inputs) -> Cut:
    """See `finetuner.tailor.base.Tailor.cut`."""
    inputs = Encoder(model).native(inputs)
    tensor, output = activation(model, inputs, at, call)
    if tensor is None:
        raise ModelError(f'{at or "The model"} gives a {type(output).__name__} and no tensor: it cannot be cut there.')
    plain = isinstance(output, paddle.Tensor)
    if plain and not at:
        return Cut(model, 'whole')
    checks = _expected(model, inputs, at, call)
    if not plain:  # a pooler beside it need not run
        at, call = same_tensor(model, inputs, at, call)
    unused = _unused(model, inputs, at, call)
    reasons = []
    for way, make in _WAYS:
        try:
            candidate = make(model, at, call, unused)
            for batch, training, expected in checks:
                _verify(run(candidate, batch, training), expected)
            if way == 'structural':
                _check_the_end(candidate, inputs, at, call)
            return Cut(candidate, way)
        except Exception as error:  # a model that is cut wrong can do anything
            reasons.append(f'{way}: {type(error).__name__}: {error}')
    raise ModelError(f'No way of cutting at {at!r} gives the same numbers. {"; ".join(reasons)}')


def _expected(model: Any, inputs: Inputs, at: str, call: int) -> list[tuple[Inputs, bool, Any]]:
    # On other inputs, because a function after the cut may change nothing on these; in training mode, because a dropout
    # that is a function does not show otherwise.
    found = [(inputs, False, activation(model, inputs, at, call)[0])]
    for batch, training in (
        (leaves(_altered, inputs), False),
        (leaves(lambda x: x[:1] if x.ndim else x, inputs), False),
        (inputs, True),
    ):
        try:
            found.append((batch, training, activation(model, batch, at, call, training)[0]))
        except Exception:  # what the model itself cannot do, the cut one need not
            continue
    return found


def _altered(x: Any) -> Any:
    if not x.ndim:
        return x
    return -1.7 * x.flip(0) if x.is_floating_point() else x.flip(0)


def _verify(got: Any, expected: Any) -> None:
    if not isinstance(got, paddle.Tensor) or got.shape != expected.shape or got.dtype != expected.dtype:
        what = tuple(got.shape) if isinstance(got, paddle.Tensor) else type(got).__name__
        raise ModelError(f'gives {what} in place of {tuple(expected.shape)}')
    wanted = ops.to_numpy(expected)
    scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    if not np.allclose(ops.to_numpy(got), wanted, rtol=1e-6, atol=1e-6 * max(scale, 1e-6), equal_nan=True):
        raise ModelError('gives other numbers')


def _check_the_end(candidate: Any, inputs: Inputs, at: str, call: int) -> None:
    before = entered_until(candidate, inputs, at, call)
    every = entered_until(candidate, inputs, '', 1)
    layers = layers_of(candidate)
    later = [path for path in every[len(before) :] if not isinstance(layers[path], _nn.Identity)]
    if later:
        raise ModelError(f'{later[0]} still runs after the cut')


def skeleton(model: Any) -> Any:
    """A layer of other objects with the same weights and statistics."""
    return eager(copy.deepcopy(model, {id(t): t for t in (*model.parameters(), *model.buffers())}))


def _unused(model: Any, inputs: Inputs, at: str, call: int) -> tuple[str, ...]:
    # Paths of layers, and of parameters that a layer holds by itself, which are used after the cut and not before it.
    # Slopes show what is used without a call. What is used nowhere stays: other inputs may take the way to it.
    before = set(entered_until(model, inputs, at, call))
    later = set(entered_until(model, inputs, '', 1)) - before
    early = _reached(model, inputs, at, call)
    late = _reached(model, inputs, '', 1) - early
    first = layers_of(model)
    owned = {id(p) for path in before for p in first[path].parameters(include_sublayers=False)}
    named = list(model.named_parameters(remove_duplicate=False))
    needed = [*before, *(name for name, p in named if id(p) in early - owned)]

    def idle(path: str, layer: Any) -> bool:
        after = path in later or any(id(p) in late for p in layer.parameters())
        return bool(path) and after and not any(inside(name, path) for name in needed)

    layers = list(model.named_sublayers(include_self=True, remove_duplicate=False))
    whole = topmost(path for path, layer in layers if idle(path, layer))
    # Of a layer that is called, those beside its children; of one that only holds them, a ParameterList, all.
    held = [(path, loose(x) if path in before else x._parameters) for path, x in layers]
    alone = [f'{path}.{k}' if path else k for path, own in held for k, p in own.items() if id(p) in late]
    return (*whole, *(name for name in alone if not any(inside(name, path) for path in whole)))


def _reached(model: Any, inputs: Inputs, at: str, call: int) -> set[int]:
    # The weights that the output of a layer depends on, frozen ones too; all of them where that cannot be said.
    own = list(weights(model).values())
    flags = [p.stop_gradient for p in own]
    found: list[Any] = []
    handle = watch(layers_of(model)[at], lambda layer, args, output: found.append(output))
    try:
        with undisturbed(model), paddle.enable_grad():
            for layer in model.sublayers(include_self=True):
                layer.training = isinstance(layer, _nn.layer.rnn.RNNBase)  # Paddle 3.3 has no slope of it otherwise
            for parameter in own:
                parameter.stop_gradient = not parameter.is_floating_point()
            Encoder(model).call(inputs)
            tensors: list[Any] = []
            leaves(lambda x: tensors.append(x) if isinstance(x, paddle.Tensor) else None, found[call - 1])
            total = sum(t.astype('float64').sum() for t in tensors if t.is_floating_point())
            asked = [p for p in own if not p.stop_gradient]
            slopes = paddle.grad([total], asked, allow_unused=True)
    except Exception:  # nothing that can be differentiated
        return {id(p) for p in own}
    finally:
        handle.remove()
        for parameter, flag in zip(own, flags, strict=True):
            parameter.stop_gradient = flag
    none = {id(p) for p, slope in zip(asked, slopes, strict=True) if slope is None}
    return {id(p) for p in own} - none


def _dropped(model: Any, unused: Sequence[str], stand_in: type) -> Any:
    model = skeleton(model)
    for path in unused:
        place, _, name = path.rpartition('.')
        parent = model.get_sublayer(place)
        if name in parent._parameters:
            setattr(parent, name, None)
        else:
            layer = stand_in()
            layer.training = parent.training
            setattr(parent, name, layer)
    return model


def _structural(model: Any, at: str, call: int, unused: Sequence[str]) -> Any:
    candidate = _dropped(model, unused, _nn.Identity)
    for path, layer in layers_of(candidate).items():
        # A Sequential ends where the rest is not used; a subclass may have a forward of its own.
        if type(layer).forward is _nn.Sequential.forward:
            names = list(layer._sub_layers)
            while names and (f'{path}.{names[-1]}' if path else names[-1]) in unused:
                del layer._sub_layers[names.pop()]
    return candidate


def _stopped(model: Any, at: str, call: int, unused: Sequence[str]) -> Any:
    return _around(_dropped(model, unused, CutOff), at, call)


def _whole(model: Any, at: str, call: int, unused: Sequence[str]) -> Any:
    # Something looks at what is not used, so it stays.
    model = skeleton(model)
    for name, parameter in model.named_parameters():
        if any(inside(name, path) for path in unused):
            parameter.stop_gradient = True
    return _around(model, at, call)


def _around(model: Any, at: str, call: int) -> Stopped:
    stopped = Stopped(model, at, call)
    stopped.training = model.training
    return stopped


_WAYS = (('structural', _structural), ('wrapper', _stopped), ('wrapper', _whole))
