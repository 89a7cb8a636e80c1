"""The training step of Keras 3: our objective as `compute_loss`, and `train_on_batch` of whichever engine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import keras
import numpy as np

from finetuner.backends.keras.encoder import SEED, Encoder, Shell, array
from finetuner.backends.keras.gradcache import Chunk, Embeddings, Sums
from finetuner.backends.keras.optimizers import Grouped, made
from finetuner.inference import checked
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
        with self.encoder.scope():
            learned = self.objective.parameters(self.dim, layout.n_classes, self.means)
            model = self.encoder.model
            if self.chunked:
                dtype = keras.backend.result_type(model.compute_dtype, 'float32')
                model = Embeddings((layout.items, self.dim), dtype)
            self.trainer = Trainer(model, self.objective, layout, learned, self.memory)
            self.trainer.build()
            self.trained = [*self.trainer.parameters_.values(), *self.encoder.model.trainable_variables]
            self.optimizer = self._optimizer()
            self.optimizer.build(self.trained)
            if self.chunked:
                self.trainer.autocast = False  # embeddings come as the model gave them
                self.chunk = Chunk(self.encoder.model, layout.items)
                self.chunk.build()
                self._compile(self.chunk, Sums())
            self._compile(self.trainer, Sums() if self.chunked else self.optimizer)
        self.seeds = [v for v in self.encoder.model.variables if v.name == SEED]
        self.found = [array(v) for v in self.seeds], _torch() and _torch().get_rng_state()

    def _compile(self, model: Shell, optimizer: Any) -> None:
        model.compile(optimizer, jit_compile=keras.backend.backend() == 'jax', auto_scale_loss=False)
        optimizer.build(model.trainable_variables)

    def release(self) -> None:
        seeds, chance = self.found
        for state, value in zip(self.seeds, seeds, strict=True):
            state.assign(value)
        if chance is not None:
            _torch().set_rng_state(chance)

    def _optimizer(self) -> Any:
        learned = list(self.trainer.parameters_.values())
        own = self.configure_optimizer is not None
        numbers = self.optimization
        if own:
            optimizer = self.made(keras.optimizers.Optimizer, 'keras.optimizers.Optimizer')[0]
        else:
            optimizer = made(numbers, clip=None if learned else numbers.clip)
            flat = [v for v in self.encoder.model.trainable_variables if len(v.shape) < 2]
            optimizer.exclude_from_weight_decay(var_list=flat)
        self.optimizers = {'model': optimizer}
        if not learned:
            return optimizer
        self.optimizers['loss'] = made(self.loss_optimization)
        return Grouped(self.optimizers, {'loss': learned}, None if own else numbers.clip)

    def train_step(self, inputs: Inputs, codes: Codes) -> float:
        with self.encoder.scope():
            if not RESETS:
                self.trainer.reset_metrics()
            return float(self.trainer.train_on_batch(self.encoder.native(inputs), dict(codes)))

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
        with self.encoder.scope():
            return checked(self.chunk.predict_on_batch(self.encoder.native(inputs)), None)

    def derivative(self, embeddings: Any, codes: Codes) -> tuple[float, np.ndarray]:
        loss = self.train_step(array(embeddings), codes)
        return loss, array(self.trainer.optimizer.sums[-1])

    def pull(self, inputs: Inputs, slopes: np.ndarray, update: bool) -> None:
        with self.encoder.scope():
            self.chunk.train_on_batch(self.encoder.native(inputs), slopes)
            if update:
                self._update()

    def _update(self) -> None:
        *learned, _ = self.trainer.optimizer.slopes()
        slopes = [*learned, *self.chunk.optimizer.slopes()]
        # The optimizer divides by the scale of the loss that it expects.
        scaled = [None if slope is None else self.optimizer.scale_loss(slope) for slope in slopes]
        self.optimizer.apply(scaled, self.trained)
        for sums in (self.trainer.optimizer, self.chunk.optimizer):
            sums.clear()

    def reseed(self, seed: int) -> None:
        for place, state in enumerate(self.seeds):
            state.assign(np.random.SeedSequence((seed, place)).generate_state(2))
        if torch := _torch():  # its dropout draws from torch's own generator
            torch.default_generator.manual_seed(seed)  # torch.manual_seed is slow where CUDA is not in use
            if torch.cuda.is_initialized():
                torch.cuda.manual_seed_all(seed)

    def set_rates(self, rates: Mapping[str, float]) -> None:
        self.set = {name: rate for name, rate in rates.items() if name in self.optimizers}
        for name, rate in self.set.items():
            self.optimizers[name].learning_rate = rate

    def rates(self) -> dict[str, float]:
        # What was set is not read back: from TensorFlow that takes as long as to set it.
        read = {name: optimizer for name, optimizer in self.optimizers.items() if name not in self.set}
        return {name: float(keras.ops.convert_to_numpy(one.learning_rate)) for name, one in read.items()} | self.set

    def step_scheduler(self) -> None:
        """A Keras schedule is part of its optimizer and steps by itself."""

    def learned(self) -> dict[str, np.ndarray]:
        return {name: array(value) for name, value in self.trainer.parameters_.items()}

    def remembered(self) -> dict[str, np.ndarray]:
        return {name: array(value) for name, value in self.trainer.memory_.items()}

    # By position: the names of an optimizer's variables are process-global.
    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        return {f'{i:05d}': array(v) for i, v in enumerate(self.optimizer.variables)}, None

    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        for i, variable in enumerate(self.optimizer.variables):
            variable.assign(np.array(arrays[f'{i:05d}']))
        for name, value in learned.items():
            self.trainer.parameters_[name].assign(np.array(value))
        for name, value in memory.items():
            self.trainer.memory_[name].assign(np.array(value))


def _torch() -> Any:
    # The engine, if it is torch.
    return import_module('torch') if keras.backend.backend() == 'torch' else None
