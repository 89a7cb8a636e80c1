"""The optimizers by name: what they can be told, and at what rate they train.

Definitions and defaults are those of `torch.optim`, and Lion's those of its paper. Keras and Paddle compute the same.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from finetuner.errors import ArgumentError, nearest
from finetuner.losses.options import Rule, flag, mapping, number
from finetuner.tuner.schedule import Optimization, Schedule


class Kind(NamedTuple):
    """An optimizer.

    Attributes:
        factor: at what rate it trains a model, as a multiple of the one that AdamW would have.
        of_loss: at what rate it trains what a loss learns.
        options: what it can be told, with defaults.
        lacking: the frameworks whose library has none.
    """

    factor: float
    of_loss: float
    options: dict[str, Any]
    lacking: tuple[str, ...] = ()


_ADAM = {'weight_decay': 0.0, 'beta_1': 0.9, 'beta_2': 0.999, 'epsilon': 1e-8}

OPTIMIZERS = {
    # Kingma and Ba, 2015.
    'Adam': Kind(1, 0.01, _ADAM),
    # Loshchilov and Hutter, 2019.
    'AdamW': Kind(1, 0.01, _ADAM | {'weight_decay': 0.01}),
    # Robbins and Monro, 1951; its momentum is that of Sutskever et al., 2013.
    'SGD': Kind(100, 0.1, {'weight_decay': 0.0, 'momentum': 0.0, 'nesterov': False}),
    # Tieleman and Hinton, 2012; with epsilon beside the root.
    'RMSprop': Kind(1, 0.01, {'weight_decay': 0.0, 'rho': 0.99, 'epsilon': 1e-8, 'momentum': 0.0}),
    # Duchi et al., 2011; sums begin at zero.
    'Adagrad': Kind(10, 0.1, {'weight_decay': 0.0, 'epsilon': 1e-10}),
    # Zeiler, 2012.
    'Adadelta': Kind(1000, 1.0, {'weight_decay': 0.0, 'rho': 0.9, 'epsilon': 1e-6}),
    # Kingma and Ba, 2015, section 7.1; twice the rate of Adam is theirs.
    'Adamax': Kind(2, 0.02, _ADAM),
    # Dozat, 2016.
    'NAdam': Kind(1, 0.01, _ADAM | {'momentum_decay': 4e-3}),
    # Liu et al., 2020; its steps are a fifth of Adam's after a hundred updates, and two thirds after a thousand.
    'RAdam': Kind(3, 0.03, _ADAM, ('keras',)),
    # Chen et al., 2023: a rate three to ten times lower than AdamW's, and a decay as much higher.
    'Lion': Kind(0.3, 0.003, {'weight_decay': 0.03, 'beta_1': 0.9, 'beta_2': 0.99}, ('torch', 'paddle')),
}
"""By name; with the paper.

The factors of SGD, RMSprop, Adagrad and Adadelta are, of 0.3, 1, 3, 10 and so on up to 1000, the best in three epochs
on the digits 0 to 4, measured on 5 to 9 (a small CNN, two seeds); of the others it is the paper's, or 1.
"""

RULES: dict[str, Rule] = {
    'learning_rate': number(above=0),
    'weight_decay': number(least=0),
    'beta_1': number(least=0, below=1),
    'beta_2': number(least=0, below=1),
    'epsilon': number(above=0),
    'momentum': number(least=0, below=1),
    'nesterov': flag,
    'rho': number(least=0, below=1),
    'momentum_decay': number(least=0),
}
"""What an option can be."""

ALIASES = {'eps': 'epsilon', 'alpha': 'rho', 'beta1': 'beta_1', 'beta2': 'beta_2', 'lr': 'learning_rate'}
"""What the libraries call them; `betas` are two at once."""


def known(framework: str | None = None) -> list[str]:
    """The names of the optimizers that the library of a framework has; of all without one."""
    return [name for name, kind in OPTIMIZERS.items() if framework not in kind.lacking]


def named(argument: str, name: Any, framework: str | None = None) -> str:
    """The name of an optimizer as the table has it; None is AdamW.

    Args:
        argument: what an error calls it.
        name: with whatever capitals.
        framework: of the model.

    Raises:
        ArgumentError: there is none, or the library of the framework has none.
    """
    found = next((one for one in OPTIMIZERS if one.lower() == str('AdamW' if name is None else name).lower()), None)
    own = ' Bring any other of your framework with configure_optimizer=lambda model: …' * (argument == 'optimizer')
    if found is None:
        raise ArgumentError(f'There is no {argument} {name!r}. {nearest(str(name), OPTIMIZERS)}{own}')
    if framework in OPTIMIZERS[found].lacking:
        there = ', '.join(known(framework))
        raise ArgumentError(f'{argument}={name!r}: the library of {framework} has no {found}. It has {there}.{own}')
    return found


def settled(argument: str, name: str, options: Any, *more: str) -> dict[str, Any]:
    """The options that are given, by the names that they have here, as plain Python values.

    Args:
        argument: what an error calls them.
        name: of the optimizer, as the table has it.
        options: as they were given.
        *more: what may be among them besides.

    Raises:
        ArgumentError: the optimizer does not know one, or a value is impossible.

    >>> settled('optimizer_options', 'Adam', {'betas': (0.8, 0.99), 'eps': 1e-6})
    {'beta_1': 0.8, 'beta_2': 0.99, 'epsilon': 1e-06}
    """
    kept: dict[str, Any] = {}
    can = [*more, *OPTIMIZERS[name].options]
    for option, value in _single(argument, mapping(argument, options)):
        ours = ALIASES.get(option, option)
        if ours not in can:
            hint = 'It is an argument of fit.' if ours == 'learning_rate' else nearest(option, can)
            raise ArgumentError(f'{argument}: {name} has no option {option!r}. {hint}')
        if ours in kept:
            raise ArgumentError(f'{argument}: {option!r} and {ours!r} are the same: give one.')
        plain = RULES[ours](f'{argument}: {option}', value)
        kept[ours] = plain if isinstance(plain, bool) else float(plain)
    if kept.get('nesterov') and not kept.get('momentum'):
        raise ArgumentError(
            f"{argument}: nesterov=True is a way to use momentum: give that too, such as 'momentum': 0.9."
        )
    return kept


def _single(argument: str, options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for option, value in options.items():
        if option != 'betas':
            found.append((option, value))
        elif isinstance(value, list | tuple) and len(value) == 2:
            found += zip(('beta_1', 'beta_2'), value, strict=True)
        else:
            raise ArgumentError(f'{argument}: betas={value!r}: expected two numbers, such as (0.9, 0.999).')
    return found


def optimization(
    name: str, options: Mapping[str, Any], learning_rate: float, schedule: Schedule | None = None
) -> Optimization:
    """An optimizer with its numbers.

    Args:
        name: as the table has it.
        options: those that are not the default, settled.
        learning_rate: the highest.
        schedule: linear if there is none.
    """
    numbers = OPTIMIZERS[name].options | dict(options)
    return Optimization(name, learning_rate, **{'weight_decay': 0.0, **numbers}, schedule=schedule or Schedule())


def for_loss(
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    framework: str | None = None,
    schedule: Schedule | None = None,
) -> Optimization:
    """How what a loss learns is trained.

    Args:
        name: one of `OPTIMIZERS`; None takes AdamW.
        options: `learning_rate` and those of the optimizer; there is no weight decay by default.
        framework: of the model.
        schedule: that of the model; linear if there is none.

    Raises:
        ArgumentError: there is no such optimizer or option, or a value is impossible.

    >>> for_loss('SGD', {'momentum': 0.9}).learning_rate
    0.1
    """
    found = named('loss_optimizer', name, framework)
    given = {'weight_decay': 0.0} | settled('loss_optimizer_options', found, options, 'learning_rate')
    rate = given.pop('learning_rate', OPTIMIZERS[found].of_loss)
    return optimization(found, given, rate, schedule)


def described(numbers: Optimization) -> str:
    """The optimizer with all its options.

    >>> described(for_loss('sgd'))
    'SGD(weight_decay=0.0, momentum=0.0, nesterov=False)'
    """
    options = (f'{option}={getattr(numbers, option)!r}' for option in OPTIMIZERS[numbers.name].options)
    return f'{numbers.name}({", ".join(options)})'
