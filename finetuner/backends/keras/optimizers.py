"""Optimizers of Keras that do what those of the other frameworks do, and several of them as one."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from finetuner.backends.keras import formulas
from finetuner.tuner.schedule import Optimization


class _Clipped(keras.optimizers.Optimizer):
    # TensorFlow gives the slope of a table as rows, of which several may be parts of one: whole, it is no longer than
    # it is in other frameworks.
    def _clip_gradients(self, grads: list[Any]) -> list[Any]:
        if self.global_clipnorm:
            grads = [ops.add(slope, 0.0) if hasattr(slope, 'dense_shape') else slope for slope in grads]
        return super()._clip_gradients(grads)


class Grouped(_Clipped):
    """Several optimizers as one, each for its own variables; slopes are clipped together.

    Args:
        members: the optimizers by name; the first is for all variables that are in no group.
        groups: variables by the name of their optimizer.
        clip: the longest that all slopes together may be.
    """

    def __init__(self, members: Mapping[Any, Any], groups: Mapping[Any, list[Any]], clip: float | None) -> None:
        super().__init__(learning_rate=0.0, global_clipnorm=clip)
        self.members = dict(members)
        self.owners = {self._var_key(v): name for name, variables in groups.items() for v in variables}

    def build(self, variables: list[Any]) -> None:
        """The slots of every member."""
        super().build(variables)
        for name, own in self._parted(variables).items():
            self.members[name].build([variables[place] for place in own])

    @property
    def variables(self) -> list[Any]:
        """Those of all members."""
        return [*super().variables, *(v for member in self.members.values() for v in member.variables)]

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        for name, own in self._parted(trainable_variables).items():
            member = self.members[name]
            # A member divides by the scale of the loss that it expects.
            member.apply([member.scale_loss(grads[place]) for place in own], [trainable_variables[i] for i in own])

    def _parted(self, variables: list[Any]) -> dict[Any, list[int]]:
        first = next(iter(self.members))
        places: dict[Any, list[int]] = {name: [] for name in self.members}
        for place, variable in enumerate(variables):
            places[self.owners.get(self._var_key(variable), first)].append(place)
        return places


KIND: Any = type(keras.optimizers.AdamW())
"""AdamW: on the torch engine a class of Keras' own that is faster than the public one."""


class _Pulled(_Clipped):
    # Adds `pull` times a weight to its slope, but where the weight is excluded from decay.
    pull = 0.0

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        if any(map(self._use_weight_decay, variables)):  # Keras 3.15 on torch fails where there is none
            super()._apply_weight_decay(variables)

    def _backend_update_step(self, grads: list[Any], trainable_variables: list[Any], learning_rate: Any) -> None:
        if self.pull:
            pairs = zip(grads, trainable_variables, strict=True)
            grads = [ops.add(g, ops.multiply(v, self.pull)) if self._use_weight_decay(v) else g for g, v in pairs]
        super()._backend_update_step(grads, trainable_variables, learning_rate)


class Adam(_Pulled, KIND):
    """Adam or AdamW, with epsilon where other frameworks have it: beside the root of the corrected mean."""

    def __init__(self, numbers: Optimization, clip: float | None = None) -> None:
        apart = numbers.name == 'AdamW'
        super().__init__(
            numbers.learning_rate,
            weight_decay=numbers.weight_decay if apart else 0.0,
            beta_1=numbers.beta_1,
            beta_2=numbers.beta_2,
            epsilon=numbers.epsilon,
            global_clipnorm=clip,
        )
        self.pull = 0.0 if apart else numbers.weight_decay

    @property
    def epsilon(self) -> Any:
        """What Keras adds to the root of the mean as it is, not corrected."""
        step = ops.cast(self.iterations + 1, 'float32')
        return self.added * ops.sqrt(1 - ops.power(self.beta_2, step))

    @epsilon.setter
    def epsilon(self, value: float) -> None:
        self.added = value

    def slots(self, variable: Any) -> list[Any]:
        """What it keeps of a variable."""
        place = self._get_variable_index(variable)
        return [self._momentums[place], self._velocities[place]]


class ByFormula(_Pulled):
    """An optimizer that is one of `finetuner.backends.keras.formulas`.

    Args:
        numbers: which one, and what it is told.
        clip: the longest that all slopes together may be.
    """

    def __init__(self, numbers: Optimization, clip: float | None = None) -> None:
        formula = formulas.FORMULAS[numbers.name]
        decay = {'weight_decay': numbers.weight_decay} if formula.apart else {}
        super().__init__(numbers.learning_rate, global_clipnorm=clip, **decay)
        self.formula, self.numbers = formula, numbers
        self.pull = 0.0 if formula.apart else numbers.weight_decay

    def build(self, variables: list[Any]) -> None:
        """What is kept of every variable."""
        if self.built:
            return
        super().build(variables)
        self.kept = [
            [self._slot(variable, kept) for kept in self.formula.keeps(self.numbers)] for variable in variables
        ]

    def _slot(self, variable: Any, kept: formulas.Kept) -> Any:
        if kept.single:
            return self.add_variable((), kept.start, variable.dtype, name=kept.name)
        return self.add_variable_from_reference(variable, name=kept.name, initializer=kept.start)

    def slots(self, variable: Any) -> list[Any]:
        """What it keeps of a variable."""
        return list(self.kept[self._get_variable_index(variable)])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        kept, step = self.slots(variable), ops.cast(self.iterations + 1, variable.dtype)
        slope = ops.cast(gradient, variable.dtype)
        down, after = self.formula(slope, [ops.convert_to_tensor(one) for one in kept], step, self.numbers)
        for one, value in zip(kept, after, strict=True):
            self.assign(one, value)
        self.assign_sub(variable, ops.multiply(down, ops.cast(learning_rate, variable.dtype)))


def made(numbers: Optimization, clip: float | None = None) -> Any:
    """The optimizer of that name, with those numbers."""
    return Adam(numbers, clip) if numbers.name in ('Adam', 'AdamW') else ByFormula(numbers, clip)
