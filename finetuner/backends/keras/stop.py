"""A Keras model that ends in the middle of one that is no graph: the run is stopped at a layer."""

from collections.abc import Sequence
from typing import Any

import keras

from finetuner.backends.keras.calls import Arguments, Stopped, Watcher, described, filled, prepare, run, watched
from finetuner.backends.keras.duplicate import Held
from finetuner.backends.keras.places import children, places
from finetuner.errors import ModelError


class Part(keras.layers.Layer):
    """What is used of a layer that does not run to its end: some of its layers and weights, under its name."""

    def __init__(self, name: str, layers: Sequence[Any], own: Sequence[Any]) -> None:
        super().__init__(name=name)
        hold(self, layers, own)


@keras.saving.register_keras_serializable('finetuner')
class Stop(keras.Model):
    """Runs a layer up to the end of one call within it, and gives what that gave.

    It owns only the weights that are used until there.

    Args:
        general: the layer that is run; what it holds beyond the cut is not part of this model.
        at: the place of the last layer in it; '' is the layer itself, of whose output the main tensor is given.
        number: which of its calls, from 1.
        inputs: arguments and keyword arguments to call it with once, arrays.
    """

    def __init__(self, general: Any, at: str, number: int, inputs: Arguments, **kwargs: Any) -> None:
        super().__init__(autocast=False, **{'name': general.name, **kwargs})
        self.held = Held(general)
        self.target = Held(places(general)[at])
        self.at, self.number = at, number
        self.form = Held([described(part) for part in inputs])
        watcher = Watcher(self._ends())
        _, read = run(general, inputs, watcher)
        kept = _used(general, {id(event.layer) for event in watcher.ended}, read)
        whole = kept is general
        hold(self, [general] if whole else children(kept), [] if whole else own(kept))

    @property
    def general(self) -> Any:
        """The layer whose `call` says what this one takes."""
        return getattr(self.held.content, 'general', self.held.content)

    def _ends(self) -> Any:
        count = 0

        def ends(event: Any) -> bool:
            nonlocal count
            count += event.layer is self.target.content
            return count == self.number

        return ends

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """What the last layer gives."""
        prepare(self)
        watcher = Watcher(self._ends(), only=self.target.content)
        try:
            with watched(watcher):
                self.held.content(*args, training=training, **kwargs)
        except Stopped as stopped:
            if stopped.watcher is not watcher:
                raise
            return stopped.output
        raise ModelError(
            f'{self.held.content.name} did not call {self.at} {self.number} times: it takes another way with these '
            f'inputs, or the layer is in a loop that {keras.backend.backend()} compiles. Cut at a layer before it.'
        )

    def get_config(self) -> dict[str, Any]:
        general = keras.saving.serialize_keras_object(self.held.content)
        own = {'at': self.at, 'number': self.number, 'form': self.form.content}
        return {'name': self.name, 'general': general, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        general = keras.saving.deserialize_keras_object(config['general'], custom_objects)
        args, kwargs = filled(config['form'])
        return cls(general, config['at'], config['number'], (tuple(args), kwargs), name=config['name'])


def hold(layer: Any, layers: Sequence[Any], own: Sequence[Any]) -> None:
    """Make layers, and (store, variable or seed generator), those of a layer that never made them itself."""
    layer.parts = list(layers)
    for store, item in own:
        layer._tracker.add_to_store(store, item)
    layer.built = True


def own(layer: Any) -> list[tuple[str, Any]]:
    """The weights, statistics and seeds that a layer holds by itself."""
    stores = ('trainable_variables', 'non_trainable_variables', 'seed_generators')
    return [(store, item) for store in stores for item in getattr(layer, f'_{store}')]


def _used(layer: Any, left: set[int], read: set[int]) -> Any:
    # The layer, if it ran to its end; else what was used of it; None if nothing was.
    if id(layer) in left:
        return layer
    layers = [kept for child in children(layer) if (kept := _used(child, left, read)) is not None]
    held = [(store, item) for store, item in own(layer) if id(item) in read or store == 'seed_generators']
    return Part(layer.name, layers, held) if layers or held else None
