"""How fast to learn: the rate as a function of the step, and the highest rate for a kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from finetuner.errors import ArgumentError, nearest
from finetuner.losses.options import Rule, mapping, number, one_of, whole
from finetuner.precision import is_transformer
from finetuner.tuner import curves

SCHEDULER_STEPS = ('batch', 'epoch')
"""What a step of a schedule can be."""

WARMUP = 0.1
"""The part of all steps in which the rate rises, if nothing else is said."""


def _warmup(name: str, value: Any) -> float:
    rule = number(least=0) if isinstance(value, Integral) else number(least=0, below=1)
    try:
        kept: float = rule(name, value)
        return kept
    except ArgumentError:
        raise ArgumentError(
            f'{name}={value!r}: expected a whole number of steps, such as 100, or a part of all, such as 0.1.'
        ) from None


def _total(name: str, value: Any) -> int | None:
    return None if value in (None, 'auto') else whole(name, value)


_STEPS: dict[str, tuple[Any, Rule]] = {
    'num_warmup_steps': (WARMUP, _warmup),
    'num_training_steps': (None, _total),
}
_POSITIVE = number(above=0)

SCHEDULES: dict[str, tuple[Callable[..., float], dict[str, tuple[Any, Rule]]]] = {
    'linear': (curves.linear, _STEPS),
    'cosine': (curves.cosine, _STEPS | {'num_cycles': (0.5, _POSITIVE)}),
    'cosine_with_restarts': (curves.cosine_with_restarts, _STEPS | {'num_cycles': (1, whole)}),
    'polynomial': (curves.polynomial, _STEPS | {'power': (1.0, _POSITIVE), 'lr_end': (1e-7, number(least=0))}),
    'constant': (curves.constant, {}),
    'constant_with_warmup': (curves.constant, {'num_warmup_steps': (WARMUP, _warmup)}),
}
"""By name the curve after the warm-up and the options, each with its default and what it can be.

Names, options, formulas and defaults, but that of the warm-up, are those of Hugging Face transformers.
"""


@dataclass(frozen=True)
class Schedule:
    """Which part of the highest rate a step is trained at: it rises from zero to one, then follows a curve.

    Args:
        name: one of `SCHEDULES`.
        options: those of the schedule, with a value for each; `scheduled` makes them.
        scheduler_step: what a step is. By 'epoch' the rate stands still within an epoch, and all numbers count epochs.
    """

    name: str = 'linear'
    options: Mapping[str, Any] = field(default_factory=lambda: _defaults('linear'))
    scheduler_step: str = 'batch'

    def __str__(self) -> str:
        steps = {} if self.scheduler_step == 'batch' else {'scheduler_step': self.scheduler_step}
        shown = {name: value for name, value in {**self.options, **steps}.items() if value is not None}
        listed = ', '.join(f'{name}={value!r}' for name, value in shown.items())
        return f'{self.name}({listed})' if listed else self.name

    def rising(self, total: int) -> int:
        """In how many of `total` steps the rate rises."""
        warmup = self.options.get('num_warmup_steps', 0)
        return warmup if isinstance(warmup, int) else round(warmup * self.span(total))

    def span(self, total: int) -> int:
        """After how many steps the curve is at its end; then it stays there."""
        return self.options.get('num_training_steps') or total

    def factor(self, step: int, total: int, highest: float = 1.0) -> float:
        """The part of the rate `highest` in step `step` (from 0) of `total`.

        No step is of rate zero in the warm-up: its first is as far above zero as the others are above those before.
        """
        rising = self.rising(total)
        if step < rising:
            return (step + 1) / rising
        progress = min((step - rising) / max(self.span(total) - rising, 1), 1.0)
        options = {name: value for name, value in self.options.items() if name not in _STEPS}
        if 'lr_end' in options:
            options['lr_end'] /= highest
        return SCHEDULES[self.name][0](progress, **options)

    def check(self, epochs: int, batches: int) -> None:
        """Refuse a warm-up that never ends.

        Args:
            epochs: of the training.
            batches: updates in an epoch.

        Raises:
            ArgumentError: the highest rate is not reached.
        """
        total = epochs * batches if self.scheduler_step == 'batch' else epochs
        rising, most = self.rising(total), min(self.span(total), total)
        if rising > most:
            unit = 'updates' if self.scheduler_step == 'batch' else 'epochs'
            raise ArgumentError(
                f'num_warmup_steps={rising}, but there are {most} {unit}: the learning rate would never be reached. '
                f'Give fewer, or a part of all, such as 0.1.'
            )


def _defaults(name: str) -> dict[str, Any]:
    return {option: default for option, (default, _) in SCHEDULES[name][1].items()}


def scheduled(name: str | None = None, options: Mapping[str, Any] | None = None, step: str = 'batch') -> Schedule:
    """The schedule that the arguments of `fit` name.

    Args:
        name: one of `SCHEDULES`; None takes linear.
        options: of that schedule, and `scheduler_step`.
        step: what a step is, where `options` do not say.

    Raises:
        ArgumentError: there is no such schedule or option, or a value is impossible.

    >>> print(scheduled('cosine', {'num_warmup_steps': 20}))
    cosine(num_warmup_steps=20, num_cycles=0.5)
    """
    found = (
        'linear' if name is None else one_of(SCHEDULES)('scheduler', name.lower() if isinstance(name, str) else name)
    )
    given = dict(mapping('scheduler_options', options))
    steps = one_of(SCHEDULER_STEPS)('scheduler_step', given.pop('scheduler_step', step))
    if step == 'epoch' != steps:
        raise ArgumentError(f'scheduler_step={step!r}, and {steps!r} in scheduler_options: give it once.')
    known = SCHEDULES[found][1]
    for option in given:
        if option not in known:
            others = [other for other, (_, own) in SCHEDULES.items() if option in own]
            hint = f'It is one of {", ".join(others)}.' if others else nearest(option, [*known, 'scheduler_step'])
            raise ArgumentError(f'scheduler_options: {found} has no option {option!r}. {hint}')
    kept = {
        option: rule(f'scheduler_options: {option}', given[option])
        for option, (_, rule) in known.items()
        if option in given
    }
    return Schedule(found, _defaults(found) | kept, steps)


@dataclass(frozen=True)
class Optimization:
    """An optimizer with its numbers, schedule and clipping; the same numbers on every framework.

    What is left out is AdamW's: `finetuner.tuner.optimizers` fills in the numbers of others. A model's weight decay is
    for matrices: biases and norms are left out.

    Args:
        name: one of `finetuner.tuner.optimizers.OPTIMIZERS`.
        learning_rate: the highest rate, reached after the warm-up.
        weight_decay: of AdamW and Lion per step, times the rate; the others add it, times the weight, to the slope.
        beta_1: decay of the mean of the slopes.
        beta_2: decay of the mean of their squares.
        epsilon: added to the root of the latter.
        momentum: the part of the last step's slope that is added to this one's.
        nesterov: whether it is added once more, ahead.
        rho: of RMSprop and Adadelta, decay of the mean of squares.
        momentum_decay: of NAdam, how fast its momentum rises to `beta_1`.
        clip: the longest that all slopes together may be.
        schedule: the rate of each step as a part of the highest.

    Raises:
        ArgumentError: the schedule ends above the highest rate.

    Source: Loshchilov and Hutter, 2019.
    """

    name: str = 'AdamW'
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.0
    nesterov: bool = False
    rho: float = 0.9
    momentum_decay: float = 4e-3
    clip: float = 1.0
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        end = self.schedule.options.get('lr_end', 0)
        if end >= self.learning_rate:
            raise ArgumentError(
                f'scheduler_options: lr_end={end:g} is not below the learning rate, {self.learning_rate:g}.'
            )

    def rate(self, step: int, total: int, batches: int = 1) -> float:
        """The learning rate of update `step` (from 0) of `total`.

        Args:
            step: the number of the update.
            total: how many there are in the training.
            batches: how many there are in an epoch.

        >>> half = scheduled(options={'num_warmup_steps': 0.5})
        >>> [round(Optimization(learning_rate=1.0, schedule=half).rate(step, 4), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        if self.schedule.scheduler_step == 'epoch':
            step, total = step // batches, total // batches
        return self.learning_rate * self.schedule.factor(step, total, self.learning_rate)


def learning_rate(layers: list[str], n_weights: int, adapted: bool = False) -> float:
    """The learning rate for a kind of model.

    Pretrained transformers are tuned gently (1e-4 up to 50 million weights, 3e-5 beyond, where the best rate falls
    with size); what else there is, is small and learns at 1e-3. Adapters beside weights that stand still learn at 3e-3,
    and 1e-3 beyond: the best rate of theirs is ten times that of the weights, and more in short trainings (Schulman et
    al., 2025, LoRA Without Regret). Of 1e-3, 3e-3 and 1e-2 the second was best in three epochs, on classes of Banking77
    that were not trained (MiniLM) and on digits (a small ViT).

    Args:
        layers: the class names of the model's layers.
        n_weights: how many weights are trained; with adapters, and where more are unfrozen in time, how many the
            whole model has.
        adapted: whether adapters are trained.

    >>> [learning_rate(['BertAttention'], n, adapted=True) for n in (23_000_000, 110_000_000)]
    [0.003, 0.001]
    """
    if adapted:
        return 3e-3 if n_weights < 50_000_000 else 1e-3
    if is_transformer(layers):
        return 1e-4 if n_weights < 50_000_000 else 3e-5
    return 1e-3
