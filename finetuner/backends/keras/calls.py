"""What a Keras model calls while it runs, on any engine and below any compiler."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from importlib import import_module
from threading import RLock
from typing import Any
from weakref import WeakSet, finalize

import keras

from finetuner import inference
from finetuner.backends.keras.places import opaque, tree
from finetuner.tailor.layers import MAIN

_watchers: ContextVar[tuple[Any, ...]] = ContextVar('watchers', default=())
_lock, _open = RLock(), 0
_own: Any = None
_prepared: WeakSet[Any] = WeakSet()
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Event:
    """One call of a layer.

    Attributes:
        layer: that was called.
        parent: the call that it is part of; None for the outermost.
        form: of the arguments; only of layers that hold others.
        shape: of the output's main tensor; None if there is none.
        dtype: of that tensor.
        plain: whether the output is that tensor and no more.
        output: the main tensor itself, if the watcher keeps it.
    """

    def __init__(self, layer: Any, parent: 'Event | None', form: Any) -> None:
        self.layer, self.parent, self.form = layer, parent, form
        self.shape: tuple[int, ...] | None = None
        self.dtype = ''
        self.plain = False
        self.output: Any = None

    def within(self, other: 'Event') -> bool:
        """Whether this is `other` or a part of it."""
        event: Event | None = self
        while event is not None and event is not other:
            event = event.parent
        return event is other


class Watcher:
    """Keeps the calls of layers: `started` and `ended`, each in its order.

    Args:
        stop: asked with every call that has ended; where it says yes, the run ends with `Stopped`. Such a watcher looks
            at no shapes, which compilers may not know.
        keep: the layers whose outputs are kept; None keeps all of them.
        only: the one layer whose calls it sees; None sees all.
    """

    def __init__(
        self, stop: Callable[[Event], bool] | None = None, keep: Sequence[Any] | None = (), only: Any = None
    ) -> None:
        self.started: list[Event] = []
        self.ended: list[Event] = []
        self._stop, self._keep, self._only = stop, keep, only
        self._stack: list[Event] = []

    def enter(self, layer: Any, args: Any, kwargs: Any) -> Event | None:
        """A call begins; None where nobody need know."""
        if self._only is not None and layer is not self._only:
            return None
        if self._stack and opaque(self._stack[-1].layer):
            return None
        form = [described(args), described(kwargs)] if layer._layers and self._stop is None else None
        event = Event(layer, self._stack[-1] if self._stack else None, form)
        self.started.append(event)
        self._stack.append(event)
        return event

    def leave(self, event: Event, output: Any) -> None:
        """It gave its output."""
        tensor = main(output)
        if tensor is not None and self._stop is None:
            event.shape, event.dtype = tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)
        event.plain = tensor is output and tensor is not None
        if self._keep is None or any(event.layer is layer for layer in self._keep):
            event.output = tensor
        self.ended.append(event)
        if self._stop is not None and self._stop(event):
            raise Stopped(self, tensor)

    def close(self, event: Event) -> None:
        """It is over, with or without output."""
        self._stack.remove(event)


class Stopped(BaseException):
    """Ends a run from within; no Exception, for Keras and its engines take hold of these on their way."""

    def __init__(self, watcher: Watcher, output: Any) -> None:
        super().__init__()
        self.watcher, self.output = watcher, output


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """While this is open, the watcher sees the calls of layers in this thread."""
    _begin()
    token = _watchers.set((*_watchers.get(), watcher))
    try:
        yield
    finally:
        _watchers.reset(token)
        _end()


def prepare(model: Any) -> None:
    """While the model lives, `watched` takes no time: to put something in a class makes Python slow for a while."""
    if model not in _prepared:
        _prepared.add(model)
        _begin()
        finalize(model, _end).atexit = False


def _begin() -> None:
    global _open, _own
    with _lock:
        if not _open:
            _own = keras.layers.Layer.__call__
            keras.layers.Layer.__call__ = _call
        _open += 1


def _end() -> None:
    global _open
    with _lock:
        _open -= 1
        if not _open:
            keras.layers.Layer.__call__ = _own


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    watchers = _watchers.get()
    if not watchers:
        return _own(layer, *args, **kwargs)
    seen = [(w, event) for w in watchers if (event := w.enter(layer, args, kwargs)) is not None]
    try:
        output = _own(layer, *args, **kwargs)
        for watcher, event in seen:
            watcher.leave(event, output)
        return output
    finally:
        for watcher, event in seen:
            watcher.close(event)


class Reads(keras.StatelessScope):
    """While this is open no variable changes; `read` has the ids of those that were looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.read: set[int] = set()

    def get_current_value(self, variable: Any) -> Any:
        """What was assigned since the scope was opened."""
        self.read.add(id(variable))
        return super().get_current_value(variable)


def spread(model: Any, inputs: Any) -> Arguments:
    """How a model is called with a batch: functional and sequential ones spread it themselves."""
    if hasattr(model, 'inputs'):
        return (inputs,), {}
    return inference.arguments(getattr(model, 'general', model).call, inputs)


def no_gradient() -> Any:
    """Only torch keeps what a gradient would need where nobody asks for one."""
    return import_module('torch').no_grad() if keras.backend.backend() == 'torch' else nullcontext()


@contextmanager
def _same_chance() -> Iterator[None]:
    # On torch, layers of dropout that were given no seed draw from the generator of the process.
    if keras.backend.backend() != 'torch':
        yield
        return
    torch = import_module('torch')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def run(model: Any, inputs: Arguments, watcher: Watcher | None = None, training: bool = False) -> tuple[Any, set[int]]:
    """What the model gives, or where the watcher stops it, and the ids of the variables it looked at.

    It leaves no trace on the model, and chance is the same each time.
    """
    args, kwargs = inputs
    if not all(layer.built for layer in [model, *tree(model)]):
        with no_gradient():
            model(*args, training=False, **kwargs)
    with Reads() as scope, no_gradient(), _same_chance(), watched(watcher or Watcher()):
        try:
            output = model(*args, training=training, **kwargs)
        except Stopped as stopped:
            if stopped.watcher is not watcher:
                raise
            output = stopped.output
    return output, scope.read


def main(output: Any) -> Any:
    """The tensor that is meant where a layer gives several; None if there is none."""
    if isinstance(output, Mapping):
        output = next((output[name] for name in MAIN if output.get(name) is not None), None)
    elif isinstance(output, list | tuple):
        output = output[0] if output else None
    return output if hasattr(output, 'shape') and hasattr(output, 'dtype') else None


def described(x: Any) -> Any:
    """Arguments with every tensor as its shape and dtype: data, from which `filled` makes others of the kind."""
    if isinstance(x, Mapping):
        return {key: described(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [described(value) for value in x]
    if hasattr(x, 'shape'):
        return {'shape': list(x.shape), 'dtype': keras.backend.standardize_dtype(x.dtype)}
    return x


def filled(form: Any) -> Any:
    """Arguments of a form, full of ones."""
    if isinstance(form, Mapping):
        if form.keys() == {'shape', 'dtype'} and isinstance(form['dtype'], str):
            return keras.ops.ones(form['shape'], form['dtype'])
        return {key: filled(value) for key, value in form.items()}
    return [filled(value) for value in form] if isinstance(form, list | tuple) else form
