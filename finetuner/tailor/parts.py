"""A model in parts from its head down to its first block: the order in which it is unfrozen, and slows down."""

from collections.abc import Sequence

from finetuner.tailor.blocks import blocks, is_norm
from finetuner.tailor.layers import Layer, inside, topmost
from finetuner.tailor.recipe import Recipe

TAILORED = 'Tailored'
"""The class of models that Tailor put together: first the body, then what was attached to it."""


def attached(recipe: Recipe) -> int:
    """How many layers with weights a recipe puts after the body."""
    pooling = recipe.pooling
    learned = pooling is not None and (pooling.name == 'attention' or (pooling.name == 'gem' and pooling.learn))
    return learned + sum(step[0] in ('linear', 'batchnorm', 'module') for step in recipe.head)


def head(layers: Sequence[Layer], recipe: Recipe | None = None) -> list[str]:
    """The paths of what Tailor attached, as far as it has weights.

    Args:
        layers: of the model, the model itself last.
        recipe: how Tailor made it; None if it did not, or if that is not known.
    """
    outermost = list(dict.fromkeys(_outermost(layer) for layer in layers if layer.parameters and layer.path))
    first = len(outermost) - (attached(recipe) if recipe else 0)
    return outermost[1 if layers[-1].kind == TAILORED else first :]


def parts(layers: Sequence[Layer], recipe: Recipe | None = None) -> list[tuple[str, ...]]:
    """The paths of the head, of the last block, of the one before it, and so on to the first.

    The head is what Tailor attached; else what runs after the last block; else the last block. Norms belong to the
    block before them, and to the last block what a tailored body ends with. What runs before the first block and
    between blocks is in no part.

    Args:
        layers: of the model, the model itself last.
        recipe: how Tailor made it; None if it did not, or if that is not known.
    """
    weighty = [layer for layer in layers if layer.parameters and layer.path]
    top = head(layers, recipe)
    body = [layer for layer in layers if layer.path and _outermost(layer) not in top]
    found: dict[str, list[str]] = {block: [block] for block in blocks(body)}
    after: list[str] = []  # what has run since the last block, and is in none
    last = ''
    for layer in body:
        composite = any(other.path.startswith(f'{layer.path}.') for other in weighty)
        if not layer.parameters or composite:
            continue
        block = next((block for block in found if inside(layer.path, block)), '')
        if block:
            last, after = block, []
        elif last and not after and is_norm(layer.kind):
            found[last].append(layer.path)
        else:
            after.append(layer.path)
    row = list(found.values())[::-1]
    if top and last:
        row[0] += after  # what the body ends with
    elif after and last:
        top = after
    return [topmost(paths) for paths in ([top] if top else []) + row]


def _outermost(layer: Layer) -> str:
    return layer.path.partition('.')[0]
