"""How a model is trained: optimizer, schedule and the rates of its parts, as the arguments of `fit` say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetuner.errors import ArgumentError, enumerated
from finetuner.inference import Encoder
from finetuner.losses.options import mapping, number
from finetuner.tailor import origin
from finetuner.tailor.base import tailor
from finetuner.tailor.parts import head, parts
from finetuner.tailor.tailoring import few
from finetuner.tuner import optimizers
from finetuner.tuner.schedule import Optimization, Schedule, scheduled
from finetuner.typing import Inputs

DECAY = 'layer_wise_lr_decay'
FIND = 'find'
"""The learning rate that stands for one that is looked for."""
_POSITIVE = number(above=0)
_PART = number(above=0, most=1)


@dataclass(frozen=True)
class Course:
    """What is settled before the model is looked at.

    Attributes:
        name: of the optimizer.
        options: of the optimizer, those that are given.
        schedule: the rate of each step as a part of the highest.
        learning_rate: the highest; None where the model decides.
        decay: the rate of a block as a part of that of the block above it; None where all learn alike.
        head: the rate of what Tailor attached; None for that of the model.
        finds: whether the highest is looked for by a range test.
    """

    name: str
    options: dict[str, Any]
    schedule: Schedule
    learning_rate: float | None
    decay: float | None
    head: float | None
    finds: bool = False

    def optimization(self, usual: float) -> Optimization:
        """The optimizer with its numbers.

        Where no rate was given it is lower the more momentum there is, by as much as that makes steps longer.

        Args:
            usual: the rate that AdamW would have.
        """
        longer = 1 / (1 - self.options.get('momentum', 0))
        rate = self.learning_rate or usual * optimizers.OPTIMIZERS[self.name].factor / longer
        return optimizers.optimization(self.name, self.options, rate, self.schedule)

    def known(self, rate: float | None) -> 'Course':
        """The same at a rate that was found, if one was."""
        return self if rate is None or not self.finds else replace(self, learning_rate=rate, finds=False)

    def described(self, chosen: Optimization) -> str:
        """For people: the optimizer, its rate and its schedule."""
        parts_of = f', {self.decay:g} times that for each block further down' if self.decay is not None else ''
        of_head = f', {self.head:g} for the head' if self.head is not None else ''
        return f'{self.name}, learning rate {chosen.learning_rate:g}{of_head}{parts_of}, {chosen.schedule.name}'

    def scales(self, encoder: Encoder, inputs: Inputs, rate: float) -> dict[str, float]:
        """At which multiple of the model's rate its parts are trained, by the paths of layers.

        Args:
            encoder: the model.
            inputs: a batch, to see how the model runs.
            rate: the model's.

        Raises:
            ArgumentError: the model has no head, or no blocks, to have a rate of their own.
        """
        if self.decay is None and self.head is None:
            return {}
        model = encoder.model
        layers, made = tailor(model).trace(model, few(inputs)), origin.of(model)
        recipe = made.recipe if made else None
        row, attached = parts(layers, recipe), head(layers, recipe)
        if self.head is not None and not attached:
            raise ArgumentError(
                f'head_learning_rate={self.head:g}, but no head with weights was attached to the model: attach one '
                f'with output_dim=128, or leave it out.'
            )
        if self.decay is not None and len(row) < 2:
            raise ArgumentError(
                f'{DECAY}={self.decay:g}, but the model has one part only: {enumerated(row)}. Leave it out, or attach '
                f'a head with output_dim=128.'
            )
        top = 1.0 if self.head is None else self.head / rate
        return by_depth(row if self.decay is not None else [tuple(attached)], self.decay, top)


def by_depth(row: Sequence[tuple[str, ...]], decay: float | None, top: float = 1.0) -> dict[str, float]:
    """The multiples of parts from the head down: each part's is `decay` times that of the part before it.

    What is in no part, such as the embeddings of a transformer, is below the first block.

    Args:
        row: the paths of the head, of the last block, and so on to the first.
        decay: None leaves all but the head at 1.
        top: of the head.

    >>> by_depth([('head',), ('d', 'norm'), ('c',)], 0.5, top=10)
    {'head': 10, 'd': 0.5, 'norm': 0.5, 'c': 0.25, '': 0.125}
    """
    found = {path: top for path in row[0]}
    if decay is not None:
        found |= {path: decay**depth for depth, paths in enumerate([*row[1:], ('',)], 1) for path in paths}
    return found


def course(
    framework: str,
    *,
    optimizer: str | None,
    optimizer_options: dict[str, Any] | None,
    learning_rate: float | str | None,
    configure_optimizer: Callable[[Any], Any] | None,
    scheduler: str | None,
    scheduler_options: dict[str, Any] | None,
    scheduler_step: str,
    layer_wise_lr_decay: float | None,
    head_learning_rate: float | None,
) -> Course:
    """The arguments of `fit`, checked.

    Raises:
        ArgumentError: one is unknown or impossible, or two cannot be had together.
    """
    rates: dict[str, Any] = {'learning_rate': learning_rate, 'head_learning_rate': head_learning_rate}
    ours = {
        'optimizer': optimizer,
        'optimizer_options': optimizer_options,
        'scheduler': scheduler,
        'scheduler_options': scheduler_options,
        DECAY: layer_wise_lr_decay,
        **rates,
    }
    given = [name for name, value in ours.items() if value is not None]
    if configure_optimizer is not None and not callable(configure_optimizer):
        raise ArgumentError(f'configure_optimizer={configure_optimizer!r}: expected a function, lambda model: …')
    if configure_optimizer is not None and given:
        raise ArgumentError(f'configure_optimizer makes the optimizer and its schedule: leave {enumerated(given)} out.')
    if (finds := learning_rate == FIND) and head_learning_rate is not None:
        raise ArgumentError(
            f'learning_rate={FIND!r} finds one rate for the whole model, and head_learning_rate={head_learning_rate!r} '
            f'is one for a part of it: leave it out, or give learning_rate a number.'
        )
    if finds:
        rates['learning_rate'] = None
    elif isinstance(learning_rate, str):
        raise ArgumentError(f'learning_rate={learning_rate!r}: expected a positive number, such as 1e-3, or {FIND!r}.')
    for name, value in rates.items():
        if value is not None:
            rates[name] = float(_POSITIVE(name, value))
    name = optimizers.named('optimizer', optimizer, framework)
    options = dict(mapping('optimizer_options', optimizer_options))
    if DECAY in options and layer_wise_lr_decay is not None:
        raise ArgumentError(f'{DECAY} is an argument, and in optimizer_options too: give it once.')
    decay = options.pop(DECAY, layer_wise_lr_decay)
    return Course(
        name,
        optimizers.settled('optimizer_options', name, options),
        Schedule() if configure_optimizer else scheduled(scheduler, scheduler_options, scheduler_step),
        rates['learning_rate'],
        None if decay is None else float(_PART(DECAY, decay)),
        rates['head_learning_rate'],
        finds,
    )
