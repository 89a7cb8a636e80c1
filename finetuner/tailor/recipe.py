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


class Recipe(NamedTuple):
    """Cut, freeze, pool and project: applied to the general model it gives the same embedding model again.

    Attributes:
        at: the path of the last layer that runs; '' leaves the model whole.
        call: which of its calls, from 1.
        frozen: paths of layers and parameters that are not trained, with all that lies in them; '' is everything.
        pooling: None if the layer gives (B, D).
        head: what follows, layer by layer: `('linear', 768, 128)`, perhaps with 'identity' (starts as the identity) or
            'unbiased' (has no bias), `('batchnorm', 768)`, `('relu',)`, `('normalize',)`, and `('module',)` for a
            module of the user's own.
    """

    at: str = ''
    call: int = 1
    frozen: tuple[str, ...] = ()
    pooling: Pooling | None = None
    head: tuple[tuple[Any, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pooling = self.pooling._asdict() if self.pooling else None
        return {**self._asdict(), 'frozen': list(self.frozen), 'pooling': pooling, 'head': [list(s) for s in self.head]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> 'Recipe':
        """What `to_dict` gave, also after JSON."""
        pooling = Pooling(**data['pooling']) if data['pooling'] else None
        head = tuple(tuple(step) for step in data['head'])
        return cls(data['at'], data['call'], tuple(data['frozen']), pooling, head)
