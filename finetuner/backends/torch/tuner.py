"""The training step of PyTorch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from finetuner.backends.torch import execution, ops, processes
from finetuner.backends.torch.encoder import Encoder
from finetuner.backends.torch.tailor import stands_still
from finetuner.inference import checked
from finetuner.tuner import base
from finetuner.tuner.optimizers import OPTIMIZERS
from finetuner.tuner.schedule import Optimization
from finetuner.typing import Codes, Inputs, Layout

SLOPE = 'slope'  # of a weight, in a checkpoint between the batches of an update


class Tuner(processes.Several, base.Tuner):
    """Trains a module; what the loss learns is kept outside of it."""

    encoder: Encoder

    def setup(self, layout: Layout) -> None:
        model = self.encoder.model
        self.layout = layout
        device = torch.device(self.encoder.device).type
        self.autocast = execution.autocast(self.execution.precision, device)
        self.scaler = torch.amp.GradScaler(device, enabled=self.execution.precision == '16')
        initial = self.objective.parameters(self.dim, layout.n_classes, self.means)
        self.parameters = {
            name: torch.nn.Parameter(torch.from_numpy(value).to(self.encoder.device)) for name, value in initial.items()
        }
        self.memory = {name: torch.from_numpy(value).to(self.encoder.device) for name, value in self.memory.items()}
        trained = self.encoder.trained.model
        self.module = execution.compiled(trained) if self.execution.compile else trained
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.scheduler: Any = None
        self.remake()
        # A module that stands still has no mode of its own; if it does not in the end, it has that of the model.
        modes = [(m, model.training if stands_still(m) else m.training) for m in model.modules()]
        self.found = modes, torch.get_rng_state()
        self.undo: Callable[[], None] | None = None
        if self.execution.gradient_checkpointing:
            self.undo = execution.recompute(model)
        model.train()  # last: what fails before it leaves the mode as it was

    def remake(self) -> None:
        slots: dict[Any, Any] = {}
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
            slots |= optimizer.state
        self.optimizers = self._optimizers()
        for optimizer in self.optimizers.values():
            optimizer.state.update({p: slots[p] for p in _trained(optimizer) if p in slots})

    def release(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        modes, chance = self.found
        for module, training in modes:
            module.training = training and not stands_still(module)
        torch.set_rng_state(chance)
        if self.undo is not None:
            self.undo()

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        made = {}
        if self.configure_optimizer is not None:
            made['model'], self.scheduler = self.made(torch.optim.Optimizer, 'torch.optim.Optimizer')
        else:
            weights = dict(self.encoder.model.named_parameters())
            for name, paths in self.grouped({path: p.requires_grad for path, p in weights.items()}).items():
                trained = [weights[path] for path in paths]
                matrices, flat = ([p for p in trained if (p.ndim > 1) == many] for many in (True, False))
                groups: list[dict[str, Any]] = [{'params': matrices}, {'params': flat, 'weight_decay': 0.0}]
                made[name] = _optimizer(self.optimization, [group for group in groups if group['params']])
        if self.parameters:
            made['loss'] = _optimizer(self.loss_optimization, [{'params': list(self.parameters.values())}])
        return made

    def step(self, inputs: Inputs, codes: Codes) -> Any:
        with execution.explained(self.encoder.model) if self.execution.compile else nullcontext():
            return super().step(inputs, codes)

    def train_step(self, inputs: Inputs, codes: Codes) -> torch.Tensor:
        loss = self._backward(self._embeddings(inputs), codes)
        if self.state.completes:
            self._update()
        return loss

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        kept = [(buffer, buffer.clone()) for buffer in self.encoder.model.buffers()]
        try:
            yield
        finally:
            for buffer, value in kept:
                buffer.copy_(value)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        with torch.no_grad():
            return self._embeddings(inputs)

    def derivative(self, embeddings: torch.Tensor, codes: Codes) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = embeddings.requires_grad_()
        return self._backward(leaf, codes), leaf.grad

    def pull(self, inputs: Inputs, slopes: torch.Tensor, update: bool) -> None:
        self._embeddings(inputs).backward(slopes)
        if update:
            self._update()

    def attempt(self, inputs: Inputs) -> None:
        embeddings = self._embeddings(inputs)
        embeddings.backward(torch.zeros_like(embeddings))
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def _embeddings(self, inputs: Inputs) -> torch.Tensor:
        with self.autocast():
            found = self.through(inputs, lambda part: checked(self.encoder.trained.call(part, self.module), None))
        return found if self.execution.precision == '32' else found.float()

    def _backward(self, embeddings: torch.Tensor, codes: Codes) -> torch.Tensor:
        native = {name: torch.from_numpy(code).to(embeddings.device) for name, code in codes.items()}
        loss = self.objective(embeddings, native, self.layout, self.parameters, self.memory)
        self.memory = self.objective.remember(self.memory, embeddings, native, self.layout)
        if not self.state.pending:
            for optimizer in self.optimizers.values():
                optimizer.zero_grad()
        share = loss if self.state.group == 1 else loss / self.state.group
        self.scaler.scale(share).backward()
        return loss.detach()

    def _update(self) -> None:
        trained = [p for optimizer in self.optimizers.values() for p in _trained(optimizer)]
        for optimizer in self.optimizers.values():
            self.scaler.unscale_(optimizer)
        if self.configure_optimizer is None:
            torch.nn.utils.clip_grad_norm_(trained, self.optimization.clip)
        # All slopes bear one scale: if it was too large for some, none is used, and the scale falls.
        if not self.scaler.is_enabled() or all(bool(p.grad.isfinite().all()) for p in trained if p.grad is not None):
            for optimizer in self.optimizers.values():
                optimizer.step()
        self.scaler.update()

    def reseed(self, seed: int) -> None:
        # Not torch.manual_seed: where CUDA is not in use it prints the whole stack to a string each time, 0.2 ms.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group['lr'] = rates.get(name, group['lr'])

    def rates(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, optimizer in self.optimizers.items():
            rates = [float(group['lr']) for group in optimizer.param_groups]
            several = len(set(rates)) > 1
            found |= {f'{name}_{i}' if several else name: rate for i, rate in enumerate(rates)}
        return found

    def step_scheduler(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def learned(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.parameters.items()}

    def remembered(self) -> dict[str, np.ndarray]:
        return {name: ops.to_numpy(value).copy() for name, value in self.memory.items()}

    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        arrays: dict[str, np.ndarray] = {}
        numbers: dict[str, Any] = {}
        groups = {}
        for which, optimizer in self.optimizers.items():
            saved = optimizer.state_dict()
            groups[which] = saved['param_groups']
            for place, slots in saved['state'].items():
                for name, value in slots.items():
                    if isinstance(value, torch.Tensor):
                        arrays[f'{which}/{place}/{name}'] = ops.to_numpy(value)
                    else:
                        numbers[f'{which}/{place}/{name}'] = value
            if self.state.pending:
                slopes = ((place, p.grad) for place, p in enumerate(_trained(optimizer)))
                arrays |= {f'{which}/{place}/{SLOPE}': ops.to_numpy(grad) for place, grad in slopes if grad is not None}
        scheduler = self.scheduler.state_dict() if self.scheduler is not None else None
        scale = self.scaler.state_dict()
        return arrays, {'slots': numbers, 'groups': groups, 'scheduler': scheduler, 'scale': scale}

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        slots: dict[str, dict[int, dict[str, Any]]] = {which: {} for which in self.optimizers}
        for key, value in [*arrays.items(), *numbers['slots'].items()]:
            which, place, name = key.split('/', 2)
            value = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
            if name == SLOPE:
                _trained(self.optimizers[which])[int(place)].grad = value.to(self.encoder.device)
                continue
            slots[which].setdefault(int(place), {})[name] = value
        for which, optimizer in self.optimizers.items():
            optimizer.load_state_dict({'state': slots[which], 'param_groups': numbers['groups'][which]})
        self.scaler.load_state_dict(numbers.get('scale', {}))
        if self.scheduler is not None:
            self.scheduler.load_state_dict(_numbered(numbers['scheduler']))
        with torch.no_grad():
            for name, value in learned.items():
                self.parameters[name].copy_(torch.from_numpy(np.array(value)))
        self.memory = {name: torch.from_numpy(value.copy()).to(self.encoder.device) for name, value in memory.items()}


def _trained(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group['params']]


def _optimizer(numbers: Optimization, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    options = {name: getattr(numbers, name) for name in OPTIMIZERS[numbers.name].options}
    if 'beta_1' in options:
        options['betas'] = options.pop('beta_1'), options.pop('beta_2')
    names = {'epsilon': 'eps', 'rho': 'alpha' if numbers.name == 'RMSprop' else 'rho'}
    options = {names.get(name, name): value for name, value in options.items()}
    return getattr(torch.optim, numbers.name)(groups, lr=numbers.learning_rate, **options)


def _numbered(state: Any) -> Any:
    # JSON made texts of the numbers that schedulers keep their milestones by.
    if isinstance(state, list):
        return [_numbered(value) for value in state]
    if not isinstance(state, dict):
        return state
    return {int(key) if key.isdecimal() else key: _numbered(value) for key, value in state.items()}
