"""Train the head alone at first, then the last part of the body too, then everything."""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

from finetuner.console import logger
from finetuner.errors import ArgumentError, CheckpointError, enumerated
from finetuner.tailor import origin
from finetuner.tailor.base import tailor
from finetuner.tailor.layers import Layer, inside, topmost
from finetuner.tailor.parts import parts
from finetuner.tailor.tailoring import few
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.kept import kept
from finetuner.tuner.interruption import deferred

STAGES = 3


class GradualUnfreezing(Callback):
    """Trains in stages: the head, then the last block of the body too, then everything.

    A new head first learns to read what the body gives, so that its first, wild slopes do not spoil the body. What
    joins does so at `factor` times the rate of what joined before it: with the default, the head is trained at the
    model's rate, the last block at a tenth of it, and the rest at a hundredth.

    Say `fit(model, data, freeze=True, output_dim=128, callbacks=[GradualUnfreezing()])`, for instance. What `freeze`
    and `freeze_layer` froze is unfrozen in its time; what must stay frozen is named in `keep`. Weights that you froze
    by other means (`requires_grad=False`) stay frozen.

    The head is what Tailor attached, or else what runs after the last block, or else the last block. Blocks are those
    that `display` numbers. However the training ends, also by an error, by Ctrl-C or by EarlyStopping in an early
    stage, everything but `keep` is trainable afterwards; where it cannot begin, the model is as it was found. It sets
    `tuner.scales`.

    Args:
        milestones: the epochs, from 0, with which the second stage and the later ones begin. None takes thirds of the
            epochs. Two make three stages; with more of them the blocks are shared out over the later stages.
        factor: the rate of what joins, as a part of the rate of what joined before it.
        keep: names, paths or patterns of layers that stay frozen; also those of the general model, as `freeze` takes
            them.

    Raises:
        ArgumentError: milestones that do not rise, a factor that is none, or what cannot name layers.
    """

    unfreezes = True

    def __init__(
        self, *, milestones: Sequence[int] | None = None, factor: float = 0.1, keep: str | Sequence[str] = ()
    ) -> None:
        if milestones is not None:
            wanted = 'expected whole numbers that rise, such as [5, 10]'
            if not isinstance(milestones, Sequence) or not milestones or not all(map(_whole, milestones)):
                raise ArgumentError(f'milestones={milestones!r}: {wanted}.')
            if milestones[0] < 1 or any(a >= b for a, b in pairwise(milestones)):
                raise ArgumentError(f'milestones={milestones!r}: {wanted}; the first stage begins with epoch 0.')
        if not _part(factor):
            raise ArgumentError(f'factor={factor!r}: expected a number above 0 and up to 1, such as 0.1.')
        self.milestones = None if milestones is None else [int(epoch) for epoch in milestones]
        self.factor = float(factor)
        names = [keep] if isinstance(keep, str) else keep
        if not isinstance(names, list | tuple | set) or not all(isinstance(name, str) for name in names):
            raise ArgumentError(f'keep={keep!r}: expected names, paths or patterns of layers as display() shows them.')
        self.keep = list(names)
        self.stages: list[tuple[str, ...]] = []
        self.begin: list[int] = []
        self.kept: tuple[str, ...] = ()
        self._layers: list[Layer] = []
        self._inputs: Any = None
        self._entered = self._trained = False

    def check(self, tuner: Any) -> None:
        """Find the parts of the model, and refuse what cannot be unfrozen in stages."""
        self._entered = self._trained = False
        if tuner.configure_optimizer is not None:
            raise ArgumentError('GradualUnfreezing makes the optimizer anew: leave configure_optimizer out.')
        if tuner.scales:
            raise ArgumentError(
                'GradualUnfreezing gives each part of the model its rate: leave layer_wise_lr_decay and '
                'head_learning_rate out.'
            )
        if any(isinstance(other, GradualUnfreezing) for other in tuner.callbacks if other is not self):
            raise ArgumentError('Two GradualUnfreezing in one training would undo each other: give one.')
        if tuner.encoder.adapters():
            raise ArgumentError(
                'GradualUnfreezing trains the weights that adapters are trained in place of: leave one of them out.'
            )
        model = tuner.embed_model
        inputs, _ = next(iter(tuner.loader.epoch(0)))
        self._inputs = few(inputs)
        self._layers = tailor(model).trace(model, self._inputs)
        made = origin.of(model)
        row = parts(self._layers, made.recipe if made else None)
        self.kept = kept(self._layers, self.keep)
        if row and all(any(inside(path, place) for place in self.kept) for path in row[0]):
            raise ArgumentError(
                f'keep={self.keep} freezes the head, {enumerated(row[0])}, so that there is nothing to train at first.'
            )
        self._plan(row, tuner.state.num_epochs)

    def _plan(self, row: Sequence[tuple[str, ...]], epochs: int) -> None:
        if len(row) < 2:
            raise ArgumentError(
                f'GradualUnfreezing needs a head and a block at least, and this model has one part: {enumerated(row)}. '
                f'Leave it out, or attach a head with output_dim=128.'
            )
        count = min(STAGES, len(row)) if self.milestones is None else len(self.milestones) + 1
        if count > len(row):
            raise ArgumentError(
                f'milestones={self.milestones}: {count} stages, but the model has {len(row)} parts, the head and '
                f'{len(row) - 1} blocks. Give {len(row) - 1} milestones at most.'
            )
        self.begin = self.milestones or [epochs * stage // count for stage in range(1, count)]
        if self.begin[0] < 1 or self.begin[-1] >= epochs:
            said = f'{count} stages' if self.milestones is None else f'milestones={self.milestones}'
            raise ArgumentError(
                f'GradualUnfreezing: {said}, and {epochs} epochs. Train for {max(count, self.begin[-1] + 1)} at least.'
            )
        self.stages = shared_out(row, count)

    def resume(self, tuner: Any) -> None:
        """Go back to the stage of the checkpoint."""
        counters = self.counters(tuner)
        then, now = counters.get('settings'), self._settings()
        if then != now:
            said = 'left out' if then is None else then | {'keep': counters.get('keep')}
            raise CheckpointError(
                f'The checkpoint is of a training with GradualUnfreezing {said}, this one has '
                f'{now | {"keep": list(self.kept)}}: resume with the same callbacks.'
            )
        self._enter(tuner, counters['stage'])

    def on_fit_begin(self, tuner: Any) -> None:
        """Begin with the head."""
        if 'stage' not in self.counters(tuner):
            self._enter(tuner, 0)

    def on_epoch_begin(self, tuner: Any) -> None:
        """Unfreeze what is due."""
        stage = sum(epoch <= tuner.state.epoch for epoch in self.begin)
        if stage != self.counters(tuner)['stage']:
            self._enter(tuner, stage)
        self._trained = True

    def on_fit_end(self, tuner: Any) -> None:
        """Leave everything trainable but what is kept."""
        self._leave(tuner)

    def on_keyboard_interrupt(self, tuner: Any) -> None:
        """Leave everything trainable but what is kept."""
        self._leave(tuner)

    def on_exception(self, tuner: Any, exception: BaseException) -> None:
        """Leave everything trainable but what is kept; where no epoch has begun, leave the model as it was found."""
        if self._trained:
            self._leave(tuner)
        elif self._entered:
            self._undo(tuner.embed_model)

    def _settings(self) -> dict[str, Any]:
        # Rows, for paths need not be the same in every process.
        paths = [layer.path for layer in self._layers]
        return {'milestones': self.begin, 'factor': self.factor, 'keep': sorted(map(paths.index, self.kept))}

    def _enter(self, tuner: Any, stage: int) -> None:
        self._entered = True
        trained = self.stages[: stage + 1]
        with deferred():
            self._unfreeze(tuner.embed_model, [path for joined in trained for path in joined])
            tuner.scales = {path: self.factor**place for place, joined in enumerate(trained) for path in joined}
            tuner.rebuild()
            self.counters(tuner).update(stage=stage, settings=self._settings(), keep=list(self.kept))
        joined = 'all the rest' if trained[-1] == ('',) else enumerated(trained[-1])
        logger.info(
            'Stage %d of %d: trains %s%s, at %g of the rate.',
            stage + 1, len(self.stages), joined, ' too' if stage else '', self.factor**stage,
        )  # fmt: skip

    def _leave(self, tuner: Any) -> None:
        if self._entered:
            self._unfreeze(tuner.embed_model, [''])

    def _unfreeze(self, model: Any, trained: Sequence[str]) -> None:
        # Frozen at first, so that what never trained is known, and is not unfrozen.
        worker = tailor(model)
        worker.freeze(model, [''])
        worker.unfreeze(model, trained)
        worker.freeze(model, self.kept)

    def _undo(self, model: Any) -> None:
        # What trains now and did not as it was found had been frozen by `freeze`; the rest that does not, by others.
        worker = tailor(model)
        worker.freeze(model, [''])
        worker.unfreeze(model, [''])
        trains = {layer.path for layer in worker.trace(model, self._inputs) if layer.trainable}
        worker.freeze(model, topmost(x.path for x in self._layers if not x.trainable and x.path in trains))


def shared_out(row: Sequence[tuple[str, ...]], count: int) -> list[tuple[str, ...]]:
    """What joins with each stage: the head, blocks from the last on, and in the end everything.

    Of three stages the second has the last block alone; more of them share the blocks, the last one having most.

    >>> shared_out([('head',), ('d',), ('c',), ('b',), ('a',)], 3)
    [('head',), ('d',), ('',)]
    >>> shared_out([('head',), ('d',), ('c',), ('b',), ('a',)], 4)
    [('head',), ('d',), ('c',), ('',)]
    """
    head, *blocks = row
    ends = [1] if count == STAGES else [len(blocks) * stage // (count - 1) for stage in range(1, count - 1)]
    between = [tuple(path for block in blocks[a:b] for path in block) for a, b in pairwise([0, *ends])]
    return [head, *between, ('',)]


def _whole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)


def _part(number: Any) -> bool:
    return isinstance(number, Real) and not isinstance(number, bool) and 0 < float(number) <= 1
