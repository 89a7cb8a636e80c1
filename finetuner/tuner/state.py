"""Where a training stands: everything that counts, and nothing that does not fit into JSON."""

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class TunerState:
    """The counters of a training, as callbacks read them.

    Attributes:
        num_epochs: epochs to train.
        epoch: the present epoch, from 0.
        num_batches_train: batches of an epoch.
        num_batches_val: batches of a validation (0 without `eval_data`).
        batch_index: the present batch of the epoch or of the validation, from 0.
        step: batches trained since the beginning of the training; without `accumulate`, so many are the updates.
        accumulate: batches of an update.
        eval_metrics: the latest retrieval metrics, by name.
        before: the same before training.
        after: the same of the weights that the training ended with, where these are not those of the last epoch.
        finished: whether such weights are in the model.
        verdict: what the guard found, see `finetuner.evaluation.verdict`, and the `epoch` of the weights.
        learning_rates: the present ones, by name of the group.
        history: one dict an epoch: `epoch, train_loss, val_loss, …` and every metric.
        steps: one dict for every moment within an epoch at which something was measured: `step`, `epoch` (how many were
            trained by then, such as 1.5) and metrics.
        examples: queries with what they found before and after, see `History`.
        found: what was found by trying before the training, see `finetuner.tuner.found`.
        counters: what callbacks must remember across a resume, by their own keys.
        untold: in a checkpoint, by the hook that it was written in or interrupted in, the keys of the callbacks that
            were not told of it yet; they are when the training goes on.
        losses: of the batches of the present epoch, like `loss`.
        loss: of the present batch, as the framework gave it.
    """

    num_epochs: int = 0
    epoch: int = 0
    num_batches_train: int = 0
    num_batches_val: int = 0
    batch_index: int = 0
    step: int = 0
    accumulate: int = 1
    eval_metrics: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    finished: bool = False
    verdict: dict[str, Any] = field(default_factory=dict)
    learning_rates: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, Any] = field(default_factory=dict)
    untold: dict[str, list[str]] = field(default_factory=dict)
    losses: list[Any] = field(default_factory=list, repr=False)
    loss: Any = field(default=0.0, repr=False)

    @property
    def updates(self) -> int:
        """Updates done since the beginning of the training."""
        epochs, begun = divmod(self.step, self._epoch())
        return epochs * self.updates_an_epoch + begun // self.accumulate

    @property
    def updates_an_epoch(self) -> int:
        """Updates of an epoch; the last is of the batches that are left."""
        return -(-self._epoch() // self.accumulate)

    @property
    def num_updates(self) -> int:
        """Updates of the whole training; 0 outside of the loop."""
        return self.num_epochs * self.updates_an_epoch

    @property
    def pending(self) -> int:
        """Batches that were trained since the last update, and are part of the next."""
        return self.step % self._epoch() % self.accumulate

    @property
    def group(self) -> int:
        """Batches that the next update is made of."""
        return min(self.accumulate, self._epoch() - self.step % self._epoch() + self.pending)

    @property
    def completes(self) -> bool:
        """Whether the next batch is the last of its update."""
        return self.pending + 1 == self.group

    def _epoch(self) -> int:
        # Outside of the loop nobody knows how many batches there are: it never ends.
        return self.num_batches_train or 2**62

    @property
    def current_loss(self) -> float:
        """The loss of the present batch; reading it waits for the device."""
        return float(self.loss)

    def measured(self, metrics: dict[str, float]) -> None:
        """Note retrieval metrics: of the epoch that just ended, from before training, or of other weights after it."""
        self.eval_metrics = self.eval_metrics | metrics
        if self.finished:
            self.after.update(metrics)
        elif self.history:
            self.history[-1].update(metrics)
        else:
            self.before.update(metrics)

    def measured_within(self, metrics: dict[str, float]) -> None:
        """Note retrieval metrics of the present step, within an epoch."""
        self.eval_metrics = self.eval_metrics | metrics
        if not self.steps or self.steps[-1]['step'] != self.step:
            self.steps.append({'step': self.step, 'epoch': self.step / self.num_batches_train})
        self.steps[-1].update(metrics)

    def dict(self) -> dict[str, Any]:
        """All of it but the loss, for JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != 'loss'}
        return own | {'losses': [float(loss) for loss in self.losses]}
