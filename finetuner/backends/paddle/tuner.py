"""The training step of PaddlePaddle."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from finetuner.backends.paddle import execution, ops, optimizers, paddle, parts, processes
from finetuner.backends.paddle.encoder import Encoder
from finetuner.backends.paddle.tailor import stands_still
from finetuner.inference import checked
from finetuner.losses.distances import at_least_float32
from finetuner.tuner import base
from finetuner.typing import Codes, Inputs, Layout

SLOPE = 'slope'  # of a weight, in a checkpoint between the batches of an update


class Tuner(processes.Several, base.Tuner):
    """Trains a Paddle layer; what the loss learns is kept outside of it."""

    encoder: Encoder

    def setup(self, layout: Layout) -> None:
        self.layout = layout
        self.parameters = {
            name: paddle.create_parameter(
                value.shape, 'float32', default_initializer=paddle.nn.initializer.Assign(value)
            )
            for name, value in self.objective.parameters(self.dim, layout.n_classes, self.means).items()
        }
        self.memory = {name: paddle.to_tensor(value) for name, value in self.memory.items()}
        self.optimizers: dict[str, Any] = {}
        self.scheduler: Any = None
        self.remake()
        model = self.encoder.model
        # A layer that stands still has no mode of its own; if it does not in the end, it has that of the model.
        modes = [(one, model.training if stands_still(one) else one.training) for one in model.sublayers(True)]
        self.found = modes, paddle.get_rng_state()
        trained = self.encoder.trained.model
        self.module = execution.compiled(trained) if self.execution.compile else trained
        self.undo: Callable[[], None] | None = None
        if self.execution.gradient_checkpointing:
            self.undo = execution.recompute(model)
        model.train()  # last: what fails before it leaves the mode as it was

    def remake(self) -> None:
        before = [optimizer._accumulators for optimizer in self.optimizers.values()]
        self.optimizers = self._optimizers()
        for optimizer in self.optimizers.values():
            names = {p.name for p in _trained(optimizer)}
            for slot, values in [item for kept in before for item in kept.items()]:
                optimizer._accumulators[slot].update({name: values[name] for name in names & values.keys()})

    def release(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.clear_grad(set_to_zero=False)
        modes, chance = self.found
        for layer, training in modes:
            layer.training = training and not stands_still(layer)
        paddle.set_rng_state(chance)
        if self.undo is not None:
            self.undo()

    def _optimizers(self) -> dict[str, Any]:
        made = {}
        if self.configure_optimizer is not None:
            made['model'], self.scheduler = self.made(paddle.optimizer.Optimizer, 'paddle.optimizer.Optimizer')
        else:
            weights = parts.weights(self.encoder.model)
            decayed = {p.name for p in weights.values() if p.ndim > 1}
            for name, paths in self.grouped({path: not p.stop_gradient for path, p in weights.items()}).items():
                trained = [weights[path] for path in paths]
                made[name] = optimizers.made(self.optimization, trained, decayed)
        if self.parameters:
            learned = list(self.parameters.values())
            made['loss'] = optimizers.made(self.loss_optimization, learned, {p.name for p in learned})
        return made

    def train_step(self, inputs: Inputs, codes: Codes) -> Any:
        loss = self._backward(self._embeddings(inputs), codes)
        if self.state.completes:
            self._update()
        return loss

    def _statistics(self) -> list[Any]:
        # Paddle's own statistics are parameters without slope, and vectors. So are frozen biases, which does no harm.
        still = [p for p in self.encoder.model.parameters() if p.stop_gradient and p.ndim < 2]
        found = [*self.encoder.model.buffers(), *still]
        return [value for value in found if value._is_initialized()]  # that of an LSTM may never be

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        kept = [(value, value.clone()) for value in self._statistics()]
        try:
            yield
        finally:
            for value, before in kept:
                value.set_value(before)

    def forward(self, inputs: Inputs) -> Any:
        with paddle.no_grad():
            return self._embeddings(inputs)

    def derivative(self, embeddings: Any, codes: Codes) -> tuple[Any, Any]:
        embeddings.stop_gradient = False
        return self._backward(embeddings, codes), embeddings.grad

    def pull(self, inputs: Inputs, slopes: Any, update: bool) -> None:
        self._embeddings(inputs).backward(slopes)
        if update:
            self._update()

    def attempt(self, inputs: Inputs) -> None:
        embeddings = self._embeddings(inputs)
        embeddings.backward(paddle.zeros_like(embeddings))
        for optimizer in self.optimizers.values():
            optimizer.clear_grad()

    def _embeddings(self, inputs: Inputs) -> Any:
        with execution.computing(self.execution.precision):
            embeddings = self.through(inputs, lambda part: checked(self.encoder.trained.call(part, self.module), None))
        return at_least_float32(embeddings)

    def _backward(self, embeddings: Any, codes: Codes) -> Any:
        native = {name: paddle.to_tensor(code) for name, code in codes.items()}
        loss = self.objective(embeddings, native, self.layout, self.parameters, self.memory)
        self.memory = self.objective.remember(self.memory, embeddings, native, self.layout)
        share = loss if self.state.group == 1 else loss / self.state.group
        share.backward()
        return loss.detach()

    def _update(self) -> None:
        if self.configure_optimizer is None:
            trained = [p for optimizer in self.optimizers.values() for p in _trained(optimizer)]
            paddle.nn.utils.clip_grad_norm_(trained, self.optimization.clip)
        for optimizer in self.optimizers.values():
            optimizer.step()
            optimizer.clear_grad()

    def reseed(self, seed: int) -> None:
        paddle.seed(seed)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        for name in rates.keys() & self.optimizers.keys():
            self.optimizers[name].set_lr(rates[name])

    def rates(self) -> dict[str, float]:
        return {name: float(optimizer.get_lr()) for name, optimizer in self.optimizers.items()}

    def step_scheduler(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def learned(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.parameters.items()}

    def remembered(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.memory.items()}

    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        # By position: another process need not give the same names to weights, by which Paddle keeps the slots.
        arrays = {}
        for which, optimizer in self.optimizers.items():
            for place, parameter in enumerate(_trained(optimizer)):
                for slot, values in optimizer._accumulators.items():
                    if parameter.name in values:
                        arrays[f'{which}/{place}/{slot}'] = ops.to_numpy(values[parameter.name])
                if self.state.pending and parameter.grad is not None:
                    arrays[f'{which}/{place}/{SLOPE}'] = ops.to_numpy(parameter.grad)
        return arrays, {'scheduler': self.scheduler.state_dict() if self.scheduler is not None else None}

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        # The slots come into being with the first update: make one of zeros, for the weights that had one.
        weights = self.encoder.weights()
        saved = {tuple(key.split('/')): value for key, value in arrays.items()}
        slopes = {key: saved.pop(key) for key in list(saved) if key[2] == SLOPE}
        for which, optimizer in self.optimizers.items():
            trained = _trained(optimizer)
            updated = [trained[int(place)] for place in {place for name, place, _ in saved if name == which}]
            for parameter in updated:
                parameter.grad = paddle.zeros_like(parameter)
            if updated:
                optimizer.step()
                optimizer.clear_grad(set_to_zero=False)  # or what is put in its place below is not added to
        self.encoder.assign(weights)
        for (which, place, slot), value in saved.items():
            name = _trained(self.optimizers[which])[int(place)].name
            self.optimizers[which]._accumulators[slot][name].set_value(paddle.to_tensor(value))
        for (which, place, _), value in slopes.items():
            _trained(self.optimizers[which])[int(place)].grad = paddle.to_tensor(value)
        if self.scheduler is not None:
            self.scheduler.set_state_dict(numbers['scheduler'])
        for name, value in learned.items():
            self.parameters[name].set_value(paddle.to_tensor(np.array(value)))
        self.memory = {name: paddle.to_tensor(value) for name, value in memory.items()}


def _trained(optimizer: Any) -> list[Any]:
    # Its weights, also where they were given in groups.
    return [p for one in optimizer._param_groups for p in (one['params'] if isinstance(one, dict) else [one])]
