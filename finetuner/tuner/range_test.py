"""A learning rate range test: a short training at rates that rise until it goes wrong, and the rate that this says.

The loss is flat where the rate is too low, falls where the model learns, and rises where the rate is too high. It
differs from batch to batch, so it is smoothed, and nothing depends on where it falls fastest, which noise moves far.
Rates are good from where half of its fall is behind it to where half of it is lost again. If the usual rate is among
them it stays; one that is too low is raised to the first of them, one that is too high lowered to where the loss is
lowest. To go further would be no better: the loss says nothing of what is not trained on, and by that the usual rate
was chosen.
Source of the test: Smith, 2017, Cyclical Learning Rates for Training Neural Networks.
"""

import math
from collections.abc import Generator, Sequence
from itertools import count
from typing import Any

import numpy as np

from finetuner.console import logger
from finetuner.data.batch import Batch, Loader
from finetuner.memory import is_out_of_memory
from finetuner.tuner import exhaustion
from finetuner.tuner.interruption import deferred
from finetuner.tuner.trial import trial

LOWEST, HIGHEST = 1e-3, 1e2
"""Where the rates begin and end, as multiples of the usual one."""
MOST, LEAST = 100, 50
"""Updates of a test: as many as the training has, within these."""
FALLEN = 0.5
"""The part of its fall that the loss has behind it at the lowest good rate.

Of 0.1 to 0.8, the higher ones gave better vectors where the usual rate was far too low, and worse ones where it was
right; measured on digits and made-up clusters, with eight models, losses and optimizers.
"""
DECADES = 0.15
"""Over how much of the scale of rates, in powers of ten, the loss is smoothed."""
SURE = 1.5
"""A fall counts that is so many times what chance adds to the loss of a batch; smoothed, chance alone falls as far."""
LATEST = 5
"""Losses that are looked at together to see whether the training diverges."""


def find(tuner: Any, loader: Loader, updates: int) -> dict[str, Any]:
    """The learning rate for a training, and what was seen.

    Args:
        tuner: before its training; its optimization is that of the usual rate.
        loader: of the batches.
        updates: that the training will have.

    Returns:
        `learning_rate`, the `usual` one, and for every update of the test its rate (`rates`), its loss (`losses`) and
        the smoothed loss (`smooth`).
    """
    usual = tuner.optimization.learning_rate
    steps = min(max(updates, LEAST), MOST)
    logger.info('Looking for the learning rate: %d updates at rates that rise, which are undone.', steps)
    # Three digits, so that what is printed is what is taken. A schedule may not end above its highest rate.
    lowest = max(usual * LOWEST, 2 * tuner.optimization.schedule.options.get('lr_end', 0))
    rates = [float(f'{rate:.3g}') for rate in np.geomspace(lowest, usual * HIGHEST, steps)]
    losses = curve(tuner, loader, rates)
    smooth = smoothed(rates, losses)
    seen = good(rates, losses, smooth)
    if seen is None:
        rate = usual
        logger.warning('The loss does not fall at any rate, but for chance: the usual learning rate, %g, stays.', usual)
    else:
        low, best, high = seen
        rate = low if usual < low else best if usual > high else usual
        logger.info('The learning rate: %g. From %g to %g are good, usual would be %g.', rate, low, high, usual)
    return {'learning_rate': rate, 'usual': usual, 'rates': rates[: len(losses)], 'losses': losses, 'smooth': smooth}


def smoothed(rates: Sequence[float], losses: Sequence[float]) -> list[float]:
    """The losses, each with those about it, as a bell of the width `DECADES` weighs them; none is counted as infinite.

    >>> [round(loss, 3) for loss in smoothed([1, 1.1, 10, 100], [3.0, 2.0, 1.0, math.nan])]
    [2.51, 2.49, 1.0, 6.0]
    """
    values = np.asarray(losses, np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        return list(map(float, values))
    start = known[:LATEST].max()
    ceiling = start + max(start - known.min(), abs(start))  # what is beyond is as bad, and would spoil those before it
    values = np.minimum(np.where(np.isfinite(values), values, ceiling), ceiling)
    places = np.log10(np.asarray(rates[: len(values)]))
    weights = np.exp(-0.5 * ((places[:, None] - places) / DECADES) ** 2)
    return list(map(float, weights @ values / weights.sum(1)))


def good(rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float]) -> tuple[float, float, float] | None:
    """The lowest good rate, the one of the lowest loss, and the highest good one; None if chance alone moves the loss.

    Args:
        rates: of the updates, or more.
        losses: as they were.
        smooth: what `smoothed` makes of them.

    >>> fall = [4.0] * 20 + [3.0, 2.0, 1.0, 0.9, 0.8] + [5.0] * 5
    >>> good(range(30), fall, fall)
    (21, 24, 24)
    """
    if not np.isfinite(smooth).all():
        return None
    lowest = int(np.argmin(smooth))
    before = np.asarray(smooth[: lowest + 1])
    fall = float(before.max() - before[-1])
    # What chance adds to a loss, it also adds to the next: their difference has twice its variance.
    chance = float(np.std(np.diff(losses[: lowest + 1]))) / math.sqrt(2) if lowest else 0.0
    if lowest < LATEST or fall <= SURE * chance:
        return None
    level = before.max() - FALLEN * fall
    above = [place for place, loss in enumerate(smooth) if loss > level]
    high = min([place for place in above if place > lowest], default=len(smooth)) - 1
    return rates[max(place for place in above if place < lowest) + 1], rates[lowest], rates[high]


def diverges(losses: Sequence[float]) -> bool:
    """Whether there is nothing more to see: the last losses are not finite, or twice as high as the first ones.

    >>> diverges([2.0] * 9), diverges([2.0] * 5 + [9.0] * 5), diverges([2.0, math.nan])
    (False, True, True)
    """
    if not math.isfinite(losses[-1]):
        return True
    first, last = losses[:LATEST], losses[-LATEST:]
    return len(losses) >= 2 * LATEST and float(np.mean(last)) > max(first) + abs(max(first))


def curve(tuner: Any, loader: Loader, rates: Sequence[float]) -> list[float]:
    """The losses of updates at these rates, until the training diverges; then all is undone.

    What the loss itself learns stands still, so that all that falls is the doing of the model's rate.

    Args:
        tuner: before its training.
        loader: of the batches.
        rates: of the model.

    Raises:
        TrainingError: a batch does not fit into memory; names what would.
    """
    losses: list[float] = []
    group: list[Batch] = []
    with trial(tuner, loader):
        batches = _endless(loader)
        try:
            for rate in rates:
                tuner.set_rates({name: scale * rate for name, (scale, _) in tuner.groups.items()} | {'loss': 0.0})
                group = [next(batches) for _ in range(tuner.state.group)]
                with deferred():
                    of_group = [float(tuner.step(*batch)) for batch in group]
                losses.append(float(np.mean(of_group)))
                if diverges(losses):
                    break
        except Exception as error:
            if group and is_out_of_memory(error):
                raise exhaustion.error(tuner, error, group[0][0]) from error
            raise
        finally:
            batches.close()
    return losses


def _endless(loader: Loader) -> Generator[Batch]:
    for epoch in count():
        yield from loader.epoch(epoch)
