"""How an embedding model is made of a general one, as data."""

from collections.abc import Mapping
from typing import Any, NamedTuple


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
    """

    at: str = ''
    call: int = 1
    frozen: tuple[str, ...] = ()
    pooling: Pooling | None = None
    head: tuple[tuple[Any, ...], ...] = ()
    adapter: Adapter | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pooling = self.pooling._asdict() if self.pooling else None
        adapter = {**self.adapter._asdict(), 'at': list(self.adapter.at)} if self.adapter else None
        head = [list(step) for step in self.head]
        return {**self._asdict(), 'frozen': list(self.frozen), 'pooling': pooling, 'head': head, 'adapter': adapter}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Recipe':
        """What `to_dict` gave, also after JSON."""
        pooling = Pooling(**data['pooling']) if data['pooling'] else None
        head = tuple(tuple(step) for step in data['head'])
        found = data.get('adapter')  # recipes were written before there were adapters
        adapter = Adapter(**{**found, 'at': tuple(found['at'])}) if found else None
        return cls(data['at'], data['call'], tuple(data['frozen']), pooling, head, adapter)
