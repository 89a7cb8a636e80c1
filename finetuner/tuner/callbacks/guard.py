"""End with the best weights that a training had, and never with worse ones than it began with."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from finetuner.console import logger
from finetuner.errors import ArgumentError
from finetuner.evaluation.correlation import correlation, targets
from finetuner.evaluation.measures import measures
from finetuner.evaluation.metrics import METRICS
from finetuner.evaluation.spaces import knn_accuracy
from finetuner.evaluation.verdict import ENOUGH, Verdict, verdict
from finetuner.tuner.callbacks.base import Callback
from finetuner.tuner.callbacks.evaluation import EvaluationCallback

PREFERRED = {'class': 'map_at_r', 'session': 'map_at_r', 'pair': 'reciprocal_rank', 'score': 'spearman'}


def by(judge: EvaluationCallback) -> str | None:
    """The metric of a judge that a training is judged by; None where it measures none of ours."""
    evaluator, limit = judge.evaluator, judge.options['limit']
    kind = evaluator.query_data.kind
    if kind not in PREFERRED:
        return None
    if kind == 'score':
        names = evaluator.names(limit)
    else:
        found = measures(evaluator.metrics, limit)
        known = ({*METRICS.values()}, {knn_accuracy})  # in this order
        names = [one.name for several in known for one in found if one.function in several]
    return PREFERRED[kind] if PREFERRED[kind] in names else next(iter(names), None)


class Guard(Callback):
    """Keeps the weights of the best epoch, and puts the first ones back where the best are worse.

    Every training with held-out data has one, unless `fit(…, guard=False)`. Better and worse is by more than one
    bootstrap standard error of the difference, query by query; under 30 queries there is no verdict, and the weights
    of the last epoch stay. Where another callback changed the weights at the end (averages, interpolation), these are
    judged and not those of the best epoch. It holds two copies of the weights in memory, and a checkpoint holds them
    too.

    Args:
        judge: measures on data that are not trained on.

    Attributes:
        watched: the metric by which it judges: map_at_r, of pairs reciprocal_rank, of scores spearman; or the first
            that the judge measures.
        initial: the weights from before the training.
        epoch: the one whose weights the training ended with, from 1; 0 for the first weights.
        found: the verdict on them.
    """

    judges = True

    def __init__(self, judge: EvaluationCallback) -> None:
        self.judge = judge
        self.watched = ''
        self.initial: dict[str, np.ndarray] = {}
        self.epoch = 0
        self.found: Verdict | None = None
        self._best: dict[str, np.ndarray] = {}
        self._values: dict[str, np.ndarray] = {}

    def check(self, tuner: Any) -> None:
        """Choose the metric, and copy the weights."""
        found = by(self.judge)
        if found is None:
            raise ArgumentError(
                'The guard judges by a metric of ours, such as map_at_r: have its EvaluationCallback measure one.'
            )
        if self.judge not in tuner.callbacks[: tuner.callbacks.index(self)]:
            raise ArgumentError('The guard asks its judge: put the EvaluationCallback before it.')
        self.watched = found
        self.initial = tuner.encoder.weights()
        self.epoch, self.found, self._best, self._values = 0, None, {}, {}

    def arrays(self, tuner: Any) -> dict[str, np.ndarray]:
        """The first weights, the best, and what was measured of both."""
        kept = {'initial': self.initial, 'best': self._best, 'values': self._values}
        return {f'{which}/{name}': value for which, one in kept.items() for name, value in one.items()}

    def restore(self, tuner: Any, arrays: Mapping[str, np.ndarray]) -> None:
        """Take them back."""
        kept: dict[str, dict[str, np.ndarray]] = {'initial': {}, 'best': {}, 'values': {}}
        for name, value in arrays.items():
            which, _, path = name.partition('/')
            kept[which][path] = np.array(value)
        self.initial = kept['initial'] or self.initial  # a training without a guard left none
        self._best, self._values = kept['best'], kept['values']

    def on_fit_begin(self, tuner: Any) -> None:
        """Note how good the first weights are, query by query; forget what was measured on other data."""
        counters, data = self.counters(tuner), self._data()
        if counters.get('data', data) != data:
            logger.warning('The training was judged by other data before it was resumed.')
            counters.clear()
            self._best, self._values = {}, {}
        counters['data'] = data
        if 'before' not in self._values and not tuner.state.step:
            self._values['before'] = self._measured()

    def on_epoch_end(self, tuner: Any) -> None:
        """Keep the weights if they are the best so far."""
        counters, values = self.counters(tuner), self._measured()
        value = self._value(values)
        if value > counters.get('best', -np.inf):
            counters.update(best=value, epoch=tuner.state.epoch + 1)
            self._best, self._values['best'] = tuner.encoder.weights(), values

    def finish(self, tuner: Any) -> bool:
        """Judge, and put the best weights or the first ones into the model."""
        if 'before' not in self._values or not (self._best or tuner.changed):
            logger.warning('The guard saw no beginning of this training: the weights of the last epoch stay.')
            return False
        last = len(tuner.state.history)
        self.epoch = last
        if tuner.changed:
            self.judge.measure(tuner)
            values = self._measured()
        else:
            values = self._values['best']
        self.found = self._judged(values)
        changed = False
        if self.found.word == 'none':
            logger.warning(
                '%d held-out queries are too few to say whether the model became better: %d are needed. '
                'It keeps the weights of the last epoch.', self.found.queries, ENOUGH,
            )  # fmt: skip
        elif self.found.word == 'worse':
            tuner.encoder.assign(self.initial)
            self.epoch, changed = 0, True
            logger.warning(
                'The model became worse: %s fell from %.4f to %.4f on %d held-out queries (standard error %.4f). '
                'It has its first weights again. Try a lower learning_rate, or other data; guard=False keeps what was '
                'trained.', *self._said(),
            )  # fmt: skip
        else:
            if not tuner.changed:
                self.epoch = self.counters(tuner)['epoch']
                changed = self.epoch != last
                if changed:
                    tuner.encoder.assign(self._best)
            logger.info(
                '%s %s: %.4f before, %.4f after%s, on %d held-out queries (standard error %.4f).',
                self.watched, {'better': 'rose', 'same': 'stayed the same'}[self.found.word], self.found.before,
                self.found.after, f' epoch {self.epoch}, whose weights it has' if changed else '', self.found.queries,
                self.found.error,
            )  # fmt: skip
        tuner.state.verdict = {**self.found.facts(), 'epoch': self.epoch}
        return changed

    def _said(self) -> tuple[Any, ...]:
        assert self.found is not None
        return self.watched, self.found.before, self.found.after, self.found.queries, self.found.error

    def _measured(self) -> np.ndarray:
        # Of the judge's last evaluation.
        evaluator = self.judge.evaluator
        return np.array(evaluator.similarities if self._scored else evaluator.per_query[self.watched])

    @property
    def _scored(self) -> bool:
        return self.judge.evaluator.query_data.kind == 'score'

    def _judged(self, values: np.ndarray) -> Verdict:
        scores = targets(self.judge.evaluator.query_data) if self._scored else None
        return verdict(self.watched, self._values['before'], values, scores)

    def _value(self, values: np.ndarray) -> float:
        if self._scored:
            return correlation(self.watched, values, targets(self.judge.evaluator.query_data))
        return float(np.nanmean(values))

    def _data(self) -> str:
        # What the judge asks, for a training that is resumed.
        data = self.judge.evaluator.query_data
        asked = [self.watched, *map(str, data.names), *map(str, data.labels or ())]
        return hashlib.sha256('\n'.join(asked).encode()).hexdigest()
