"""Tailor's verbs for Keras 3 on any engine: graphs are wired anew, other models are stopped in the middle."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from finetuner import inference
from finetuner.backends.keras.calls import Arguments, Event, Watcher, run, spread
from finetuner.backends.keras.compiling import depends_on_values
from finetuner.backends.keras.duplicate import duplicate
from finetuner.backends.keras.graph import fresh, is_chain, is_graph
from finetuner.backends.keras.parts import Pool, Tailored, fits, free, made
from finetuner.backends.keras.places import places, stand_still, tree, weights
from finetuner.backends.keras.stop import Stop
from finetuner.backends.keras.wiring import wired
from finetuner.errors import ModelError, nearest
from finetuner.tailor import base, layers
from finetuner.tailor.layers import inside
from finetuner.tailor.recipe import MASKS, Pooling
from finetuner.typing import Inputs

UNKNOWN = 8, 64
"""The length of an axis that a model leaves open: of tokens, of images."""

BEFORE = '_trained_before_freeze'
"""What `freeze` notes on a layer and on a weight: whether it trained."""


class Tailor(base.Tailor):
    """Tailors Keras models."""

    framework = 'keras'
    numbered = True
    in_place_of_adapters = (
        'Keras has its own: call enable_lora(rank) of the Dense, EinsumDense, Embedding and convolution layers that '
        'shall have one, set trainable=False where the rest shall stand still, and tune the model without adapter.'
    )

    @property
    def channels_first(self) -> bool:  # type: ignore[override]
        """As Keras is set."""
        return keras.config.image_data_format() == 'channels_first'

    def sample(self, model: Any) -> Inputs | None:
        if not getattr(model, 'inputs', None):
            return None

        def one(x: Any) -> Any:
            shape = tuple(n or UNKNOWN[len(x.shape) > 3] for n in x.shape[1:])
            return layers.sample({x.name: shape}, x.dtype, x.shape[0] or 2)[x.name]

        given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return keras.tree.map_structure(one, given)

    def trace(self, model: Any, inputs: Inputs) -> list[layers.Layer]:
        watcher = Watcher()
        try:
            run(model, spread(model, _native(inputs)), watcher)
        except Exception as error:
            raise layers.uncallable(inputs, _said(error)) from error
        found = places(model)
        names = {id(part): path for path, part in reversed(found.items())}
        own = {id(v): (path, v) for path, v in found.items() if isinstance(v, keras.Variable)}
        batch = inference.length(inputs)
        first: dict[int, int] = {}  # of every call: the first that ended within it
        for place, event in enumerate(watcher.ended):
            outer: Event | None = event
            while outer is not None and id(outer) not in first:
                first[id(outer)] = place
                outer = outer.parent
        # A weight that a layer holds beside its children stands before them, where the layer is first entered.
        rows: list[tuple[float, layers.Call]] = []
        for event in watcher.started:
            held = [own.pop(id(v)) for v in event.layer._trainable_variables if id(v) in own]
            rows += [(first[id(event)] - 0.5, _weight(path, v)) for path, v in held]
        for place, event in enumerate(watcher.ended):
            if id(event.layer) in names:
                rows.append((place, _called(names[id(event.layer)], event, batch)))
        return layers.listed(call for _, call in sorted(rows, key=lambda row: row[0]))

    def output(self, model: Any, inputs: Inputs) -> Any:
        return run(model, spread(model, _native(inputs)))[0]

    def copy(self, model: Any) -> Any:
        try:
            return duplicate(model)
        except Exception as error:
            raise ModelError(
                f'This {type(model).__name__} cannot be copied ({error}), and tailoring it in place was not asked for.'
            ) from error

    def freeze(self, model: Any, paths: Sequence[str]) -> None:
        found = places(model)
        for path in paths:
            below = _below(_part(found, path))
            for part in below:  # all are looked at before any is frozen
                vars(part).setdefault(BEFORE, part.trainable)
            for part in below:
                _set_trainable(part, False)
                stand_still(part)

    def unfreeze(self, model: Any, paths: Sequence[str]) -> None:
        found = places(model)
        for path in paths:
            for part in _below(_part(found, path)):
                _set_trainable(part, vars(part).pop(BEFORE, True))
            for place, part in found.items():  # in a layer that does not train nothing does
                if inside(path, place) and place != path:
                    _set_trainable(part, True)

    def cut(self, model: Any, at: str, call: int, inputs: Inputs) -> base.Cut:
        given = spread(model, _native(inputs))
        layer = _part(places(model), at)
        watcher = _watch(model, given)
        root = next(event for event in watcher.started if event.layer is model)
        event = root if at == '' else _event(watcher, layer, call)
        if event is root and root.plain:
            return base.Cut(model, 'whole')
        if event.shape is None:
            raise ModelError(f'{at or "The model"} gives no tensor, so the model cannot end there.')
        ends = [(watcher, event)]
        if event is root and not (is_graph(model) or is_chain(model)):
            # What makes the main tensor runs last; what else the model gives need not run.
            every = _watch(model, given, keep=None)
            whole = next(e for e in every.started if e.layer is model)
            ends.insert(0, (every, [e for e in every.ended if e is whole or e.output is whole.output][-2:][0]))
        checks = _expected(model, given, layer, call)
        for watcher, event in ends:
            chain = [event]
            while chain[0].parent is not None:
                chain.insert(0, chain[0].parent)
            ended = wired(watcher, chain, given)
            if all(_equal(run(ended, other, training=mode)[0], value) for other, mode, value in checks):
                way = 'wrapper' if any(isinstance(x, Stop) for x in [ended, *tree(ended)]) else 'graph'
                return base.Cut(ended, 'structural' if type(ended) is keras.Sequential else way)
        raise ModelError(
            f'{at or type(model).__name__} gives other numbers when the model ends there; cut at a layer that is '
            f'called directly by the model.'
        )

    def attach(
        self,
        model: Any,
        pooling: Pooling | None,
        head: Sequence[tuple[Any, ...]],
        module: Any,
        kernels: Sequence[np.ndarray | None],
    ) -> Any:
        graph = is_graph(model) or (is_chain(model) and hasattr(model, 'inputs'))
        dtype = keras.backend.result_type(model.outputs[0].dtype if graph else model.compute_dtype, 'float32')
        taken = {part.name for part in (model.operations if is_graph(model) else model._flatten_layers())}
        there = set(taken)
        steps: list[Any] = [Pool(pooling, name=free('pooling', taken), dtype=dtype)] if pooling else []
        steps += [
            module if step == ('module',) else made(step, kernel, dtype, taken)
            for step, kernel in zip(head, kernels, strict=True)
        ]
        if not graph:
            return Tailored(model, steps)
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        x, name = model.outputs[0], model.name
        if any(step.name in there for step in steps):  # a graph has every name once; another model may have it again
            inputs, name = fresh(model), 'tailored'
            x = model(inputs)
        for step in steps:
            mask = next((t for m in MASKS for t in keras.tree.flatten(inputs) if t.name == m), None)
            x = step(x, mask=mask) if isinstance(step, Pool) and fits(mask, x, step.pooling.axis) else step(x)
        return keras.Model(inputs, x, name=name)


def _below(part: Any) -> list[Any]:
    # A weight; or a layer, all layers in it, and their weights.
    if not isinstance(part, keras.layers.Layer):
        return [part]
    layers = part._flatten_layers()
    return [*layers, *(weight for layer in layers for weight in layer._trainable_variables)]


def _set_trainable(part: Any, value: bool) -> None:
    # Of a layer alone: Keras would set all that is in it as well.
    if isinstance(part, keras.layers.Layer):
        part._trainable = value
    else:
        part.trainable = value


def _native(inputs: Inputs) -> Inputs:
    return inference.leaves(lambda x: x if isinstance(x, np.ndarray) else keras.ops.convert_to_numpy(x), inputs)


def _said(error: Exception) -> str:
    said = ' '.join(re.sub(r'\x1b\[\d*m', '', str(error)).split())  # without colours; Keras prints whole tensors
    return (said[:300] + '…' * (len(said) > 300)).rstrip('.')


def _weight(path: str, variable: Any) -> layers.Call:
    shape = tuple(variable.shape)
    size = int(np.prod(shape))
    return layers.Call(path, layers.PARAMETER, shape, variable.dtype, size, variable.trainable)


def _called(path: str, event: Event, batch: int | None) -> layers.Call:
    layer = event.layer
    shape: tuple[int | None, ...] | None = event.shape
    if shape and shape[0] == batch:
        shape = (None, *shape[1:])
    below = weights(layer)
    size = sum(int(np.prod(v.shape)) for v in below)
    trained = bool(layer.trainable) and any(v.trainable for v in below)
    return layers.Call(path, type(layer).__name__, shape, event.dtype, size, trained, layer.name if path else None)


def _part(found: Mapping[str, Any], path: str) -> Any:
    if path not in found:
        raise ModelError(f'This model has no layer {path!r}. {nearest(path, found)}')
    return found[path]


def _event(watcher: Watcher, layer: Any, call: int) -> Event:
    calls = [event for event in watcher.ended if event.layer is layer]
    if len(calls) < call:
        raise ModelError(f'With these inputs {layer.name} runs {len(calls)} times, and call {call} was asked for.')
    return calls[call - 1]


def _watch(model: Any, inputs: Arguments, keep: Any = (), training: bool = False) -> Watcher:
    watcher = Watcher(keep=keep)
    run(model, inputs, watcher, training)
    return watcher


def _expected(model: Any, inputs: Arguments, layer: Any, call: int) -> list[tuple[Arguments, bool, Any]]:
    # In training too, where dropout that is no layer shows.
    found = []
    others = _others(inputs)
    for batch, training in [*((other, False) for other in others), (others[0], True)]:
        try:
            watcher = _watch(model, batch, [layer], training)
        except Exception:
            if not training:
                raise
            continue  # what the model itself cannot do, the one that ends need not
        output = _event(watcher, layer, call).output
        try:
            keras.ops.convert_to_numpy(output)
        except Exception as error:
            if not depends_on_values(error):
                raise
            raise ModelError(
                f'{layer.name} runs within keras.ops.cond or a loop, which {keras.backend.backend()} compiles as a '
                f'whole, so no model can end there. Cut at a layer before it, with layer_name=….'
            ) from error
        found.append((batch, training, output))
    return found


def _others(inputs: Arguments) -> list[Arguments]:
    # A few items, other numbers, and one item.
    def some(x: Any) -> Any:
        return x[:4]

    def other(x: Any) -> Any:
        return -1.5 * x[:4] if x.dtype.kind == 'f' else x[:4][::-1].copy()

    def one(x: Any) -> Any:
        return x[:1]

    return [
        tuple(inference.leaves(change, part) for part in inputs)  # type: ignore[misc]
        for change in (some, other, one)
    ]


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None or tuple(a.shape) != tuple(b.shape):
        return False
    a, b = (np.asarray(keras.ops.convert_to_numpy(x), np.float64) for x in (a, b))
    return bool(
        np.allclose(a, b, rtol=1e-6, atol=1e-6 * max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0)), equal_nan=True)
    )
