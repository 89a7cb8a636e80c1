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
        step: updates done since the beginning of the training.
        eval_metrics: the latest retrieval metrics, by name.
        before: the same before training.
        after: the same of the weights that the training ended with, where these are not those of the last epoch.
        finished: whether such weights are in the model.
        verdict: what the guard found, see `finetuner.evaluation.verdict`, and the `epoch` of the weights.
        learning_rates: the present ones, by name of the group.
        history: one dict an epoch: `epoch, train_loss, val_loss, …` and every metric.
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
    eval_metrics: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    finished: bool = False
    verdict: dict[str, Any] = field(default_factory=dict)
    learning_rates: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)
    untold: dict[str, list[str]] = field(default_factory=dict)
    losses: list[Any] = field(default_factory=list, repr=False)
    loss: Any = field(default=0.0, repr=False)

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

    def dict(self) -> dict[str, Any]:
        """All of it but the loss, for JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != 'loss'}
        return own | {'losses': [float(loss) for loss in self.losses]}
