"""Optimizers of Paddle that do what those of the other frameworks do."""

from collections.abc import Container, Sequence
from typing import Any

from finetuner.backends.paddle import paddle
from finetuner.tuner.optimizers import OPTIMIZERS
from finetuner.tuner.schedule import Optimization


class Pull(paddle.regularizer.WeightDecayRegularizer):
    """Adds weights to their slopes, but only some of them; what Paddle itself brings is for all.

    Args:
        by: times what they are added.
        names: of the weights.
    """

    def __init__(self, by: float, names: Container[str]) -> None:
        super().__init__()
        self.by, self.names = by, names

    def __call__(self, param: Any, grad: Any, block: Any) -> Any:
        """What is added to the slope of a weight."""
        return param * self.by if param.name in self.names else paddle.zeros_like(param)


class RMSprop(paddle.optimizer.RMSProp):
    """RMSprop with epsilon beside the root, and momentum of slopes.

    Paddle has epsilon within the root, and momentum of steps, of whatever rate they were.
    """

    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
        weight, slope = param_and_grad
        kept = (self._momentum_acc_str, self._mean_square_acc_str)
        total, squares = (self._get_accumulator_master(name, weight) for name in kept)
        paddle.assign(squares * self._rho + slope * slope * (1 - self._rho), squares)
        paddle.assign(total * self._momentum + slope / (paddle.sqrt(squares) + self._epsilon), total)
        paddle.assign(weight - total * self._create_param_lr(param_and_grad), weight)


class Adamax(paddle.optimizer.Adamax):
    """Adamax with epsilon beside the new slope. Paddle adds it to the largest one anew in every step."""

    def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
        weight, slope = param_and_grad
        kept = (self._moment_acc_str, self._inf_norm_acc_str, self._beta1_pow_acc_str)
        mean, largest, power = (self._get_accumulator_master(name, weight) for name in kept)
        paddle.assign(mean * self._beta1 + slope * (1 - self._beta1), mean)
        paddle.assign(paddle.maximum(largest * self._beta2, paddle.abs(slope) + self._epsilon), largest)
        rate = self._create_param_lr(param_and_grad) / (1 - power)
        paddle.assign(weight - mean / largest * rate, weight)


KINDS = {'SGD': paddle.optimizer.Momentum, 'RMSprop': RMSprop, 'Adamax': Adamax}
"""Those that Paddle has by another name, or in another way."""

NAMES = {'beta_1': 'beta1', 'beta_2': 'beta2', 'nesterov': 'use_nesterov'}
"""What Paddle calls the options."""


def made(numbers: Optimization, trained: Sequence[Any], decayed: Container[str]) -> Any:
    """The optimizer of that name, with those numbers.

    Args:
        numbers: what to make.
        trained: the weights.
        decayed: the names of those that decay.
    """
    options = {NAMES.get(name, name): getattr(numbers, name) for name in OPTIMIZERS[numbers.name].options}
    if numbers.name == 'AdamW':
        options['apply_decay_param_fun'] = decayed.__contains__
    else:
        decay = options.pop('weight_decay')
        options['weight_decay'] = Pull(decay, decayed) if decay else None
    kind = KINDS.get(numbers.name) or getattr(paddle.optimizer, numbers.name)
    return kind(learning_rate=numbers.learning_rate, parameters=list(trained), **options)
