"""One update of a model: the verbs that a framework fills in, and what is made of them alike for all.

A batch larger than `mini_batch_size` is never in the model as a whole. By the chain rule its slope is the sum, over the
embeddings, of the loss's slope at an embedding times the embedding's own: so all chunks are embedded without a graph,
the loss of all embeddings gives its slopes, and each chunk is embedded again and pulled along by its part of them. Each
chunk has its own seed, which makes dropout the same both times. Source: Gao et al., 2021 (GradCache).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from finetuner.data.batch import Loader
from finetuner.errors import ArgumentError
from finetuner.inference import Encoder
from finetuner.losses.objective import Objective
from finetuner.shortening import in_groups
from finetuner.tuner import apart, rates
from finetuner.tuner.chunks import chunks
from finetuner.tuner.execution import Execution
from finetuner.tuner.interruption import deferred
from finetuner.tuner.schedule import Optimization
from finetuner.tuner.state import TunerState
from finetuner.typing import Codes, Inputs, Layout, Tensor
from finetuner.world import World


class Step(ABC):
    """What `finetuner.tuner.base.Tuner`, the loop around it, sets up; its attributes are explained there."""

    encoder: Encoder
    objective: Objective
    loader: Loader
    state: TunerState
    optimization: Optimization
    loss_optimization: Optimization
    configure_optimizer: Callable[[Any], Any] | None
    seed: int
    execution: Execution
    mini_batch_size: int | None
    scales: dict[str, float]
    groups: dict[str, tuple[float, list[str]]]
    rows: dict[str, int]
    world: World
    ops: Any

    @property
    def chunked(self) -> bool:
        """Whether a batch goes through the model in more than one chunk."""
        return self.mini_batch_size is not None and self.here > self.mini_batch_size

    @property
    def here(self) -> int:
        """The items of a batch that this process reads and embeds."""
        return self.world.share(self.loader.layout.items)

    def step(self, inputs: Inputs, codes: Codes) -> Any:
        """Train on a batch of the loader, in chunks if it must be; gives the loss, as anything `float` reads.

        The weights are updated if `state.completes`: by the mean of the slopes of the batches of this update.
        """
        self.reseed_chunk()
        if self.world.size > 1:
            loss = apart.step(self, inputs, codes)
        else:
            loss = self.step_in_chunks(inputs, codes) if self.chunked else self.train_step(inputs, codes)
        self.state.step += 1
        return loss

    def step_in_chunks(self, inputs: Inputs, codes: Codes) -> Any:
        """What `train_step` does, in the memory of a chunk."""
        parts = list(chunks(inputs, self.loader.layout.items, self.mini_batch_size))
        embeddings = []
        with self.statistics_kept():
            for number, (_, part) in enumerate(parts):
                self.reseed_chunk(number)
                embeddings.append(self.forward(part))
        loss, slopes = self.derivative(self.ops.concatenate(embeddings), codes)
        for number, (place, part) in enumerate(parts):
            self.reseed_chunk(number)
            self.pull(part, slopes[place], update=number == len(parts) - 1 and self.state.completes)
        return loss

    def through(self, inputs: Inputs, call: Callable[[Inputs], Tensor]) -> Tensor:
        """What `call` gives for inputs; for texts in groups of like length, unless the batch is to be left whole."""
        return in_groups(self.encoder, inputs, call) if self.execution.group_by_length else call(inputs)

    def eval_step(
        self, inputs: Inputs, codes: Codes, layout: Layout, learned: Mapping[str, np.ndarray] | None = None
    ) -> float:
        """The loss of a batch in evaluation mode, without gradient, with what the loss has `learned` by now or then."""
        asarray = self.ops.asarray
        parts = chunks(inputs, layout.items, self.mini_batch_size)
        embeddings = asarray(np.concatenate([self.encoder.trained.embed(part) for _, part in parts]))
        codes = {name: asarray(code) for name, code in codes.items()}
        known = self.learned() if learned is None else learned
        parameters = {name: asarray(value) for name, value in known.items()}
        return float(self.ops.to_numpy(self.objective(embeddings, codes, layout, parameters)))

    def rebuild(self) -> None:
        """Make the optimizer and the step anew, for the weights that train now and by the present `scales`.

        To be called between updates. What the optimizer keeps of a weight, moments and the number of its updates,
        stays; a weight that joins starts fresh, and one that leaves loses it. What the loss learns, and the memory
        of earlier batches, stay as they are.

        Raises:
            ArgumentError: no weight trains, `scales` cannot be, `configure_optimizer` made the optimizer, or an update
                is not complete.
        """
        if self.state.pending:
            raise ArgumentError(
                f'rebuild was called after {self.state.pending} of the {self.state.group} batches of an update: call '
                f'it where tuner.state.pending is 0, such as in on_epoch_begin.'
            )
        if self.configure_optimizer is not None:
            raise ArgumentError(
                'configure_optimizer made the optimizer, so it cannot be made anew for other weights: leave '
                'configure_optimizer out, or have it take all weights that will ever be trained.'
            )
        if self.encoder.trained.trainable() != self.encoder.trainable():
            raise ArgumentError(
                'Weights were unfrozen whose activations are computed once: give fit cache_activations=False.'
            )
        if not self.encoder.trainable():
            raise ArgumentError('Every weight of the model is frozen: there is nothing to train. Unfreeze some.')
        with deferred():
            self.remake()
            self._set_rates()

    def grouped(self, weights: Mapping[str, bool]) -> dict[str, list[str]]:
        """The paths of the weights that train, by the name of the group that has one rate.

        Args:
            weights: of the model, by path: whether each trains.
        """
        rates.check(self.scales, weights)
        self.rows = {path: row for row, path in enumerate(weights)}
        self.groups = rates.grouped([path for path, trains in weights.items() if trains], self.scales)
        return {name: paths for name, (_, paths) in self.groups.items()}

    def made(self, kind: type, library: str) -> tuple[Any, Any]:
        """What `configure_optimizer` gives: an optimizer, and a scheduler or None.

        Args:
            kind: the class that the optimizer must be of.
            library: what an error calls it.

        Raises:
            ArgumentError: it gives something else.
        """
        assert self.configure_optimizer is not None
        made = self.configure_optimizer(self.encoder.model)
        optimizer, scheduler = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(optimizer, kind):
            raise ArgumentError(
                f'configure_optimizer gave a {type(optimizer).__name__}: expected a {library}, '
                f'or one and a scheduler, (optimizer, scheduler).'
            )
        return optimizer, scheduler

    def _set_rates(self) -> None:
        # Of the next update; outside of the loop, which knows how many there are, they do not change.
        state = self.state
        total = state.num_updates
        rate, of_loss = (
            one.rate(state.updates, total, state.updates_an_epoch) if total else one.learning_rate
            for one in (self.optimization, self.loss_optimization)
        )
        self.set_rates({name: scale * rate for name, (scale, _) in self.groups.items()} | {'loss': of_loss})
        state.learning_rates = self.rates()

    def reseed_chunk(self, chunk: int = 0) -> None:
        """Seed every generator for a chunk of the present batch: in every process another seed."""
        own = (self.world.rank,) if self.world.rank else ()
        self.reseed(int(np.random.SeedSequence((self.seed, self.state.step, chunk, *own)).generate_state(1)[0]))

    @abstractmethod
    def setup(self, layout: Layout) -> None:
        """Make the optimizer, what the loss learns, and the step for batches of this layout."""

    @abstractmethod
    def remake(self) -> None:
        """Make the optimizer and the step for the weights that train now; of each it keeps what it had of it."""

    @abstractmethod
    def release(self) -> None:
        """Leave the model in the mode, and chance in the state, that they were in before `setup`."""

    @abstractmethod
    def train_step(self, inputs: Inputs, codes: Codes) -> Any:
        """Forward, loss, backward, and update if `state.completes`; gives the loss, as anything that `float` reads."""

    @abstractmethod
    def statistics_kept(self) -> AbstractContextManager[None]:
        """Give the model its statistics (of BatchNorm, say) back in the end."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """The embeddings of a chunk in training mode, without a graph."""

    @abstractmethod
    def derivative(self, embeddings: Tensor, codes: Codes) -> tuple[Any, Tensor]:
        """The loss of a batch like that of `train_step`, and its slopes at the (N, D) embeddings.

        The slopes are this batch's share, 1 / `state.group`, of those that the update is made by. What the loss learns
        gets its slopes here, and is updated with the model.
        """

    @abstractmethod
    def pull(self, inputs: Inputs, slopes: Tensor, update: bool) -> None:
        """Add the slopes of a chunk to those of the chunks before; with `update`, clip the sum and update.

        Args:
            inputs: of the chunk.
            slopes: (n, D) of the loss at its embeddings.
            update: whether it is the last chunk of an update.
        """

    @abstractmethod
    def attempt(self, inputs: Inputs) -> None:
        """Forward and backward of a chunk without an update, to see whether it fits into memory."""

    @abstractmethod
    def reseed(self, seed: int) -> None:
        """Seed every generator that the model draws from (32 bits)."""

    @abstractmethod
    def set_rates(self, rates: Mapping[str, float]) -> None:
        """Set the learning rates of the next update, of groups and 'loss'; what is left out keeps its own."""

    @abstractmethod
    def rates(self) -> dict[str, float]:
        """The present learning rates: of the groups of the model's weights, and of the 'loss' if it learns."""

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
