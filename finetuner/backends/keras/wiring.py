"""A Keras model that ends at a call of a layer: graphs are wired anew around the models on the way there."""

from collections.abc import Sequence
from typing import Any

import keras

from finetuner.backends.keras.calls import Arguments, Event, Watcher, filled, main
from finetuner.backends.keras.graph import fresh, is_chain, is_graph, rerun
from finetuner.backends.keras.places import places, tree
from finetuner.backends.keras.stop import Stop


class _Found(Exception):
    pass


def wired(watcher: Watcher, chain: Sequence[Event], inputs: Arguments) -> Any:
    """The layer of the first call, ending at the last call, which lies in it; the others are on the way there."""
    outer, *inner = chain
    layer = outer.layer
    graph, line = is_graph(layer), is_chain(layer) and hasattr(layer, 'inputs')
    if not (graph or line):
        last = chain[-1]
        at = next(path for path, part in places(layer).items() if part is last.layer)
        if outer.parent is not None:
            args, kwargs = filled(outer.form)
            inputs = tuple(args), {name: value for name, value in kwargs.items() if name != 'training'}
        return Stop(layer, at, count([e for e in watcher.ended if e.within(outer)], last), inputs)
    if not inner:
        given = layer.inputs[0] if line else layer.input
        return keras.Model(given, main(layer.outputs[0] if line else layer.output), name=layer.name)
    target = inner[0]
    part = target.layer if len(inner) == 1 else wired(watcher, inner, inputs)
    if line:
        row = [*layer.layers[: layer.layers.index(target.layer)], part]
        made = keras.Sequential([fresh(layer), *row], name=layer.name)
        _forget(made)
        return made if len(inner) > 1 or target.plain else keras.Model(made.inputs[0], main(made.outputs[0]))
    siblings = [e for e in watcher.started if e.parent is outer and e.layer is target.layer]
    number, seen, found = siblings.index(target) + 1, 0, []
    if part is not target.layer and number > 1:
        part.name = f'{part.name}_cut'  # the whole stands beside it in the graph

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += operation is target.layer
        if operation is target.layer and seen == number:
            found.append(main(part(*args, **kwargs)))
            raise _Found
        return operation(*args, **kwargs)

    again = fresh(layer)
    try:
        rerun(layer, again, call)
    except _Found:
        pass
    made = keras.Model(again, found[0], name=layer.name)
    _forget(made)
    return made


def _forget(model: Any) -> None:
    # Keras never reads which layers read from a layer, but holds them by it, and so all that was cut off.
    operations = [*model.operations, *tree(model)] if is_graph(model) else tree(model)
    kept = {id(operation) for operation in operations}
    for operation in operations:
        operation._outbound_nodes = [node for node in operation._outbound_nodes if id(node.operation) in kept]


def count(events: Sequence[Event], event: Event) -> int:
    """Which of the calls of its layer a call is, from 1."""
    return 1 + sum(e.layer is event.layer for e in events[: events.index(event)])
