"""The training step of PaddlePaddle."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from finetuner.backends.paddle import ops, paddle
from finetuner.backends.paddle.encoder import Encoder
from finetuner.inference import checked
from finetuner.tuner import base
from finetuner.typing import Codes, Inputs, Layout


class Tuner(base.Tuner):
    """Trains a Paddle layer; what the loss learns is kept outside of it."""

    encoder: Encoder

    def setup(self, layout: Layout) -> None:
        self.layout = layout
        self.parameters = {
            name: paddle.create_parameter(
                value.shape, 'float32', default_initializer=paddle.nn.initializer.Assign(value)
            )
            for name, value in self.objective.parameters(self.dim, layout.n_classes).items()
        }
        self.memory = {name: paddle.to_tensor(value) for name, value in self.memory.items()}
        self.optimizer, self.scheduler = self._optimizer()
        layers = self.encoder.model.sublayers(include_self=True)
        self.found = [(layer, layer.training) for layer in layers], paddle.get_rng_state()
        self.encoder.model.train()

    def release(self) -> None:
        modes, chance = self.found
        for layer, training in modes:
            layer.training = training
        paddle.set_rng_state(chance)

    def _trained(self) -> list[Any]:
        own = [p for p in self.encoder.model.parameters() if not p.stop_gradient]
        return [*own, *self.parameters.values()]

    def _optimizer(self) -> tuple[Any, Any]:
        if self.configure_optimizer is not None:
            optimizer, scheduler = self.made(paddle.optimizer.Optimizer, 'paddle.optimizer.Optimizer')
            if self.parameters:
                optimizer._parameter_list += list(self.parameters.values())
            return optimizer, scheduler
        numbers = self.optimization
        decayed = {p.name for p in self.encoder.model.parameters() if p.ndim > 1}
        optimizer = paddle.optimizer.AdamW(
            numbers.learning_rate,
            parameters=self._trained(),
            weight_decay=numbers.weight_decay,
            beta1=numbers.beta_1,
            beta2=numbers.beta_2,
            epsilon=numbers.epsilon,
            grad_clip=paddle.nn.ClipGradByGlobalNorm(numbers.clip),
            apply_decay_param_fun=decayed.__contains__,
        )
        return optimizer, None

    def train_step(self, inputs: Inputs, codes: Codes) -> Any:
        loss = self._backward(self._embeddings(inputs), codes)
        self._update()
        return loss

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        # Paddle's own statistics are parameters without slope, and vectors. So are frozen biases, which does no harm.
        still = [p for p in self.encoder.model.parameters() if p.stop_gradient and p.ndim < 2]
        kept = [(value, value.clone()) for value in [*self.encoder.model.buffers(), *still]]
        yield
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

    def _embeddings(self, inputs: Inputs) -> Any:
        return checked(self.encoder.call(inputs), None)

    def _backward(self, embeddings: Any, codes: Codes) -> Any:
        native = {name: paddle.to_tensor(code) for name, code in codes.items()}
        loss = self.objective(embeddings, native, self.layout, self.parameters, self.memory)
        self.memory = self.objective.remember(self.memory, embeddings, native, self.layout)
        loss.backward()
        return loss.detach()

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.clear_grad()

    def reseed(self, seed: int) -> None:
        paddle.seed(seed)

    def set_rate(self, rate: float) -> None:
        self.optimizer.set_lr(rate)

    def rates(self) -> dict[str, float]:
        return {'learning_rate': float(self.optimizer.get_lr())}

    def step_scheduler(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def learned(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.parameters.items()}

    def remembered(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.memory.items()}

    def _slots(self) -> list[Any]:
        # By position: the keys of Paddle's optimizer state are names that another process need not give again.
        return [value for value in self.optimizer.state_dict().values() if isinstance(value, paddle.Tensor)]

    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        arrays = {f'{i:05d}': ops.to_numpy(value) for i, value in enumerate(self._slots())}
        return arrays, {'scheduler': self.scheduler.state_dict() if self.scheduler is not None else None}

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        # The slots come into being with the first update: make one of zeros, before the weights are set.
        weights = self.encoder.weights()
        if arrays:
            for parameter in self._trained():
                parameter.grad = paddle.zeros_like(parameter)
            self.optimizer.step()
            self.optimizer.clear_grad()
            self.encoder.assign(weights)
        for slot, (_, value) in zip(self._slots(), sorted(arrays.items()), strict=True):
            slot.set_value(paddle.to_tensor(value))
        if self.scheduler is not None:
            self.scheduler.set_state_dict(numbers['scheduler'])
        for name, value in learned.items():
            self.parameters[name].set_value(paddle.to_tensor(np.array(value)))
        self.memory = {name: paddle.to_tensor(value) for name, value in memory.items()}
