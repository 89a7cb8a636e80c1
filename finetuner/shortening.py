"""Batches of texts go through a model in groups of like length, where padding means nothing to it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from finetuner.console import logger
from finetuner.data.lengths import Group, Padded, cost, groups, padded
from finetuner.dispatch import load
from finetuner.typing import Inputs, Tensor

OVERHEAD = {'cpu': 128, 'cuda': 8192}
"""What a call of a model costs, in tokens. That of CPUs was measured with MiniLM; that of GPUs is a guess."""
GAIN = 0.9
"""Groups must cost less than this part of the whole batch."""
TOLERANCE = 1e-3
"""How much vectors may differ without padding, as a part of the largest number in them."""


def in_groups(coder: Any, inputs: Inputs, call: Callable[[Inputs], Tensor]) -> Tensor:
    """What `call` gives for a batch, computed in groups of like length where that is less work.

    Args:
        coder: the `Encoder` whose model is called.
        inputs: of the batch.
        call: from inputs to (B, D).

    Returns:
        (B, D) in the order of the batch.
    """
    batch = None if coder.shapes_matter else padded(inputs)
    if batch is None:
        return call(inputs)
    overhead = OVERHEAD[coder.device.partition(':')[0]]
    found = groups(batch.lengths, overhead)
    if cost(found, overhead) > GAIN * (len(batch.lengths) * batch.width + overhead) or not _needless(coder, batch):
        return call(inputs)
    ops = load(coder.framework, 'ops')
    vectors = ops.concatenate([call(batch.part(group)) for group in found])
    return ops.take(vectors, ops.asarray(np.argsort(np.concatenate([group.rows for group in found]))))


def _needless(coder: Any, batch: Padded) -> bool:
    row = np.array([batch.lengths.argmin()])
    return needless(coder, lambda width: batch.part(Group(row, width)), int(batch.lengths.min()), batch.width)


def needless(coder: Any, text: Callable[[int], Inputs], short: int, long: int) -> bool:
    """Whether a model gives the same without padding; tried once for a model.

    Args:
        coder: the `Encoder`.
        text: one text as the model takes it, filled up to a number of tokens.
        short: how many it has.
        long: to how many it is to be filled up.
    """
    if coder.pads is None:
        ops = load(coder.framework, 'ops')
        try:
            with coder.as_is():  # in bf16, other numbers alone may come from other widths
                with_padding, without = (ops.to_numpy(coder.forward(text(width))) for width in (long, short))
            off = np.abs(with_padding - without).max() / max(np.abs(with_padding).max(), np.finfo(np.float32).tiny)
        except Exception as error:  # of the model's own, which takes no other width
            logger.debug('The model cannot be called without padding: %s', error)
            off = np.inf
        coder.pads = bool(not off <= TOLERANCE)
        if coder.pads:
            logger.debug('Padding changes what the model gives by %.1g: batches are computed as they are.', off)
    return not coder.pads
