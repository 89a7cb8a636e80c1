"""How an embedding model is made of a general one, as data."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from finetuner.errors import ModelError, nearest
from finetuner.tailor.layers import Layer

MASKS = ('attention_mask', 'mask', 'input_mask')
"""The inputs that say which tokens count."""


class Pooling(NamedTuple):
    """How the axes between batch and channels are done away with.

    Attributes:
        name: 'mean', 'max', 'cls', 'gem' or 'attention'.
        axis: where the channels are: 1 or -1.
        width: how many channels there are.
        p: GeM's exponent: 1 is the mean, infinity the maximum.
        eps: GeM counts nothing smaller.
        learn: whether p is trained.
    """

    name: str
    axis: int = -1
    width: int = 0
    p: float = 3.0
    eps: float = 1e-6
    learn: bool = True


class Adapter(NamedTuple):
    """Small matrices beside the weights of some layers, which learn in their place.

    Attributes:
        name: 'lora': to a layer's weights (outputs, inputs) the product of (outputs, r) and (r, inputs) is added.
        at: paths of the layers, in the general model.
        r: the rank.
        alpha: the product counts alpha / r times.
        dropout: of what goes into the small matrices, in training.
    """

    name: str
    at: tuple[str, ...]
    r: int = 8
    alpha: float = 16
    dropout: float = 0.0


class Recipe(NamedTuple):
    """Cut, freeze, adapt, pool and project: applied to the general model it gives the same embedding model again.

    Attributes:
        at: the path of the last layer that runs; '' leaves the model whole.
        call: which of its calls, from 1.
        frozen: paths of layers and parameters that are not trained, with all that lies in them; '' is everything.
        pooling: None if the layer gives (B, D).
        head: what follows, layer by layer: `('linear', 768, 128)`, perhaps with 'identity' (starts as the identity) or
            'unbiased' (has no bias), `('batchnorm', 768)`, `('relu',)`, `('normalize',)`, and `('module',)` for a
            module of the user's own.
        adapter: what learns in place of the frozen weights; None if nothing does.
        places: of every layer that is named above: its path, its row in the list of layers, and its kind.
        layers: how many rows that list had; 0 where this is not known.
    """

    at: str = ''
    call: int = 1
    frozen: tuple[str, ...] = ()
    pooling: Pooling | None = None
    head: tuple[tuple[Any, ...], ...] = ()
    adapter: Adapter | None = None
    places: tuple[tuple[str, int, str], ...] = ()
    layers: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pooling = self.pooling._asdict() if self.pooling else None
        adapter = {**self.adapter._asdict(), 'at': list(self.adapter.at)} if self.adapter else None
        lists = {name: [list(x) for x in getattr(self, name)] for name in ('head', 'places')}
        return {**self._asdict(), 'frozen': list(self.frozen), 'pooling': pooling, 'adapter': adapter, **lists}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Recipe':
        """What `to_dict` gave, also after JSON."""
        pooling = Pooling(**data['pooling']) if data['pooling'] else None
        head = tuple(tuple(step) for step in data['head'])
        found = data.get('adapter')  # recipes were written before there were adapters
        adapter = Adapter(**{**found, 'at': tuple(found['at'])}) if found else None
        places = tuple((path, row, kind) for path, row, kind in data.get('places', ()))
        rows = data.get('layers', 0)
        return cls(data['at'], data['call'], tuple(data['frozen']), pooling, head, adapter, places, rows)

    def located(self, layers: Sequence[Layer], numbered: bool) -> 'Recipe':
        """The recipe with the paths that its layers have in another model of the same code.

        Args:
            layers: of that model, as they were traced.
            numbered: whether layers may have other names each time a model is built; their rows tell which is which.

        Raises:
            ModelError: a layer that is named is not there, or is of another kind.
        """
        kinds: dict[str, str] = {}
        for layer in layers:
            kinds.setdefault(layer.path, layer.kind)
        now = {'': ''}
        for path, row, kind in self.places:
            there = layers[row] if numbered and len(layers) == self.layers else None
            if there is not None and there.kind == kind and _unnumbered(there.path) == _unnumbered(path):
                now[path] = there.path
            elif kinds.get(path) == kind:
                now[path] = path
            else:
                known = filter(None, kinds)
                found = f'has a {kinds[path]} there' if path in kinds else f'has none. {nearest(path, known)}'
                raise ModelError(
                    f'The recipe names the layer {path!r}, a {kind}; this model {found.rstrip(".")}. It was made for '
                    f'a model of other code: build the model as it was, or make a new one with to_embedding_model.'
                )
        return self._replace(at=now.get(self.at, self.at), frozen=tuple(now.get(path, path) for path in self.frozen))


def _unnumbered(path: str) -> str:
    return re.sub(r'_\d+(?=\.|$)', '', path)
