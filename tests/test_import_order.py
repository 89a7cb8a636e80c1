"""Frameworks in one process: whatever the order of import, each still computes, and its gradients too.

TensorFlow before Paddle kills a process that does not take care; `finetuner.backends.paddle` does.
"""

from itertools import permutations

import pytest

from tests.fresh import run

IMPORTS = {
    'torch': 'import torch',
    'tensorflow': 'import tensorflow as tf',
    'paddle': 'import finetuner.backends.paddle.ops',
}
WORK = """
import numpy as np
from finetuner.dispatch import get_namespace
from finetuner.backends.paddle import paddle
from finetuner.losses.distances import cosine_similarity

x = np.arange(6, dtype=np.float32).reshape(3, 2) + 1

def value(t):
    return get_namespace(t).sum(cosine_similarity(t, t) * cosine_similarity(t, t))

t = torch.tensor(x, requires_grad=True)
value(t).backward()
p = paddle.to_tensor(x, stop_gradient=False)
value(p).backward()
k = tf.constant(x)
with tf.GradientTape() as tape:
    tape.watch(k)
    total = value(k)
gradients = [t.grad.numpy(), p.grad.numpy(), tape.gradient(total, k).numpy()]
expected = float(value(x))
for other in gradients[1:]:
    np.testing.assert_allclose(other, gradients[0], atol=1e-6)
for one in (value(t).item(), value(p).item(), float(total)):
    assert abs(one - expected) < 1e-5, (one, expected)

# A step of an optimizer too: the crash came from the protobuf and thread libraries that two frameworks share.
layer = paddle.nn.Linear(2, 2)
optimizer = paddle.optimizer.AdamW(parameters=layer.parameters())
layer(paddle.to_tensor(x)).sum().backward()
optimizer.step()
print('worked')
"""


@pytest.mark.parametrize('order', list(permutations(IMPORTS)), ids='-'.join)
def test_every_order_of_import_computes_and_trains(order):
    code = '\n'.join(IMPORTS[name] for name in order) + WORK
    assert run(code, KERAS_BACKEND='tensorflow', CUDA_VISIBLE_DEVICES='').stdout.endswith('worked\n')
