"""The loop, once: what happens when in a training. A framework adds its step.

Chance is a function of (seed, step): the generators are seeded before every step and the sampler is a function of
(seed, epoch), so no random state is saved, and a resumed training equals one that was never interrupted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from finetuner import artifact
from finetuner.data.batch import Loader
from finetuner.dispatch import load
from finetuner.errors import ArgumentError, nearest
from finetuner.inference import Encoder
from finetuner.losses.objective import Objective
from finetuner.memory import is_out_of_memory
from finetuner.tuner import apart, checkpoint, divergence, exhaustion
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.execution import Execution
from finetuner.tuner.interruption import Terminated, deferred, terminable
from finetuner.tuner.meeting import Meeting
from finetuner.tuner.optimizers import for_loss
from finetuner.tuner.schedule import SCHEDULER_STEPS, Optimization
from finetuner.tuner.state import TunerState
from finetuner.tuner.step import Step
from finetuner.tuner.telling import Telling
from finetuner.typing import Codes, CollateFn, Inputs, PreprocessFn
from finetuner.world import current


class Tuner(Step):
    """Trains an encoder on batches.

    Args:
        encoder: the model, placed on its device.
        objective: loss and miner.
        dim: D, the size of the embeddings.
        optimization: the optimizer of the model, and its numbers.
        loss_optimization: the same for what the loss learns.
        configure_optimizer: `f(model) -> optimizer` or `(optimizer, scheduler)` of the framework's own, in place of
            `optimization`.
        scheduler_step: whether such a scheduler steps after every update ('batch') or 'epoch'.
        callbacks: told of everything, in their order.
        seed: of everything that is left to chance.
        means: (C, D) the directions that learned classes start from; None starts them from noise.
        mini_batch_size: items that are in the model at a time; None for the whole batch.
        scales: at which multiple of the model's rate weights are trained, by the path of a layer or a weight. Of the
            places that a weight lies in, the longest counts; in none it is 1.
        accumulate: batches whose slopes are averaged into one update.
        execution: how the model is run while it trains; None runs it in float32.

    Attributes:
        state: the counters.
        scales: may be changed; `rebuild` reads it.
        groups: of the weights that train now, by name the multiple of the model's rate and the paths.
        rows: of all weights, by path the place among them, which is the same in every process.
        memory: of earlier batches, before the first; `setup` makes the framework's own of it.
        stop_training: set it in a callback, and training ends with the epoch.
        changed: whether a callback changed the weights after the last epoch.
        fresh: whether the model was made of another one just now, so that a head on it has learned nothing yet.
        again: whether a training is repeated on all data, `refit`: what was chosen in it on held-out data is kept.
        saved: the newest checkpoint of the training.
        begun: batches that were trained when it began, or went on.
        good: the weights, and what the loss had learned, before the epoch that is trained, or before the end.
        tell: tells the callbacks.
        world: the processes that train together.
        meet: their meetings.
        updating: whether it is within an update.
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
        scales: Mapping[str, float] | None = None,
        accumulate: int = 1,
        execution: Execution | None = None,
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
        self.scales = dict(scales or {})
        self.groups: dict[str, tuple[float, list[str]]] = {}
        self.rows: dict[str, int] = {}
        self.execution = execution or Execution()
        self.state = TunerState(accumulate=accumulate)
        self.stop_training = self.changed = self.fresh = self.again = False
        self.saved: Path | None = None
        self.begun = 0
        self.good: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
        self.tell = Telling(self)
        self.updating = False
        self.world = current()
        self.meet = Meeting(self)
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

    @cached_property
    def folder(self) -> Path:
        """The training's own folder, below FINETUNER_HOME; made when it is first used."""
        return artifact.home() / 'trainings' / datetime.now().strftime('%Y%m%d-%H%M%S-%f')

    def fit(
        self, loader: Loader, epochs: int, eval_loader: Loader | None = None, resume: str | Path | None = None
    ) -> None:
        """Train for `epochs`.

        An exception is told to the callbacks and raised. Ctrl-C is told to them and ends the training, which is saved,
        and what was trained so far stays. SIGTERM does the same, and then ends the process.

        Args:
            loader: batches to learn from.
            epochs: how often to see all of them.
            eval_loader: batches to measure the loss on after every epoch.
            resume: a checkpoint, or a folder of checkpoints of which the newest whole one is taken.
        """
        self.loader, self.eval_loader = loader, eval_loader
        batches = len(eval_loader) if eval_loader else 0
        accumulate, found = self.state.accumulate, self.state.found
        self.state = TunerState(epochs, 0, len(loader), batches, accumulate=accumulate, found=found)
        self.stop_training = self.changed = False
        self.saved, self.updating = None, False
        self.tell.due('')
        with terminable() as self._termination:
            with self.meet.listening(self._termination):
                for callback in self.callbacks:
                    callback.check(self)
                self._run(epochs, resume)

    def _run(self, epochs: int, resume: str | Path | None) -> None:
        self.begin(self.loader)
        try:
            if resume is not None:
                checkpoint.load(self, resume)
                if self.world.size > 1:
                    apart.check_resumed(self)
            self.begun = self.state.step
            self._tell('on_fit_begin')
            self.tell.resume()
            for epoch in range(len(self.state.history), epochs):
                if self.stop_training:
                    break
                self.state.epoch = epoch
                self._epoch()
                self.stop_training = self.meet(self.stop_training)
            self._finish()
            self._tell('on_fit_end')
        except KeyboardInterrupt as stop:
            self._interrupted('Ended by SIGTERM' if isinstance(stop, Terminated) else 'Interrupted')
            if isinstance(stop, Terminated):
                raise
        except BaseException as error:
            self._tell('on_exception', error)
            raise
        finally:
            self.release()

    @property
    def whole(self) -> bool:
        """Whether the training is worth saving as it stands: not within an update, and its loss is finite."""
        return not self.updating and (not self.state.losses or math.isfinite(self.state.losses[-1]))

    def _interrupted(self, what: str) -> None:
        self._termination.saving = True
        if self.tell.hook == 'finish':  # as if that had not begun
            self.encoder.assign(self.good[0])
            self.state.finished, self.state.after, self.state.verdict = False, {}, {}
        self.state.untold, before = self.tell.rest(), self.saved
        self._tell('on_keyboard_interrupt')
        checkpoint.settle(self, what, before)

    def _finish(self) -> None:
        if not self.state.history:
            return
        if not self.state.finished:  # before a checkpoint that is resumed
            self.good = self.encoder.weights(), {}
            self.tell.due('finish')
            for callback in sorted(self.callbacks, key=lambda callback: callback.judges):
                if callback.finish(self):
                    self.changed = self.state.finished = True
            self.tell.due('')
        self.meet()
        if self.world.size > 1:
            apart.agree(self)
        self.meet.close()
        if self.state.finished:
            self._tell('measure')

    def _epoch(self) -> None:
        state, start = self.state, perf_counter()
        # Above 0 where a checkpoint was written within the epoch, or in its validation: then nothing is left to train.
        begun = state.batch_index = state.step - state.epoch * state.num_batches_train
        self._tell('on_epoch_begin')
        self.good = self.encoder.weights(), self.learned()
        loss = self._train(begun)
        spoilt = [name for name, value in self.encoder.weights().items() if np.isnan(value).any()]
        if spoilt or not math.isfinite(loss):
            raise divergence.error(self, spoilt)
        self.good = {}, {}
        record: dict[str, Any] = {'epoch': state.epoch, 'train_loss': loss}
        if self.eval_loader:
            record['val_loss'] = self._validate(self.eval_loader)
        record |= {'learning_rates': dict(state.learning_rates), 'seconds': perf_counter() - start}
        with deferred():
            state.history.append(record)
            state.losses = []
            self.tell.due('on_epoch_end')
        self._tell('on_epoch_end')

    def _train(self, begun: int) -> float:
        state = self.state
        self._tell('on_train_epoch_begin')
        for place, (inputs, codes) in enumerate(self.loader.epoch(state.epoch, begun), begun):
            state.batch_index = place
            self._set_rates()
            self._tell('on_train_batch_begin')
            self.meet()
            with deferred():  # so that each callback counts the update once
                self._advance(inputs, codes)
                if divergence.seen(state):
                    return math.nan
                self._tell('on_train_batch_end')
        self._tell('on_train_epoch_end')
        return float(np.mean([float(loss) for loss in state.losses]))

    def _advance(self, inputs: Inputs, codes: Codes) -> None:
        state = self.state
        self.updating = True
        try:
            state.loss = self.step(inputs, codes)
        except Exception as error:
            if is_out_of_memory(error):
                raise exhaustion.error(self, error, inputs) from error
            raise
        state.losses.append(state.loss)
        ended = state.step % state.num_batches_train == 0
        if ended if self.scheduler_step == 'epoch' else not state.pending:
            self.step_scheduler()
        self.updating = False
        self.tell.due('on_train_batch_end')

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
        try:
            self._set_rates()
            if self.world.size > 1:
                self.meet()
                apart.check(self)
        except BaseException:
            self.release()
            raise

    def _tell(self, hook: str, *arguments: Any) -> None:
        self.tell(hook, *arguments)
