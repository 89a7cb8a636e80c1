"""What optimizers take off a weight, times the rate, as formulas in Keras' words.

Those of Keras itself have epsilon within the root, other numbers to begin with and momentum of steps, of whatever rate
these were: with them the same training would end elsewhere than in other frameworks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple

from keras import ops

from finetuner.tuner.schedule import Optimization

Slots = Sequence[Any]
Step = Callable[[Any, Slots, Any, Optimization], tuple[Any, list[Any]]]
"""From a slope, what was kept of the steps before, the number of the step (from 1) and the numbers of the optimizer to
what is taken off, and what is kept now."""


class Kept(NamedTuple):
    """What is kept of a weight from step to step: of its shape or, if `single`, one number."""

    name: str
    single: bool = False
    start: str = 'zeros'


@dataclass(frozen=True)
class Formula:
    """A formula, what it keeps, and whether weight decay is apart from the slope."""

    step: Step
    kept: tuple[Kept, ...]
    apart: bool = False

    def __call__(self, slope: Any, kept: Slots, step: Any, numbers: Optimization) -> tuple[Any, list[Any]]:
        """A step."""
        return self.step(slope, kept, step, numbers)

    def keeps(self, numbers: Optimization) -> list[Kept]:
        """What it keeps; momentum only where there is some."""
        return [one for one in self.kept if one.name != 'momentum' or numbers.momentum]


def mean(before: Any, new: Any, decay: float) -> Any:
    """A mean in which what is older counts less."""
    return ops.add(ops.multiply(before, decay), ops.multiply(new, 1 - decay))


def complement(decay: float, step: Any) -> Any:
    """`1 - decay ** step`, exact also where that is small."""
    return ops.negative(ops.expm1(ops.multiply(step, log(decay)))) if decay else ops.ones_like(step)


def sgd(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """`slope + momentum * sum`."""
    if not n.momentum:
        return slope, []
    total = ops.add(ops.multiply(kept[0], n.momentum), slope)
    return (ops.add(slope, ops.multiply(total, n.momentum)) if n.nesterov else total), [total]


def rmsprop(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """`slope / (sqrt(squares) + epsilon)`, and perhaps momentum of that."""
    squares = mean(kept[0], ops.square(slope), n.rho)
    down = ops.divide(slope, ops.add(ops.sqrt(squares), n.epsilon))
    if not n.momentum:
        return down, [squares]
    total = ops.add(ops.multiply(kept[1], n.momentum), down)
    return total, [squares, total]


def adagrad(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """`slope / (sqrt(sum of squares) + epsilon)`."""
    squares = ops.add(kept[0], ops.square(slope))
    return ops.divide(slope, ops.add(ops.sqrt(squares), n.epsilon)), [squares]


def adadelta(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """`slope * sqrt(squares of steps + epsilon) / sqrt(squares + epsilon)`."""
    squares = mean(kept[0], ops.square(slope), n.rho)
    ratio = ops.divide(ops.sqrt(ops.add(kept[1], n.epsilon)), ops.sqrt(ops.add(squares, n.epsilon)))
    down = ops.multiply(ratio, slope)
    return down, [squares, mean(kept[1], ops.square(down), n.rho)]


def adamax(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """`corrected mean / largest slope`."""
    average = mean(kept[0], slope, n.beta_1)
    largest = ops.maximum(ops.multiply(kept[1], n.beta_2), ops.add(ops.abs(slope), n.epsilon))
    return ops.divide(average, ops.multiply(largest, complement(n.beta_1, step))), [average, largest]


def nadam(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """That of Adam with the momentum of the next step, which rises towards `beta_1`."""
    average, squares = mean(kept[0], slope, n.beta_1), mean(kept[1], ops.square(slope), n.beta_2)
    now, after = (n.beta_1 * (1 - 0.5 * ops.exp((step + i) * (n.momentum_decay * log(0.96)))) for i in (0, 1))
    product = ops.multiply(kept[2], now)
    of_slope = ops.multiply(slope, (1 - now) / (1 - product))
    of_mean = ops.multiply(average, after / (1 - product * after))
    root = ops.sqrt(ops.divide(squares, complement(n.beta_2, step)))
    return ops.divide(ops.add(of_slope, of_mean), ops.add(root, n.epsilon)), [average, squares, product]


def lion(slope: Any, kept: Slots, step: Any, n: Optimization) -> tuple[Any, list[Any]]:
    """The sign of a mean."""
    return ops.sign(mean(kept[0], slope, n.beta_1)), [mean(kept[0], slope, n.beta_2)]


_MEAN, _SQUARES, _MOMENTUM = Kept('mean'), Kept('squares'), Kept('momentum')

FORMULAS = {
    'SGD': Formula(sgd, (_MOMENTUM,)),
    'RMSprop': Formula(rmsprop, (_SQUARES, _MOMENTUM)),
    'Adagrad': Formula(adagrad, (_SQUARES,)),
    'Adadelta': Formula(adadelta, (_SQUARES, Kept('steps'))),
    'Adamax': Formula(adamax, (_MEAN, Kept('largest'))),
    'NAdam': Formula(nadam, (_MEAN, _SQUARES, Kept('product', True, 'ones'))),
    'Lion': Formula(lion, (_MEAN,), apart=True),
}
"""By name. Adam and AdamW are Keras' own, and RAdam it has none."""
