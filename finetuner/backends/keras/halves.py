"""A Keras model in two parts: what stands still, and what trains on top of it."""

from collections.abc import Sequence
from typing import Any

import keras

from finetuner.backends.keras.calls import Reads, no_gradient, spread
from finetuner.backends.keras.duplicate import Held
from finetuner.backends.keras.encoder import Encoder
from finetuner.backends.keras.graph import is_chain, is_graph
from finetuner.backends.keras.parts import Pool, Tailored
from finetuner.backends.keras.places import tree, weights
from finetuner.tailor.halves import Halves, Step, boundary, draws
from finetuner.typing import Inputs


class Section(keras.Model):
    """Some nodes of a graph, run one after the other.

    Args:
        graph: the functional model.
        nodes: in the order in which they run.
        given: the symbols that stand for what it takes.
        wanted: the symbols that stand for what it gives.
        lower: whether it is called as the graph is, and gives a list.
    """

    def __init__(self, graph: Any, nodes: Sequence[Any], given: Sequence[Any], wanted: Sequence[Any], lower: bool):
        super().__init__(autocast=False, name='lower' if lower else 'upper')
        self.plan = Held((graph, list(nodes), list(given), list(wanted)))
        self.lower = lower
        self.parts = [node.operation for node in nodes if isinstance(node.operation, keras.layers.Layer)]
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """What the nodes give."""
        graph, nodes, given, wanted = self.plan.content
        found = graph._standardize_inputs(inputs) if self.lower else inputs
        tensors = {id(symbol): x for symbol, x in zip(given, keras.tree.flatten(found), strict=True)}
        for node in nodes:
            args, kwargs = node.arguments.fill_in(tensors)
            if training is not None and 'training' in getattr(node.operation, '_call_context_args', {}):
                kwargs['training'] = training
            output = node.operation(*args, **kwargs)
            tensors |= {id(x): y for x, y in zip(node.outputs, keras.tree.flatten(output), strict=True)}
        made = [tensors[id(symbol)] for symbol in wanted]
        return made if self.lower else made[0]


class Lower(keras.Model):
    """The model that Tailor put something on, and the first of that; called as the model is."""

    def __init__(self, model: Any, steps: Sequence[Any], above: Any) -> None:
        super().__init__(autocast=False, name='lower')
        self.body, self.steps = model.body, list(steps)
        self.whole, self.masking = Held(model), isinstance(above, Pool)
        self.built = True

    @property
    def general(self) -> Any:
        """The model whose `call` says what this one takes."""
        return self.whole.content.general

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """What the layer above takes; if that is a pooling, perhaps with a mask."""
        x, mask = self.body(*args, training=training, **kwargs), self.whole.content._mask(args, kwargs)
        for step in self.steps:
            x = step(x, mask=mask) if isinstance(step, Pool) and mask is not None else step(x)
        return [x, mask] if self.masking and mask is not None else [x]


class Upper(keras.Model):
    """The last layers of what Tailor put on a model."""

    def __init__(self, steps: Sequence[Any]) -> None:
        super().__init__(autocast=False, name='upper')
        self.steps = list(steps)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(B, D) of what `Lower` gives."""
        x, *mask = inputs
        for place, step in enumerate(self.steps):
            x = step(x, mask=mask[0]) if mask and not place else step(x)
        return x


def halves(model: Any) -> Halves | str:
    """The two parts of a model; or why it has none."""
    if type(model) is Tailored:
        found: Halves | str = _of_chain(model)
    elif is_graph(model) or (is_chain(model) and getattr(model, '_functional', None) is not None):
        found = _of_graph(model if is_graph(model) else model._functional)
    else:
        found = str(boundary([_step(model)]))
    if isinstance(found, str):
        return found
    if [id(v) for v in found.upper.trainable_variables] != [id(v) for v in model.trainable_variables]:
        return 'its weights have another order than the layers that they are in'
    if any(getattr(layer, 'activity_regularizer', None) for layer in tree(found.lower)):
        return 'what its frozen layers give is part of the loss (activity_regularizer)'
    return found


def awake(lower: Any, inputs: Inputs) -> tuple[list[Any], bool]:
    """What the lower part gives in training mode, and whether statistics of it move; it is left as it was."""
    coder = Encoder(lower)
    args, kwargs = spread(lower, coder.native(inputs))
    with coder.scope(), Reads() as scope, no_gradient():
        output = lower(*args, training=True, **kwargs)
        moved = {id(v) for v in coder.variables()} & set(scope.state_mapping)
    return output, bool(moved)


def _of_chain(model: Any) -> Halves | str:
    row = [model.body, *model.steps]
    end = boundary([_step(layer) for layer in row])
    if isinstance(end, str):
        return end
    lower, upper = Lower(model, row[1:end], row[end]), Upper(row[end:])
    return Halves(lower, upper, isinstance(row[end], Pool) and row[end].pooling.axis % 3 == 2)


def _of_graph(graph: Any) -> Halves | str:
    if len(graph.outputs) != 1:
        return 'it gives more than one tensor'
    nodes = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
    nodes = [node for node in nodes if not node.is_input]
    steps = {id(node): _step(node.operation) for node in nodes}
    weighty = _weighty(graph, nodes, steps)
    if not weighty:
        return str(boundary([Step(True, True, [])]))
    needed: set[int] = set()  # symbols that lead to frozen weights: dropout before these belongs to the lower part
    for node in reversed(nodes):
        made = {id(x) for x in node.outputs}
        if made <= weighty and (steps[id(node)].weighs or made & needed):
            needed |= {id(x) for x in node.input_tensors}
    below = {id(x) for x in graph.inputs}
    lower: list[Any] = []
    for node in nodes:
        made, step = {id(x) for x in node.outputs}, steps[id(node)]
        stays = step.weighs or bool(made & needed) or not draws(step.kinds)
        if stays and not step.trains and all(id(x) in below for x in node.input_tensors):
            below |= made
            lower.append(node)
    kept = {id(node) for node in lower}
    upper = [node for node in nodes if id(node) not in kept]
    if not upper:
        return 'nothing in it trains'
    symbols = {id(x): x for node in upper for x in node.input_tensors if id(x) in below}
    if any(getattr(x, '_keras_mask', None) is not None for x in symbols.values()):
        return 'a mask goes with what its frozen layers give'
    edge = list(symbols.values())
    return Halves(Section(graph, lower, graph.inputs, edge, True), Section(graph, upper, edge, graph.outputs, False))


def _weighty(graph: Any, nodes: Sequence[Any], steps: dict[int, Step]) -> set[int]:
    # The symbols that come of frozen weights alone, without chance before the first of these.
    still: set[int] = {id(x) for x in graph.inputs}
    found: set[int] = set()
    for node in nodes:
        read, step = [id(x) for x in node.input_tensors], steps[id(node)]
        after = bool(found.intersection(read))
        if step.trains or not all(x in still for x in read) or (draws(step.kinds) and not (after or step.weighs)):
            continue
        still |= {id(x) for x in node.outputs}
        if step.weighs or after:
            found |= {id(x) for x in node.outputs}
    return found


def _step(operation: Any) -> Step:
    if not isinstance(operation, keras.layers.Layer):
        return Step(False, False, [type(operation).__name__])
    kinds = [type(layer).__name__ for layer in [operation, *tree(operation)]]
    return Step(bool(operation.trainable_variables), bool(weights(operation)), kinds)
