"""The loop, once: what happens when in a training. A framework adds its step.

Chance is a function of (seed, step): the generators are seeded before every step and the sampler is a function of
(seed, epoch), so no random state is saved, and a resumed training equals one that was never interrupted.

A batch larger than `mini_batch_size` is never in the model as a whole. By the chain rule its slope is the sum, over the
embeddings, of the loss's slope at an embedding times the embedding's own: so all chunks are embedded without a graph,
the loss of all embeddings gives its slopes, and each chunk is embedded again and pulled along by its part of them. Each
chunk has its own seed, which makes dropout the same both times. Source: Gao et al., 2021 (GradCache).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from finetuner import artifact
from finetuner.data.batch import Loader
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, TrainingError, enumerated, nearest
from finetuner.inference import Encoder
from finetuner.losses.objective import Objective
from finetuner.tuner import checkpoint
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.chunks import chunks
from finetuner.tuner.interruption import deferred
from finetuner.tuner.schedule import Optimization, for_loss
from finetuner.tuner.state import TunerState
from finetuner.typing import Codes, CollateFn, Inputs, Layout, PreprocessFn, Tensor

SCHEDULER_STEPS = ('batch', 'epoch')


class Tuner(ABC):
    """Trains an encoder on batches.

    Args:
        encoder: the model, placed on its device.
        objective: loss and miner.
        dim: D, the size of the embeddings.
        optimization: the optimizer of the model, and its numbers.
        loss_optimization: the same for what the loss learns.
        configure_optimizer: `f(model) -> optimizer` or `(optimizer, scheduler)` of the framework's own, in place of
            `optimization`.
        scheduler_step: whether such a scheduler steps after every 'batch' or 'epoch'.
        callbacks: told of everything, in their order.
        seed: of everything that is left to chance.
        means: (C, D) the directions that learned classes start from; None starts them from noise.
        mini_batch_size: items that are in the model at a time; None for the whole batch.

    Attributes:
        state: the counters.
        memory: of earlier batches, before the first; `setup` makes the framework's own of it.
        stop_training: set it in a callback, and training ends with the epoch.
    """

    def __init__(
        self,
        encoder: Encoder,
        objective: Objective,
        *,
        dim: int,
        optimization: Optimization | None = None,
        loss_optimization: Optimization | None = None,
        configure_optimizer: Callable[[Any], Any] | None = None,
        scheduler_step: str = 'batch',
        callbacks: Sequence[Callback] = (),
        seed: int = 0,
        means: np.ndarray | None = None,
        mini_batch_size: int | None = None,
    ) -> None:
        if scheduler_step not in SCHEDULER_STEPS:
            raise ArgumentError(f'scheduler_step={scheduler_step!r}. {nearest(str(scheduler_step), SCHEDULER_STEPS)}')
        self.encoder = encoder
        self.objective = objective
        self.dim = dim
        self.optimization = optimization or Optimization()
        self.loss_optimization = loss_optimization or for_loss()
        self.configure_optimizer = configure_optimizer
        self.scheduler_step = scheduler_step
        self.callbacks = list(callbacks)
        self.seed = seed
        self.means = means
        self.mini_batch_size = mini_batch_size
        self.state = TunerState()
        self.stop_training = False
        self.ops = load(encoder.framework, 'ops')

    @property
    def embed_model(self) -> Any:
        """The model that is trained."""
        return self.encoder.model

    @property
    def preprocess_fn(self) -> PreprocessFn | None:
        """What makes content of an item."""
        return self.loader.dataset.preprocess_fn

    @property
    def collate_fn(self) -> CollateFn | None:
        """What makes the model's input of contents."""
        return self.loader.collate_fn

    @property
    def chunked(self) -> bool:
        """Whether a batch goes through the model in more than one chunk."""
        return self.mini_batch_size is not None and self.loader.layout.items > self.mini_batch_size

    @cached_property
    def folder(self) -> Path:
        """The training's own folder, below FINETUNER_HOME; made when it is first used."""
        return artifact.home() / 'trainings' / datetime.now().strftime('%Y%m%d-%H%M%S-%f')

    def fit(
        self, loader: Loader, epochs: int, eval_loader: Loader | None = None, resume: str | Path | None = None
    ) -> None:
        """Train for `epochs`.

        An exception is told to the callbacks and raised; Ctrl-C is told to them and ends the training, and what was
        trained so far stays.

        Args:
            loader: batches to learn from.
            epochs: how often to see all of them.
            eval_loader: batches to measure the loss on after every epoch.
            resume: a checkpoint, or a folder of checkpoints of which the newest whole one is taken.
        """
        self.loader, self.eval_loader = loader, eval_loader
        self.state = TunerState(epochs, 0, len(loader), len(eval_loader) if eval_loader else 0)
        self.stop_training = False
        for callback in self.callbacks:
            callback.check(self)
        self.begin(loader)
        try:
            if resume is not None:
                checkpoint.load(self, resume)
            self._tell('on_fit_begin')
            for epoch in range(len(self.state.history), epochs):
                if self.stop_training:
                    break
                self.state.epoch = epoch
                self._epoch()
            self._tell('on_fit_end')
        except KeyboardInterrupt:
            self._tell('on_keyboard_interrupt')
        except BaseException as error:
            self._tell('on_exception', error)
            raise
        finally:
            self.release()

    def _epoch(self) -> None:
        state, start = self.state, perf_counter()
        # Above 0 where a checkpoint was written within the epoch, or in its validation: then nothing is left to train.
        begun = state.batch_index = state.step - state.epoch * state.num_batches_train
        self._tell('on_epoch_begin')
        good = self.encoder.weights()
        loss = self._train(begun)
        spoilt = [name for name, value in self.encoder.weights().items() if np.isnan(value).any()]
        if spoilt or not math.isfinite(loss):
            self.encoder.assign(good)
            what = f'its loss is {loss}' if not math.isfinite(loss) else f'{enumerated(spoilt)} became NaN'
            raise TrainingError(
                f'The model cannot learn from epoch {state.epoch + 1}: {what}. It has the weights from before this '
                f'epoch again. Try a learning rate below {next(iter(state.learning_rates.values())):g}.'
            )
        record: dict[str, Any] = {'epoch': state.epoch, 'train_loss': loss}
        if self.eval_loader:
            record['val_loss'] = self._validate(self.eval_loader)
        record |= {'learning_rates': dict(state.learning_rates), 'seconds': perf_counter() - start}
        state.history.append(record)
        state.losses = []
        self._tell('on_epoch_end')

    def _train(self, begun: int) -> float:
        state = self.state
        self._tell('on_train_epoch_begin')
        for place, (inputs, codes) in enumerate(self.loader.epoch(state.epoch, begun), begun):
            state.batch_index = place
            total = state.num_epochs * state.num_batches_train
            own = {} if self.configure_optimizer else {'model': self.optimization.rate(state.step, total)}
            self.set_rates(own | {'loss': self.loss_optimization.rate(state.step, total)})
            state.learning_rates = self.rates()
            self._tell('on_train_batch_begin')
            with deferred():
                state.loss = self.step(inputs, codes)
                state.losses.append(state.loss)
                if self.scheduler_step == 'batch' or state.step % state.num_batches_train == 0:
                    self.step_scheduler()
            self._tell('on_train_batch_end')
        self._tell('on_train_epoch_end')
        return float(np.mean([float(loss) for loss in state.losses]))

    def _validate(self, loader: Loader) -> float:
        state = self.state
        state.batch_index = 0
        self._tell('on_val_begin')
        losses = []
        for place, (inputs, codes) in enumerate(loader.epoch(0)):
            state.batch_index = place
            self._tell('on_val_batch_begin')
            state.loss = self.eval_step(inputs, codes, loader.layout)
            losses.append(state.loss)
            self._tell('on_val_batch_end')
        self._tell('on_val_end')
        return float(np.mean(losses))

    def begin(self, loader: Loader) -> None:
        """Make ready for `step` on the batches of a loader; `release` ends what this begins."""
        self.loader = loader
        self.memory = self.objective.memory(self.dim, loader.blank(), loader.layout)
        self.setup(loader.layout)

    def step(self, inputs: Inputs, codes: Codes) -> Any:
        """One update from a batch of the loader, in chunks if it must be; gives the loss, as anything `float` reads."""
        self._reseed()
        loss = self.step_in_chunks(inputs, codes) if self.chunked else self.train_step(inputs, codes)
        self.state.step += 1
        return loss

    def step_in_chunks(self, inputs: Inputs, codes: Codes) -> Any:
        """What `train_step` does, in the memory of a chunk."""
        parts = list(chunks(inputs, self.loader.layout.items, self.mini_batch_size))
        embeddings = []
        with self.statistics_kept():
            for number, (_, part) in enumerate(parts):
                self._reseed(number)
                embeddings.append(self.forward(part))
        loss, slopes = self.derivative(self.ops.concatenate(embeddings), codes)
        for number, (place, part) in enumerate(parts):
            self._reseed(number)
            self.pull(part, slopes[place], update=number == len(parts) - 1)
        return loss

    def eval_step(self, inputs: Inputs, codes: Codes, layout: Layout) -> float:
        """The loss of a batch in evaluation mode, without gradient."""
        asarray = self.ops.asarray
        parts = chunks(inputs, layout.items, self.mini_batch_size)
        embeddings = asarray(np.concatenate([self.encoder.embed(part) for _, part in parts]))
        codes = {name: asarray(code) for name, code in codes.items()}
        learned = {name: asarray(value) for name, value in self.learned().items()}
        return float(self.ops.to_numpy(self.objective(embeddings, codes, layout, learned)))

    def made(self, kind: type, library: str) -> tuple[Any, Any]:
        """What `configure_optimizer` gives: an optimizer, and a scheduler or None.

        Args:
            kind: the class that the optimizer must be of.
            library: what an error calls it.

        Raises:
            ArgumentError: it gives something else.
        """
        assert self.configure_optimizer is not None
        made = self.configure_optimizer(self.embed_model)
        optimizer, scheduler = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(optimizer, kind):
            raise ArgumentError(
                f'configure_optimizer gave a {type(optimizer).__name__}: expected a {library}, '
                f'or one and a scheduler, (optimizer, scheduler).'
            )
        return optimizer, scheduler

    def _tell(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)

    def _reseed(self, chunk: int = 0) -> None:
        self.reseed(int(np.random.SeedSequence((self.seed, self.state.step, chunk)).generate_state(1)[0]))

    @abstractmethod
    def setup(self, layout: Layout) -> None:
        """Make the optimizer, what the loss learns, and the step for batches of this layout."""

    @abstractmethod
    def release(self) -> None:
        """Leave the model in the mode, and chance in the state, that they were in before `setup`."""

    @abstractmethod
    def train_step(self, inputs: Inputs, codes: Codes) -> Any:
        """Forward, loss, backward, update; gives the loss, as anything that `float` reads."""

    @abstractmethod
    def statistics_kept(self) -> AbstractContextManager[None]:
        """Give the model its statistics (of BatchNorm, say) back in the end."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """The embeddings of a chunk in training mode, without a graph."""

    @abstractmethod
    def derivative(self, embeddings: Tensor, codes: Codes) -> tuple[Any, Tensor]:
        """The loss of a batch like that of `train_step`, and its slopes at the (N, D) embeddings.

        What the loss learns gets its slopes here, and is updated with the model.
        """

    @abstractmethod
    def pull(self, inputs: Inputs, slopes: Tensor, update: bool) -> None:
        """Add the slopes of a chunk to those of the chunks before; with `update`, clip the sum and update.

        Args:
            inputs: of the chunk.
            slopes: (n, D) of the loss at its embeddings.
            update: whether it is the last chunk.
        """

    @abstractmethod
    def reseed(self, seed: int) -> None:
        """Seed every generator that the model draws from (32 bits)."""

    @abstractmethod
    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rates of the next update, of 'model' and 'loss'; what is left out keeps its own."""

    @abstractmethod
    def rates(self) -> dict[str, float]:
        """The present learning rates: of the 'model', of its parts if they differ, and of the 'loss' if it learns."""

    @abstractmethod
    def step_scheduler(self) -> None:
        """Step the user's own scheduler, if there is one."""

    @abstractmethod
    def learned(self) -> dict[str, np.ndarray]:
        """The present values of what the loss learns."""

    @abstractmethod
    def remembered(self) -> dict[str, np.ndarray]:
        """The present memory of earlier batches; nothing where the objective has none."""

    @abstractmethod
    def optimizer_state(self) -> tuple[dict[str, np.ndarray], Any]:
        """The optimizer's arrays by position, and its numbers for JSON."""

    @abstractmethod
    def restore(
        self,
        arrays: Mapping[str, np.ndarray],
        numbers: Any,
        learned: Mapping[str, np.ndarray],
        memory: Mapping[str, np.ndarray],
    ) -> None:
        """Set the optimizer, what the loss learns and the memory of earlier batches to what was saved."""
