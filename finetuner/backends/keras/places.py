"""The layers of a Keras model by their places: names from the outside in, joined by dots."""

from typing import Any

import keras

from finetuner.backends.keras.parts import SpectralNormalization


def opaque(layer: Any) -> bool:
    """Whether what a layer calls is no business of others: how often a cell runs, and on what, is the engine's."""
    return isinstance(layer, keras.layers.RNN | keras.layers.TimeDistributed)


def children(layer: Any) -> list[Any]:
    """The layers that a layer holds."""
    found = [] if opaque(layer) else layer._flatten_layers(include_self=False, recursive=False)
    return [child for child in found if not isinstance(child, keras.layers.InputLayer)]


def tree(layer: Any) -> list[Any]:
    """All layers below a layer, each once, those that hold others before them."""
    found: dict[int, Any] = {}
    waiting = list(reversed(children(layer)))
    while waiting:
        at = waiting.pop()
        if id(at) not in found and at is not layer:
            found[id(at)] = at
            waiting += reversed(children(at))
    return list(found.values())


def places(model: Any) -> dict[str, Any]:
    """Every layer, and every weight that a layer with children holds by itself, by its path; the model's is ''."""
    found: dict[str, Any] = {'': model}
    seen = {id(model)}

    def free(path: str) -> str:
        number, name = 2, path
        while name in found:
            number, name = number + 1, f'{path}_{number}'
        return name

    def walk(layer: Any, path: str) -> None:
        below = children(layer)
        for child in below:
            if id(child) in seen:
                continue
            seen.add(id(child))
            name = free(f'{path}{child.name.replace(".", "_")}')
            found[name] = child
            walk(child, f'{name}.')
        for variable in layer._trainable_variables if below else ():
            if id(variable) not in seen:
                seen.add(id(variable))
                found[free(f'{path}{variable.name}')] = variable

    walk(model, '')
    return found


def weights(layer: Any) -> list[Any]:
    """The weights in a layer and below it, shared ones once, trained or not; statistics are none."""
    found: dict[int, Any] = {}
    for at in layer._flatten_layers():
        found |= {id(v): v for v in at._trainable_variables}
    return list(found.values())


def freeze(part: Any) -> None:
    """Stop the training of a layer with all that it holds, or of a weight."""
    part.trainable = True  # Keras 3.15 on TensorFlow: to assign what is there already does not reach what it holds
    part.trainable = False
    for layer in [part, *tree(part)] if isinstance(part, keras.layers.Layer) else []:
        stand_still(layer)


def stand_still(layer: Any) -> None:
    """Make SpectralNormalization one that does not change where it is not trained; nothing happens to others."""
    if type(layer) is keras.layers.SpectralNormalization:
        object.__setattr__(layer, '__class__', SpectralNormalization)


def paths(model: Any) -> dict[str, Any]:
    """Every weight by its path: that of the layer that holds it, and its name; statistics are none."""
    found: dict[str, Any] = {}
    for place, part in places(model).items():
        if isinstance(part, keras.Variable):
            found[place] = part
            continue
        for variable in [] if children(part) else weights(part):  # a cell of an LSTM belongs to the LSTM
            own = f'{place}.{variable.name}'.lstrip('.')
            number, name = 1, own
            while name in found:
                number, name = number + 1, f'{own}_{number + 1}'
            found[name] = variable
    return found
