"""The blocks of a model, which `freeze_layer` counts: the stages of a ResNet, the layers of a transformer."""

from collections.abc import Sequence

from finetuner.tailor.layers import PARAMETER, Layer


def blocks(layers: Sequence[Layer]) -> list[str]:
    """The paths of the blocks, in the order in which they run.

    A block is a direct child of the longest chain of children. Rows of parts that have parts themselves go first (a
    transformer's layers before its four embeddings), and a row within one of several equals is none (the bottlenecks
    of a ResNet's third stage). Layers without weights are no blocks.
    """
    heavy = [layer for layer in layers if layer.path and layer.parameters and layer.kind != PARAMETER]
    kinds = {layer.path: layer.kind for layer in layers}
    children: dict[str, dict[str, set[str]]] = {}  # of every place: its children with weights, and what is in these
    for layer in heavy:
        parts = layer.path.split('.')
        for depth in range(len(parts)):
            place, child = '.'.join(parts[:depth]), '.'.join(parts[: depth + 1])
            children.setdefault(place, {}).setdefault(child, set()).add(layer.path)
    leaves = {layer.path for layer in heavy if layer.path not in children}

    def composite(child: str) -> bool:
        return child in children and len(_below(child, leaves)) > 1

    repeated = set()  # the places that stand in a row of equals
    for row in children.values():
        many = [child for child in row if composite(child)]
        shapes = [kinds.get(child, '') for child in many]
        repeated |= {c for c, kind in zip(many, shapes, strict=True) if kind and shapes.count(kind) > 1}

    best: tuple[tuple[int, int], list[str]] = ((0, 0), [])
    for place, row in children.items():
        if any(place == r or place.startswith(f'{r}.') for r in repeated):
            continue
        many = [child for child in row if composite(child)]
        equal = max([sum(kinds.get(a) == kinds.get(b) for b in many) for a in many], default=0)
        # A root with a body and a head, both composite, is no chain: its parts are not of one kind.
        score = (equal if equal > 1 else 0, len(row))
        if score > best[0]:
            best = score, many if equal > 1 else list(row)
    return best[1]


def _below(place: str, leaves: set[str]) -> list[str]:
    return [leaf for leaf in leaves if leaf.startswith(f'{place}.')]
