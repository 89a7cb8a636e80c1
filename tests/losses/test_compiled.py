"""Every loss once, and every miner once, by the compilers of the frameworks: nothing is different for it."""

from functools import partial

import numpy as np
import pytest

from finetuner.losses import get
from finetuner.losses.names import LOSSES, MINERS
from finetuner.losses.objective import Objective
from tests.losses import cases, samples
from tests.losses.test_values import SINGLE, SLOPE
from tests.losses.turn import in_turn

IN_TURN = ('keras-tensorflow', 'keras-jax')
LABELS = [0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 0, 0]
COMPILERS = {
    'torch': ['fullgraph'],
    'keras-torch': [],
    'keras-tensorflow': ['unknown batch', 'XLA'],
    'keras-jax': ['jit'],
    'paddle': ['to_static'],
    'numpy': [],
}


def compiled(compiler, objective, layout, x, codes, weights):
    """Value and slopes of a loss of native tensors; the batch, its codes and what is learned are arguments."""
    names = list(weights)

    def f(x, codes, learned):
        return objective(x, codes, layout, {name: learned[i] for i, name in enumerate(names)})

    return COMPILED[compiler](f, x, codes, list(weights.values()))


def fullgraph(f, x, codes, learned):
    import torch

    torch._dynamo.reset()  # it counts how often one function was compiled, and gives up
    leaves = [x.requires_grad_(), *(weight.requires_grad_() for weight in learned)]
    value = torch.compile(f, fullgraph=True, backend='aot_eager')(x, codes, learned)
    value.backward()
    return value.item(), [leaf.grad.numpy() for leaf in leaves]


def graph(f, x, codes, learned, xla):
    import tensorflow as tf

    def spec(tensor):
        return tf.TensorSpec([tensor.shape[0] if xla else None, *tensor.shape[1:]], tensor.dtype)

    signature = [spec(x), {name: spec(code) for name, code in codes.items()}]
    signature.append([tf.TensorSpec(weight.shape, weight.dtype) for weight in learned])

    @tf.function(input_signature=signature, jit_compile=xla)
    def both(x, codes, learned):
        with tf.GradientTape() as tape:
            tape.watch([x, *learned])
            value = f(x, codes, learned)
        return value, tape.gradient(value, [x, *learned], unconnected_gradients='zero')

    value, slopes = both(x, codes, learned)
    return float(value), [slope.numpy() for slope in slopes]


def jit(f, x, codes, learned):
    import jax

    value, (slope, slopes) = jax.jit(jax.value_and_grad(f, argnums=(0, 2)))(x, codes, learned)
    return float(value), [np.asarray(slope) for slope in (slope, *slopes)]


def to_static(f, x, codes, learned):
    from finetuner.backends.paddle import paddle

    leaves = [x, *learned]
    for leaf in leaves:
        leaf.stop_gradient = False
    value = paddle.jit.to_static(f, full_graph=True)(x, codes, learned)
    value.backward()
    return value.item(), [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]


COMPILED = {
    'fullgraph': fullgraph,
    'unknown batch': partial(graph, xla=False),
    'XLA': partial(graph, xla=True),
    'jit': jit,
    'to_static': to_static,
}


def check(library, objective, codes, layout, x):
    weights = cases.learned(objective, x.shape[1], layout.n_classes)
    exact = objective(x.astype(float), codes, layout, {name: w.astype(float) for name, w in weights.items()})
    value, right = library.run(objective, cases.Batch(x, codes, layout, None, None), *weights.values())
    for compiler in COMPILERS[library.name]:
        native = {name: library.native(weight) for name, weight in weights.items()}
        arguments = library.native(x), {name: library.native(code) for name, code in codes.items()}, native
        found, slopes = compiled(compiler, objective, layout, *arguments)
        assert found == pytest.approx(float(exact), rel=SINGLE, abs=SINGLE), compiler
        assert found == pytest.approx(value, rel=SINGLE, abs=SINGLE), compiler
        for slope, expected in zip(slopes, right, strict=True):
            assert np.abs(slope - expected).max() <= SLOPE['float32'] * max(np.abs(expected).max(), 1e-3), compiler


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-jax', 'paddle')
@pytest.mark.parametrize('name', LOSSES)
def test_losses(library, name):
    if library.name in IN_TURN:
        in_turn([*LOSSES].index(name))
    x = samples.fitting(name, cases.vectors(len(LABELS), 6))
    codes, layout = samples.batch(name, x, LABELS)
    check(library, Objective(get(name)), codes, layout, x)


@pytest.mark.backends('torch', 'keras-tensorflow', 'keras-jax', 'paddle')
@pytest.mark.parametrize('name', [name for name in MINERS if ':' not in MINERS[name]])
def test_miners(library, name):
    if library.name in IN_TURN:
        in_turn([*MINERS].index(name))
    x = cases.vectors(len(LABELS), 6)
    codes, layout = samples.batch('TripletMarginLoss', x, LABELS)
    miner = get(name, 'miner')
    if getattr(miner, 'guided', False):
        codes['guide'] = cases.vectors(len(LABELS), 6, seed=9)
    lots = miner.lots(layout) if hasattr(miner, 'lots') else 0
    if lots:
        codes['lots'] = np.random.default_rng(0).random((layout.rows, lots), np.float32)
    check(library, Objective(get('TripletMarginLoss', margin=0.5), miner), codes, layout, x)
