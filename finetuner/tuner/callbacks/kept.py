"""The layers that stay frozen while a model is unfrozen, by their names in it or in the model that it was made of."""

from collections.abc import Sequence

from finetuner.errors import ArgumentError, nearest
from finetuner.tailor.layers import Layer, inside, known, named, topmost
from finetuner.tailor.parts import TAILORED

AROUND = (TAILORED, 'Stopped')
"""Classes of models that hold the general one, or what was cut of it, as the first of what is in them."""


def kept(layers: Sequence[Layer], names: Sequence[str]) -> tuple[str, ...]:
    """The paths that names mean.

    Args:
        layers: of the model, the model itself last.
        names: names, paths or patterns of layers, as `display` shows them for this model or for the general one.

    Raises:
        ArgumentError: one of them means nothing.
    """
    general = _general(layers)
    found: list[str] = []
    for name in names:
        rows = named(layers, name) or named(general, name) or _within(general, name)
        if not rows:
            near = nearest(name, [*known(layers), *known(general)])
            raise ArgumentError(f'keep: there is no layer {name!r}. {near}')
        found += [layers[row].path for row in rows]
    return topmost(found)


def _general(layers: Sequence[Layer]) -> list[Layer]:
    # The same rows with the paths that they had in the general model; '' where they were not in it.
    place = _body(layers)
    if not place:
        return []
    rows = []
    for layer in layers:
        path = layer.path[len(place) + 1 :] if inside(layer.path, place) else ''
        rows.append(layer._replace(path=path, name=path if layer.name == layer.path else layer.name))
    return rows


def _within(general: Sequence[Layer], name: str) -> list[int]:
    # A block that is no layer any more, where the model was made a graph or ends within the block.
    return [row for row, layer in enumerate(general) if layer.path and inside(layer.path, name)] if name else []


def _body(layers: Sequence[Layer]) -> str:
    kinds, place = {layer.path: layer.kind for layer in layers}, ''
    while kinds.get(place) in AROUND:
        below = next((layer.path for layer in layers if layer.path != place and inside(layer.path, place)), '')
        if not below:
            break
        place = '.'.join(below.split('.')[: len(place.split('.')) + 1 if place else 1])
    return place
