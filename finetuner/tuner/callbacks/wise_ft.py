"""Between the weights from before the training and those after it: `(1 - alpha) * before + alpha * after`.

Tuned weights are better on data like those they were tuned on, and often worse on others; on the way from the one to
the other there are weights that keep most of what both can do. Source: Wortsman et al., 2022, Robust fine-tuning of
zero-shot models (WiSE-FT).
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from rich.table import Table

from finetuner.console import live_console, logger
from finetuner.errors import ArgumentError, CheckpointError, nearest
from finetuner.evaluation.spaces import less_is_better
from finetuner.inference import check_fit
from finetuner.tailor import origin
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.ema import EMA

ALPHAS = tuple(i / 10 for i in range(11))
MODES = ('auto', 'min', 'max')


class WiSEFTCallback(Callback):
    """Ends the training between the weights from before it and the trained ones.

    *When to use*: for a pretrained model that shall stay good on data that it is not tuned on, such as CLIP or a large
    text encoder. Of a small model that starts from noise nothing is worth going back to.

    The statistics of BatchNorm are interpolated like weights; counts are those of the trained model, and what is frozen
    stays as it is. After an EMA the averages count as the trained weights. An error or Ctrl-C in between leaves the
    trained weights.

    Args:
        alpha: where to end: 0 is before the training, 1 after it. A list of such numbers tries each on held-out data
            and takes the best, of equal ones the largest; None tries 0, 0.1, … 1.
        monitor: the metric of an EvaluationCallback by which a list is judged; None takes 'map_at_r'.
        mode: whether more of it is better, 'max', or less, 'min'; 'auto' is 'max', except of
            alignment and uniformity.
        show: whether to print a table of what was tried.

    Attributes:
        tried: the metric at each alpha that was tried, of the last training.
        chosen: the alpha that the last training ended with.

    Raises:
        ArgumentError: a number that is not from 0 to 1, or a monitor where there is nothing to choose.
    """

    def __init__(
        self,
        *,
        alpha: float | Sequence[float] | None = 0.4,
        monitor: str | None = None,
        mode: str = 'auto',
        show: bool = True,
    ) -> None:
        self.sweeps = not isinstance(alpha, Real)
        alphas: Any = ALPHAS if alpha is None else alpha if self.sweeps else (alpha,)
        if not isinstance(alphas, list | tuple) or not alphas or not all(map(_part, alphas)):
            raise ArgumentError(f'alpha={alpha!r}: expected a number from 0 to 1, a list of such numbers, or None.')
        if not self.sweeps and monitor is not None:
            raise ArgumentError(f'monitor={monitor!r} chooses an alpha: give several, alpha=None for 0, 0.1, … 1.')
        if mode not in MODES:
            raise ArgumentError(f'mode={mode!r} is unknown. {nearest(str(mode), MODES)}')
        self.alphas = sorted({float(each) for each in alphas})
        self.monitor = monitor or 'map_at_r'
        self.sign = -1.0 if mode == 'min' or (mode == 'auto' and less_is_better(self.monitor)) else 1.0
        self.show = show
        self.tried: dict[float, float] = {}
        self.chosen: float | None = None
        self._before: dict[str, np.ndarray] = {}

    def check(self, tuner: Any) -> None:
        """Refuse what has no weights to go back to, and a metric that nobody measures."""
        self._before = {}
        if not tuner.again:
            self.tried, self.chosen = {}, None
        callbacks = tuner.callbacks
        if any(isinstance(other, WiSEFTCallback) for other in callbacks if other is not self):
            raise ArgumentError('Two WiSEFTCallback in one training would interpolate twice: give one.')
        if any(isinstance(later, EMA) for later in callbacks[callbacks.index(self) :]):
            raise ArgumentError('EMA would overwrite what WiSEFTCallback does: put EMA before it.')
        if tuner.encoder.adapters():
            raise ArgumentError(
                'WiSEFTCallback goes back to the weights from before, and adapters leave them as they are: leave it '
                'out, or leave adapter out.'
            )
        made = origin.of(tuner.embed_model) if tuner.fresh else None
        drawn = [step for step in made.recipe.head if step[0] == 'linear' and 'identity' not in step] if made else []
        if drawn or (made and made.recipe.pooling and made.recipe.pooling.name == 'attention'):
            what = f'a new head {drawn[0]}' if drawn else 'a new attention pooling'
            raise ArgumentError(
                f'WiSEFTCallback goes back to the weights from before the training, and {what} has learned nothing '
                f'then. Train it first, model = fit(…, freeze=True); then finetuner.unfreeze(model), and fit it with '
                f'WiSEFTCallback.'
            )
        if self.sweeps and self.chosen is None:
            self._judge(tuner)

    def arrays(self, tuner: Any) -> Mapping[str, np.ndarray]:
        """The weights from before the training."""
        return self._before

    def restore(self, tuner: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Take them back."""
        if not arrays and tuner.state.step:
            raise CheckpointError(
                'The checkpoint has no weights from before the training: WiSEFTCallback must be there from the start. '
                'Resume without it.'
            )
        self._before = dict(arrays)

    def on_fit_begin(self, tuner: Any) -> None:
        """Keep the weights."""
        self._before = self._before or tuner.encoder.weights()

    def finish(self, tuner: Any) -> bool:
        """Interpolate; of several alphas find the best."""
        after = tuner.encoder.weights()
        check_fit(after, self._before)
        try:
            if not tuner.again:
                self.chosen = self._best(tuner, after) if self.sweeps else self.alphas[0]
            assert self.chosen is not None
            tuner.encoder.assign(self._between(after, self.chosen))
        except BaseException:
            tuner.encoder.assign(after)
            raise
        return self.sweeps or self.chosen < 1

    def _best(self, tuner: Any, after: Mapping[str, np.ndarray]) -> float:
        judge, name = self._judge(tuner)
        for alpha in self.alphas:
            tuner.encoder.assign(self._between(after, alpha))
            self.tried[alpha] = judge.values(tuner)[name]
        best = max(self.alphas, key=lambda alpha: (self.sign * self.tried[alpha], alpha))
        logger.info('WiSE-FT: alpha %g is the best, %s is %.4f.', best, name, self.tried[best])
        if self.show:
            table = Table('alpha', name, title='Between before (0) and after (1)')
            for alpha, value in self.tried.items():
                table.add_row(f'{alpha:g}', f'{value:.4f}', style='green' if alpha == best else None)
            live_console.print(table)
        return best

    def _judge(self, tuner: Any) -> tuple[Callback, str]:
        # Who measures the monitor, and how it is called in the history.
        for callback in tuner.callbacks:
            if found := callback.metric(self.monitor):
                return callback, found
        known = {name for callback in tuner.callbacks for name in callback.metrics()}
        hint = nearest(self.monitor, known) if known else 'Give eval_data, or an EvaluationCallback of held-out data.'
        raise ArgumentError(
            f'WiSEFTCallback chooses alpha by {self.monitor!r}, which this training never measures. {hint}'
        )

    def _between(self, after: Mapping[str, np.ndarray], alpha: float) -> dict[str, np.ndarray]:
        found = dict(after)
        for name, value in after.items():
            if 'float' in str(value.dtype) and not np.array_equal(value, self._before[name]):
                wide = np.result_type(value.dtype, np.float32)
                mixed = (1 - alpha) * self._before[name].astype(wide) + alpha * value.astype(wide)
                found[name] = mixed.astype(value.dtype)
        return found


def _part(alpha: Any) -> bool:
    return isinstance(alpha, Real) and not isinstance(alpha, bool) and 0 <= float(alpha) <= 1
