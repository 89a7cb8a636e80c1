"""The blocks of a model, which `freeze_layer` counts: the stages of a ResNet, the layers of a transformer."""

from collections import Counter
from collections.abc import Sequence

from finetuner.tailor.layers import CONTAINERS, PARAMETER, Layer, inside, topmost


class _Tree:
    # The places in a model that have weights, each with its children.

    def __init__(self, layers: Sequence[Layer]) -> None:
        heavy = [layer for layer in layers if layer.path and layer.parameters and layer.kind != PARAMETER]
        self.kinds = {layer.path: layer.kind for layer in layers}
        self.children: dict[str, list[str]] = {}
        for layer in heavy:
            parts = layer.path.split('.')
            for depth in range(len(parts)):
                row = self.children.setdefault('.'.join(parts[:depth]), [])
                child = '.'.join(parts[: depth + 1])
                if child not in row:
                    row.append(child)
        self.leaves = [layer.path for layer in heavy if layer.path not in self.children]

    def alike(self, place: str) -> list[str]:
        # The largest group of its children that are composite and of one kind.
        row = [child for child in self.children[place] if self._composite(child)]
        if not row:
            return []
        forms = {child: self._form(child) for child in row}
        most = Counter(forms.values()).most_common(1)[0][0]
        group = [child for child in row if forms[child] == most]
        return group if len(group) > 1 else []

    def row(self, place: str) -> list[str]:
        # Its composite children if some are alike, else all but norms, which belong to what is before them.
        if not self.alike(place):
            plain = [child for child in self.children[place] if not is_norm(self.kinds.get(child, ''))]
            return plain or self.children[place]
        return [child for child in self.children[place] if self._composite(child)]

    def _composite(self, place: str) -> bool:
        return sum(leaf != place and inside(leaf, place) for leaf in self.leaves) > 1

    def _form(self, place: str) -> tuple[str, frozenset[str]]:
        # A Sequential of convolutions is not like one of dense layers; a class of its own says enough.
        kind = self.kinds.get(place, '')
        if kind and kind not in CONTAINERS:
            return kind, frozenset()
        return kind, frozenset(self.kinds[x] for x in self.leaves if inside(x, place))


def is_norm(kind: str) -> bool:
    """Whether a class normalises: BatchNorm2d, LayerNormalization."""
    return 'norm' in kind.lower()


def blocks(layers: Sequence[Layer]) -> list[str]:
    """The paths of the blocks, in the order in which they run.

    A block is a direct child of the longest chain of children. Chains of composite parts of one kind go first (a
    transformer's layers before its four embeddings), and a chain within such a part is none (the bottlenecks of a
    ResNet's third stage). Layers without weights are no blocks, and norms belong to the block before them.
    """
    tree, within = _Tree(layers), repeated(layers)
    chains = [place for place in tree.children if not any(inside(place, part) for part in within)]
    best = max(chains, key=lambda place: (len(tree.alike(place)), len(tree.row(place))), default=None)
    return [] if best is None else tree.row(best)


def repeated(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The paths of composite parts that have others of their kind beside them, the outermost ones."""
    tree = _Tree(layers)
    return topmost(child for place in tree.children for child in tree.alike(place))
