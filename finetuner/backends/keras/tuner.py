"""The training step of Keras 3: our objective as `compute_loss`, and `train_on_batch` of whichever engine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import keras
import numpy as np

from finetuner.backends.keras import execution, replicas
from finetuner.backends.keras.encoder import SEED, Encoder, Shell, array
from finetuner.backends.keras.gradcache import Chunk, Embeddings, Sums
from finetuner.backends.keras.optimizers import Grouped, made
from finetuner.backends.keras.places import paths
from finetuner.inference import checked, length
from finetuner.losses.objective import Objective
from finetuner.tuner import base
from finetuner.typing import Codes, Inputs, Layout

# Keras before 3.15 reports the mean loss of all steps so far; since then a reset of ours would only take time.
RESETS = tuple(map(int, keras.__version__.split('.')[:2])) >= (3, 15)


class Trainer(Shell):
    """The user's model with our objective. Codes travel as `y`, for `compile(loss=…)` would make floats of them."""

    def __init__(
        self,
        inner: Any,
        objective: Objective,
        layout: Layout,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        super().__init__(inner)
        self.objective, self.layout = objective, layout
        self.parameters_ = {name: self._weight(name, value, True) for name, value in learned.items()}
        self.memory_ = {name: self._weight(f'memory_{name}', value, False) for name, value in memory.items()}

    def _weight(self, name: str, value: np.ndarray, trainable: bool) -> Any:
        def initial(shape: Any, dtype: Any = None) -> Any:
            return keras.ops.convert_to_tensor(value, dtype)

        return self.add_weight(
            shape=value.shape, initializer=initial, dtype=str(value.dtype), trainable=trainable, name=name
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective, and whatever regularisation the model's own layers ask for."""
        y = {name: keras.ops.convert_to_tensor(code) for name, code in y.items()}  # the torch engine leaves arrays
        learned = {name: keras.ops.convert_to_tensor(value) for name, value in self.parameters_.items()}
        memory = {name: keras.ops.convert_to_tensor(value) for name, value in self.memory_.items()}
        loss = self.objective(checked(y_pred, None), y, self.layout, learned, memory)
        for name, value in self.objective.remember(memory, y_pred, y, self.layout).items():
            self.memory_[name].assign(value)
        for extra in self.losses:
            loss = loss + keras.ops.cast(extra, loss.dtype)
        return loss


class Tuner(base.Tuner):
    """Trains a Keras model or layer."""

    encoder: Encoder

    def setup(self, layout: Layout) -> None:
        self.layout = layout
        self.set: dict[str, float] = {}
        self.encoder.lay(replicas.several(self.execution.devices, self.encoder.device))
        with self.encoder.scope():
            learned = self.objective.parameters(self.dim, layout.n_classes, self.means)
            model = self.encoder.trained.model
            if self.chunked:
                dtype = keras.backend.result_type(model.compute_dtype, 'float32')
                model = Embeddings((layout.items, self.dim), dtype)
            self.trainer = Trainer(model, self.objective, layout, learned, self.memory)
            self.trainer.build()
            if self.chunked:
                self.trainer.autocast = False  # embeddings come as the model gave them
                self._compile(self.trainer, Sums())
                self.chunk = Chunk(self.encoder.trained.model, layout.items)
                self.chunk.build()
            self._make({})
        self.seeds = [v for v in self.encoder.model.variables if v.name == SEED]
        self.found = [array(v) for v in self.seeds], _torch() and _torch().get_rng_state()

    def _compile(self, model: Shell, optimizer: Any) -> None:
        model.compile(optimizer, jit_compile=execution.jit(self.execution.compile), auto_scale_loss=False)
        optimizer.build(model.trainable_variables)

    def release(self) -> None:
        seeds, chance = self.found
        for state, value in zip(self.seeds, seeds, strict=True):
            state.assign(value)
        if chance is not None:
            _torch().set_rng_state(chance)
        self.encoder.lay(None)

    def remake(self) -> None:
        slots = {id(v): self._slots(v) for v in self.trained}
        with self.encoder.scope():
            self._make(dict(zip(slots, self._updates(), strict=True)))
            for variable in self.trained:
                for new, old in zip(self._slots(variable), slots.get(id(variable), ()), strict=False):
                    new.assign(array(old))
            # What JAX has compiled takes the weights that train apart from the others.
            for coder in {self.encoder, self.encoder.trained}:
                coder.shell.compile(jit_compile=keras.backend.backend() == 'jax')

    def _make(self, updates: Mapping[int, int]) -> None:
        # An optimizer of Keras counts its updates once for all its weights, so those of one count have one.
        learned, model = list(self.trainer.parameters_.values()), self.encoder.model
        self.trained = [*learned, *model.trainable_variables]
        owned: dict[tuple[str, int], list[Any]] = {}
        if self.configure_optimizer is None:
            weights, trained = paths(model), {id(v) for v in model.trainable_variables}
            for name, own in self.grouped({path: id(v) in trained for path, v in weights.items()}).items():
                for variable in (weights[path] for path in own):
                    owned.setdefault((name, updates.get(id(variable), 0)), []).append(variable)
        else:
            owned['model', 0] = model.trainable_variables
        if learned:
            owned['loss', updates.get(id(learned[0]), 0)] = learned
        clip = None if self.configure_optimizer else self.optimization.clip
        alone = len(owned) < 2
        self.optimizers = {key: self._optimizer(key[0], own, clip if alone else None) for key, own in owned.items()}
        self.optimizer: Any = (
            next(iter(self.optimizers.values()), None) if alone else Grouped(self.optimizers, owned, clip)
        )
        self.owners = {id(v): key for key, own in owned.items() for v in own}
        if self.optimizer is None:  # every weight is frozen, until somebody unfreezes some
            return
        self.optimizer.build(self.trained)
        for (_, count), optimizer in self.optimizers.items():
            if count:
                optimizer.iterations.assign(count)
        if self.chunked:
            self._compile(self.chunk, Sums())
        else:
            self._compile(self.trainer, Sums() if self.state.accumulate > 1 else self.optimizer)

    def _optimizer(self, name: str, variables: list[Any], clip: float | None) -> Any:
        if name == 'loss':
            return made(self.loss_optimization)
        if self.configure_optimizer is not None:
            return self.made(keras.optimizers.Optimizer, 'keras.optimizers.Optimizer')[0]
        optimizer = made(self.optimization, clip)
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
        return optimizer

    def _updates(self) -> list[int]:
        # How often each weight that is trained was updated, in the order of `trained`.
        counts = {key: int(array(optimizer.iterations)) for key, optimizer in self.optimizers.items()}
        return [counts[self.owners[id(v)]] for v in self.trained]

    def _slots(self, variable: Any) -> list[Any]:
        key = self.owners.get(id(variable))
        return [] if key is None else self.optimizers[key].slots(variable)

    def train_step(self, inputs: Inputs, codes: Codes) -> float:
        with self._scope():
            if not RESETS:
                self.trainer.reset_metrics()
            loss = float(self.trainer.train_on_batch(self.encoder.native(inputs), dict(codes)))
            if not self.chunked and self.state.accumulate > 1 and self.state.completes:
                self._update()
        return loss

    @contextmanager
    def _scope(self) -> Iterator[None]:
        with self.encoder.scope(), execution.computing(self.encoder.model, self.execution.precision):
            yield

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        layers = self.encoder.model._flatten_layers()
        kept = [(v, array(v)) for layer in layers for v in layer._non_trainable_variables]  # frozen ones are elsewhere
        try:
            yield
        finally:
            for variable, value in kept:
                variable.assign(value)

    def forward(self, inputs: Inputs) -> np.ndarray:
        with self._scope():
            if not self.chunked:  # nothing that happens often, so it is not worth compiling
                return checked(self.trainer(self.encoder.native(inputs), training=True), None)
            return checked(self.chunk.predict_on_batch(self.encoder.native(inputs)), None)

    def derivative(self, embeddings: Any, codes: Codes) -> tuple[float, np.ndarray]:
        loss, sums = self.train_step(array(embeddings), codes), self.trainer.optimizer.sums[-1]
        slopes = array(sums)
        sums.assign(np.zeros_like(slopes))  # those of the next batch are its own
        return loss, slopes

    def pull(self, inputs: Inputs, slopes: np.ndarray, update: bool) -> None:
        with self._scope():
            self.chunk.train_on_batch(self.encoder.native(inputs), slopes)
            if update:
                self._update()

    def attempt(self, inputs: Inputs) -> None:
        with self.encoder.scope():
            chunk = Chunk(self.encoder.trained.model, self.layout.items)
            chunk.build()
            self._compile(chunk, Sums())
            native = self.encoder.native(inputs)
            slopes = np.zeros((length(native) or 0, self.dim), np.float32)
            float(chunk.train_on_batch(native, slopes))  # until somebody reads it, JAX does nothing

    def _update(self) -> None:
        slopes = self.trainer.optimizer.slopes()
        if self.chunked:
            slopes = [*slopes[:-1], *self.chunk.optimizer.slopes()]
        share = 1 / self.state.group
        # The optimizer divides by the scale of the loss that it expects.
        scaled = [None if slope is None else self.optimizer.scale_loss(slope * share) for slope in slopes]
        self.optimizer.apply(scaled, self.trained)
        for model in self._summing():
            model.optimizer.clear()

    def _summing(self) -> list[Any]:
        return [self.trainer, self.chunk] if self.chunked else [self.trainer]

    def reseed(self, seed: int) -> None:
        for place, state in enumerate(self.seeds):
            state.assign(np.random.SeedSequence((seed, place)).generate_state(2))
        if torch := _torch():  # its dropout draws from torch's own generator
            torch.default_generator.manual_seed(seed)  # torch.manual_seed is slow where CUDA is not in use
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed_all(seed)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        self.set = {}
        for (name, _), optimizer in self.optimizers.items():
            if name in rates:
                self.set[name] = optimizer.learning_rate = rates[name]

    def rates(self) -> dict[str, float]:
        # What was set is not read back: from TensorFlow that takes as long as to set it.
        read = {name: optimizer for (name, _), optimizer in self.optimizers.items() if name not in self.set}
        return {name: float(keras.ops.convert_to_numpy(one.learning_rate)) for name, one in read.items()} | self.set

    def step_scheduler(self) -> None:
        """A Keras schedule is part of its optimizer and steps by itself."""

    def learned(self) -> dict[str, np.ndarray]:
        return {name: array(value) for name, value in self.trainer.parameters_.items()}

    def remembered(self) -> dict[str, np.ndarray]:
        return {name: array(value) for name, value in self.trainer.memory_.items()}

    # By position: the names of an optimizer's variables are process-global.
    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        numbers = None if self.configure_optimizer else {'updates': self._updates()}
        arrays = {f'{i:05d}': array(v) for i, v in enumerate(self.optimizer.variables)}
        return arrays | {name: array(value) for name, value in self._pending().items()}, numbers

    def _pending(self) -> dict[str, Any]:
        # The sums of the slopes between the batches of an update.
        sums = [value for model in self._summing() for value in model.optimizer.sums] if self.state.pending else []
        return {f'slope/{i:05d}': value for i, value in enumerate(sums)}

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        if self.configure_optimizer is None:
            with self.encoder.scope():
                self._make(dict(zip(map(id, self.trained), numbers['updates'], strict=True)))
        for i, variable in enumerate(self.optimizer.variables):
            variable.assign(np.array(arrays[f'{i:05d}']))
        for name, variable in self._pending().items():
            variable.assign(np.array(arrays[name]))
        for name, value in learned.items():
            self.trainer.parameters_[name].assign(np.array(value))
        for name, value in memory.items():
            self.trainer.memory_[name].assign(np.array(value))


def _torch() -> Any:
    # The engine, if it is torch.
    return import_module('torch') if keras.backend.backend() == 'torch' else None
