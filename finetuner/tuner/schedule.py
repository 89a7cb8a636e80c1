"""How fast to learn: the defaults of all frameworks in one table, and the rate as a function of the step."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from finetuner.errors import ArgumentError, nearest
from finetuner.losses.options import mapping

OPTIMIZERS: dict[str, tuple[float, tuple[str, ...]]] = {
    'Adam': (1e-2, ('weight_decay', 'beta_1', 'beta_2', 'epsilon')),
    'AdamW': (1e-2, ('weight_decay', 'beta_1', 'beta_2', 'epsilon')),
    'SGD': (1e-1, ('weight_decay', 'momentum')),
}
"""By the name of an optimizer, at what rate it trains what a loss learns, and its other options."""


@dataclass(frozen=True)
class Optimization:
    """An optimizer with warm-up, decay to zero and clipping; the same numbers on every framework.

    A model's weight decay is for matrices: biases and norms are left out.

    Args:
        name: one of `OPTIMIZERS`.
        learning_rate: the highest rate, reached after the warm-up.
        weight_decay: of AdamW per step, times the rate; the others add it, times the weight, to the slope.
        beta_1: of Adam and AdamW, decay of the mean of the slopes.
        beta_2: decay of the mean of their squares.
        epsilon: added to the root of the latter.
        momentum: of SGD, the part of the last step's slope that is added to this one's.
        clip: the longest that all slopes together may be.
        warmup: the part of all steps in which the rate rises from zero.

    Source: Loshchilov and Hutter, 2019.
    """

    name: str = 'AdamW'
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.0
    clip: float = 1.0
    warmup: float = 0.1

    def rate(self, step: int, total: int) -> float:
        """The learning rate of update `step` (from 0) of `total`.

        >>> [round(Optimization(learning_rate=1.0, warmup=0.5).rate(step, 4), 2) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
        """
        rising = round(self.warmup * total)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * (total - step) / max(total - rising, 1)


def for_loss(name: str | None = None, options: Mapping[str, Any] | None = None) -> Optimization:
    """How what a loss learns is trained.

    Args:
        name: one of `OPTIMIZERS`; None takes AdamW.
        options: `learning_rate` and those of the optimizer; there is no weight decay by default.

    Raises:
        ArgumentError: there is no such optimizer or option, or a value is impossible.

    >>> for_loss('SGD', {'momentum': 0.9}).learning_rate
    0.1
    """
    found = next((known for known in OPTIMIZERS if known.lower() == str(name or 'AdamW').lower()), None)
    if found is None:
        raise ArgumentError(f'There is no loss_optimizer {name!r}. {nearest(str(name), OPTIMIZERS)}')
    rate, known = OPTIMIZERS[found]
    options = mapping('loss_optimizer_options', options)
    for option, value in options.items():
        if option not in ('learning_rate', *known):
            hint = nearest(option, ('learning_rate', *known))
            raise ArgumentError(f'loss_optimizer_options: {found} has no option {option!r}. {hint}')
        _check(option, value)
    return Optimization(**{'name': found, 'learning_rate': rate, 'weight_decay': 0.0, **options})


def _check(option: str, value: Any) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if option in ('beta_1', 'beta_2', 'momentum'):
        fits, expected = number and 0 <= value < 1, 'a number from 0 to below 1'
    elif option == 'weight_decay':
        fits, expected = number and 0 <= value < float('inf'), 'a number of at least 0'
    else:
        fits, expected = number and 0 < value < float('inf'), 'a positive number'
    if not fits:
        raise ArgumentError(f'loss_optimizer_options: {option}={value!r}: expected {expected}.')


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


def is_transformer(layers: list[str]) -> bool:
    """Whether there is attention in it, by the class names of the layers."""
    return any('Attention' in name or 'Transformer' in name for name in layers)
