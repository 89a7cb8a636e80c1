"""Refuses a training whose views do not differ: where nothing but chance in the model can make them."""

from typing import Any

import numpy as np

from finetuner.data.chance import seeded
from finetuner.data.collate import collate
from finetuner.errors import ArgumentError
from finetuner.tuner.callbacks.base import Callback

_ROWS = 8  # of one item, for a model may drop little and seldom
_EQUAL = 1e-4  # of their length: rows of one batch that are computed alike differ by less


class DropoutViews(Callback):
    """Before the training, has the model look at one item several times in a batch; `fit` adds it where it matters."""

    def on_fit_begin(self, tuner: Any) -> None:
        """Compare what the model gives for one item, in training mode.

        Raises:
            ArgumentError: it gives the same for all; says how views can be made to differ.
        """
        loader = tuner.loader
        with seeded(0):
            content = loader.dataset.content(0)
            inputs = collate([content] * _ROWS, lambda _: loader.dataset.name(0), loader.collate_fn)
        with tuner.statistics_kept():
            tuner.reseed(0)
            given = np.asarray(tuner.ops.to_numpy(tuner.forward(inputs)), np.float64)
        apart = np.abs(given - given[:1]).max()
        if apart > _EQUAL * max(np.abs(given).max(), 1e-12):
            return
        raise ArgumentError(
            'The two views of an item are equal, so there is nothing to learn: nothing changes the items, and the '
            'model has no dropout that acts in training. Give fit a function that changes an item by chance, for '
            "vectors augmentation=lambda x: x + np.random.normal(0, 0.1, x.shape); augmentation='text' for texts, "
            "'image' for images, 'points' for point clouds; or a model with dropout. augmentation=False trains on "
            'equal views all the same.'
        )
