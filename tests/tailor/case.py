"""What the tests need to know of a model that is tailored."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A general model and a cut of it.

    Attributes:
        name: of the test.
        build: makes the model, in a state that is the same each time (seed what is drawn).
        inputs: makes a batch of 4 items, of numpy arrays.
        layer: where to cut, as a user writes it; None is the default.
        path: of the layer that this means; '' is the whole model.
        way: in which it must be cut.
        width: D, after pooling by default.
        call: which call of the layer.
        main: from what the layer gives to the tensor that is meant, if it gives several.
        idle: paths of weights that these inputs do not come to, and others might.
    """

    name: str
    build: Callable[[], Any]
    inputs: Callable[[], Any]
    layer: str | None
    path: str
    way: str
    width: int
    call: int = 1
    main: Callable[[Any], Any] = lambda output: output
    idle: tuple[str, ...] = ()
