"""The precision to encode in: bf16 where it is faster and, as is tried on some of the items, as good."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner import precision as precisions
from finetuner.console import logger
from finetuner.encoding.batches import Batch
from finetuner.encoding.halving import Halving
from finetuner.inference import Encoder

LEAST_TRIED, MOST_TRIED = 8, 32
"""Items that are tried, one of 32 of all."""
FEWEST = 256
"""With fewer items to encode the trial would take longer than it saves."""
LEAST = 0.9999
"""The cosine of a vector in bf16 to that in float32, of every item that is tried."""


def chosen(precision: Any, coder: Encoder, count: int) -> str:
    """'32', 'bf16' or '16' as asked for; of 'auto', 'bf16' where it is worth a trial.

    Args:
        precision: as asked for.
        coder: the model, placed on its device.
        count: how many items there are.

    Raises:
        ArgumentError: there is no such precision, or it cannot be had here.
    """
    wanted = precisions.named(precision)
    if wanted in ('bf16', '16'):
        precisions.check(wanted, coder, training=False)
    if wanted != 'auto':
        return wanted
    if count < FEWEST:
        why = f'with fewer than {FEWEST} items nothing is to be gained'
    elif precisions.gains(coder):
        return 'bf16'
    else:
        why = 'bf16 is not faster for this model here'
    logger.info("precision='auto': float32, because %s.", why)
    return '32'


def size(count: int) -> int:
    """How many of `count` items are tried."""
    return min(max(count // 32, LEAST_TRIED), MOST_TRIED)


def tried(call: Halving, batches: Sequence[Batch]) -> str:
    """'bf16' if its vectors are as good as those in float32, else '32', with a line that says so.

    Args:
        call: the model, from batches to vectors.
        batches: some items.
    """
    right = np.concatenate([call(batch) for batch in batches]).astype(np.float64)
    with call.coder.computing('bf16'):
        found = np.concatenate([call(batch) for batch in batches]).astype(np.float64)
    least = float(cosines(right, found).min())
    if least >= LEAST:  # not so of NaN
        logger.info("precision='auto': bf16; on %d items the cosine to float32 is %.5f or more.", len(right), least)
        return 'bf16'
    logger.info(
        "precision='auto': float32, because in bf16 the cosine falls to %.5f on %d items, below %s.",
        least, len(right), LEAST,
    )  # fmt: skip
    return '32'


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of (N, D) to the same of another; 1 where both are zeros."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(1)
    found: np.ndarray = np.where(same, 1.0, (a * b).sum(1) / np.where(lengths > 0, lengths, 1.0))
    return found
