"""A Keras model once more, with weights of its own: also one of a class that cannot say how it is made."""

import copy
import sys
from typing import Any

import keras

from finetuner.backends.keras.graph import fresh, is_chain, is_graph, rerun

# What compiling and training leave on a model; the copy is neither compiled nor trained.
_TRAINING: dict[str, Any] = {
    'optimizer': None,
    'compiled': False,
    'loss': None,
    'train_function': None,
    'test_function': None,
    'predict_function': None,
    'history': None,
    '_loss_tracker': None,
    '_compile_loss': None,
    '_compile_metrics': None,
    '_compile_config': None,
    '_compiled_trainable_state': {},
    '_eval_epoch_iterator': None,
    '_distribute_strategy': None,
}
_STORES = ('trainable_variables', 'non_trainable_variables', 'metrics', 'layers', 'seed_generators')
# Made anew with every layer: they are bound to it.
_BOUND = {'build', 'quantize', '_tracker', *(f'_{store}' for store in _STORES)}


def duplicate(model: Any) -> Any:
    """A model with copies of all weights and statistics, and the same trainable flags."""
    return _duplicate(model, {id(module): module for module in sys.modules.values()})


def _duplicate(x: Any, memo: dict[int, Any]) -> Any:
    if id(x) in memo:
        return memo[id(x)]
    if is_graph(x):
        inputs = fresh(x)
        outputs = rerun(x, inputs, lambda operation, *a, **k: _duplicate(operation, memo)(*a, **k))
        made = keras.Model(inputs, outputs, name=x.name)
    elif is_chain(x):
        first = [fresh(x)] if hasattr(x, 'inputs') else []
        made = keras.Sequential([*first, *(_duplicate(layer, memo) for layer in x.layers)], name=x.name)
    else:
        return _object(x, memo)
    memo[id(x)] = made
    if not x.trainable:
        made.trainable = False
    return made


def _object(x: Any, memo: dict[int, Any]) -> Any:
    # Keras copies by saving, which needs a class that it can find; here the parts are copied one by one.
    kind: Any = type(x)
    made = kind.__new__(kind)
    memo[id(x)] = made
    state = dict(vars(x))
    if isinstance(x, keras.layers.Layer):
        made._tracker.unlock()
        memo[id(x._tracker)] = made._tracker
        for store in _STORES:
            for item in getattr(x, f'_{store}'):
                if item is not state.get('_loss_tracker') and item is not state.get('_compile_metrics'):
                    made._tracker.add_to_store(store, _copied(item, memo))
            memo[id(getattr(x, f'_{store}'))] = getattr(made, f'_{store}')
        if isinstance(x, keras.Model):
            state |= {name: value for name, value in _TRAINING.items() if name in state}
        for hidden in vars(x).values():
            if isinstance(hidden, Held) and isinstance(hidden.content, keras.layers.Layer):
                memo[id(hidden)] = Held(_duplicate(hidden.content, memo))
    for name, value in state.items():
        if name in _BOUND or name.startswith('_self_'):  # the latter are TensorFlow's, about saving
            continue
        empty = name in ('_inbound_nodes', '_outbound_nodes')
        object.__setattr__(made, name, [] if empty else copy.deepcopy(value, memo))
    if isinstance(x, keras.layers.Layer) and x._tracker.locked:
        made._lock_state()
    return made


def _copied(item: Any, memo: dict[int, Any]) -> Any:
    if isinstance(item, keras.layers.Layer | keras.metrics.Metric):
        return _duplicate(item, memo)
    return copy.deepcopy(item, memo)


class Held:
    """Something for Keras to leave alone: what a layer refers to, but does not own."""

    def __init__(self, content: Any) -> None:
        self.content = content
