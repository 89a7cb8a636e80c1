"""What a frozen part of a model gives is computed once, and the training runs on that.

The model is parted into a lower half, in which nothing trains, and an upper one. The lower half is run over all data
once, those that the training is judged by too, and from then on `Loader` and `embed_records` give the rows of a file in
place of inputs, and `Encoder.trained` is the upper half. All else of a training sees the whole model.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from finetuner import __version__
from finetuner.console import logger, track
from finetuner.data.augmentation.choice import still, vary
from finetuner.data.batch import Loader
from finetuner.data.dataset import Dataset
from finetuner.data.inspection import fingerprint
from finetuner.data.records import Records
from finetuner.data.rows import Kept, Rows
from finetuner.data.sampler import SequentialSampler
from finetuner.dispatch import load
from finetuner.errors import ArgumentError
from finetuner.inference import BATCH_SIZE, Encoder
from finetuner.shortening import in_groups
from finetuner.tuner.shelf import LIMIT, Shelf
from finetuner.typing import CollateFn, Inputs

LEAST = 10_000
"""Frozen weights below which it is not worth while."""
_EQUAL = 1e-3  # of the largest number: by rounding numbers differ by less, by another computation by more
_NAME = 16
_TRIED = 8  # items that the parts are tried on


class _Refusal(Exception):
    pass


def cache(
    wanted: bool | None,
    coder: Encoder,
    dataset: Dataset,
    judged: Sequence[Records],
    *,
    epochs: int,
    unfreezes: bool,
    views: bool,
    devices: int,
    collate_fn: CollateFn | None,
    size: int | None = None,
    num_workers: int = 0,
) -> None:
    """Give an encoder the activations of some data, `kept`, and the half of its model that is trained on them, `upper`.

    Args:
        wanted: as in `finetuner.fit`: whether to.
        coder: of the whole model, placed on its device.
        dataset: all items that are trained on, or held out.
        judged: what else the training is judged by.
        epochs: how often the items are trained on.
        unfreezes: whether a callback makes frozen weights train.
        views: whether items have views, in the training or in what it is judged by.
        devices: how many train together.
        collate_fn: from contents to the model's input.
        size: items that are in the model at a time; None for the usual number.
        num_workers: processes that prepare batches.

    Raises:
        ArgumentError: `wanted` is True, and it cannot be; says why.
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise ArgumentError(f'cache_activations={wanted!r}: expected True, False or None.')
    if wanted is False:
        return
    try:
        if devices > 1:
            raise _Refusal('several devices train together, and it is for one')
        _check(coder, dataset, views, unfreezes)
        made = _Cache(coder, dataset, collate_fn, min(size or BATCH_SIZE, BATCH_SIZE), num_workers)
        if wanted is None and (epochs < 2 or made.lower.size() < LEAST):
            raise _Refusal('so little is computed more than once that it is not worth while')
        made.try_out(dataset)
        kept = Kept(dataset.preprocess_fn, collate_fn, made.current)
        for records in [dataset.records, *judged]:
            if kept.of(records.contents, dataset.preprocess_fn, collate_fn) is None:
                kept.add(records.contents, made.rows(records))
    except _Refusal as reason:
        if wanted:
            raise ArgumentError(f'cache_activations=True cannot be: {reason}. Leave it out.') from None
        logger.debug('Activations are not cached: %s.', reason)
    except OSError as error:
        logger.warning(
            'The activations of what is frozen cannot be kept: %s. They are computed in every epoch anew, which takes '
            'longer and needs no room.', error,
        )  # fmt: skip
    except Exception as error:
        if wanted or isinstance(error, MemoryError):
            raise
        logger.debug('Activations are not cached: %s: %s', type(error).__name__, error)
    else:
        coder.kept, coder.upper = kept, made.upper
        logger.info(
            'What the frozen part of the model gives is computed once: %s items, %.1f MB in %s.%s '
            'cache_activations=False computes it in every epoch.',
            f'{made.count:,}', made.bytes / 1e6, made.shelf.folder, ' Dropout in it rests.' if made.chance else '',
        )  # fmt: skip


def _check(coder: Encoder, dataset: Dataset, views: bool, unfreezes: bool) -> None:
    if unfreezes:
        raise _Refusal('a callback unfreezes what is frozen')
    if coder.adapters():
        raise _Refusal('adapters train in what is frozen')
    if views or dataset.augmentation is not None:
        raise _Refusal('items are changed by chance, or have views')


class _Cache:
    # Runs the lower half over data, or finds what it gave before.
    def __init__(
        self, coder: Encoder, dataset: Dataset, collate_fn: CollateFn | None, size: int, num_workers: int
    ) -> None:
        self.part = load(coder.framework, 'halves')
        halves = self.part.halves(coder.model)
        if isinstance(halves, str):
            raise _Refusal(f'the model has no frozen part that could be run by itself, for {halves}')
        self.coder = coder
        self.to_numpy = load(coder.framework, 'ops').to_numpy
        self.preprocess_fn, self.collate_fn = dataset.preprocess_fn, collate_fn
        self.size, self.workers = size, num_workers
        self.lower, self.upper = (type(coder)(half) for half in (halves.lower, halves.upper))
        self.lower.device = self.upper.device = coder.device
        self.shelf = Shelf()
        self.count = self.bytes = 0
        self.masked, self.vectors, self.chance = halves.masked, False, False

    def try_out(self, dataset: Dataset) -> None:
        """Refuse halves that cannot take the place of the whole, or inputs that are not the same each time."""
        if still(dataset.preprocess_fn) is not dataset.preprocess_fn or vary(dataset, self.collate_fn, rarely=True):
            raise _Refusal('preprocess_fn or collate_fn draw from chance, or give what cannot be compared')
        first = self._first(dataset.records)
        arrays = self._run(first)
        self.vectors = len(arrays) == 1 and arrays[0].ndim == 2
        self.ragged = self.masked and len(arrays) == 2
        self._verify(first, arrays, dataset.records)
        awake, moved = self.part.awake(self.lower.model, first)
        if moved:
            raise _Refusal('statistics in its frozen part move (freeze=… of fit and to_embedding_model stops them)')
        self.chance = not _alike(self._arrays(awake)[0], arrays[0])
        self.key = self._of_weights()

    def current(self) -> bool:
        """Whether the frozen weights are those that the activations came of."""
        return self._of_weights() == self.key

    def rows(self, records: Records) -> Rows:
        """The activations of records."""
        loader = self._loader(records)
        first = self._first(records)
        start = hashlib.sha256(self.key + fingerprint(first) + f'{len(records)}'.encode()).hexdigest()[:_NAME]
        found = None
        if self.shelf.alike(start):
            digest = hashlib.sha256()
            for inputs, _ in loader.epoch(0):
                digest.update(self._print(inputs))
            found = self.shelf.take(f'{start}-{digest.hexdigest()[:_NAME]}')
            if found is not None and not self._same(found, first):
                found = None
        if found is None:
            found = self._written(loader, start)
        self.count += len(records)
        self.bytes += sum(column.nbytes for column in found.columns)
        return found

    def _written(self, loader: Loader, start: str) -> Rows:
        digest = hashlib.sha256()
        count = len(loader.dataset)
        with self.shelf.writing(self.ragged) as writer:
            for inputs, _ in track(loader.epoch(0), len(loader), 'Running what is frozen'):
                digest.update(self._print(inputs))
                arrays = self._run(inputs)
                if not writer.count:
                    self._make_room(arrays, count)
                try:
                    writer.append(arrays)
                except ValueError as error:
                    raise _Refusal(f'what its frozen part gives is not alike for all items: {error}') from None
            name = f'{start}-{digest.hexdigest()[:_NAME]}'
            self.shelf.put(name, writer)
        found = self.shelf.take(name)
        if found is None:
            raise OSError(f'{self.shelf.folder / name} is not what was written')
        return found

    def _make_room(self, arrays: Sequence[np.ndarray], count: int) -> None:
        needed = sum(array.nbytes for array in arrays) * count // len(arrays[0])
        if needed > LIMIT:
            raise _Refusal(f'what its frozen part gives takes {needed / 1e9:,.1f} GB, more than {LIMIT / 1e9:,.0f}')
        self.shelf.make_room(needed)

    def _first(self, records: Records) -> Inputs:
        return self._loader(records, _TRIED).batch(0, 0)[0]

    def _loader(self, records: Records, size: int | None = None) -> Loader:
        dataset = Dataset(records.alone(), self.preprocess_fn)
        sampler = SequentialSampler(len(dataset), size or self.size)
        return Loader(dataset, sampler, collate_fn=self.collate_fn, num_workers=self.workers)

    def _run(self, inputs: Inputs) -> list[np.ndarray]:
        if self.vectors:  # of texts these may be computed in groups of like length
            return self._arrays(in_groups(self.coder, inputs, lambda part: self.lower.forward(part)[0]))
        return self._arrays(self.lower.forward(inputs))

    def _arrays(self, given: Any) -> list[np.ndarray]:
        found = given if isinstance(given, list | tuple) else [given]
        if not all(hasattr(x, 'shape') and len(x.shape) for x in found):
            raise _Refusal('what its frozen part gives is no tensor')
        arrays = [np.asarray(self.to_numpy(x)) for x in found]
        return [array.astype(np.float32) if array.dtype.kind not in 'iub' else array for array in arrays]

    def _verify(self, first: Inputs, arrays: list[np.ndarray], records: Records) -> None:
        whole = self.coder.embed(first)
        if not _alike(whole, self.upper.embed(arrays)):
            raise _Refusal('its parts give other numbers than the whole')
        half = -(-len(whole) // 2)  # twice, for a batch of another length is compiled anew
        other = records.chosen(np.resize(np.arange(half), len(whole)))
        if not _alike(whole[:half], self.coder.embed(self._first(other))[:half]):
            raise _Refusal('its numbers for an item hang on the other items of a batch')

    def _same(self, rows: Rows, first: Inputs) -> bool:
        # Of the same weights and inputs, but the code of the model may be another.
        arrays = self._run(first)
        kept = rows.batch(np.arange(len(arrays[0])))
        if [(x.shape[2:] if self.ragged else x.shape, x.dtype) for x in kept] != [
            (x.shape[2:] if self.ragged else x.shape, x.dtype) for x in arrays
        ]:
            return False
        return _alike(self.upper.embed(kept), self.upper.embed(arrays))

    def _of_weights(self) -> bytes:
        digest = hashlib.sha256(repr([__version__, self.lower.framework, self.lower.device, self.size]).encode())
        digest.update(repr(self.lower.layers()).encode())
        for name, value in self.lower.weights().items():
            digest.update(f'{name} {value.dtype} {value.shape}'.encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return digest.digest()

    def _print(self, inputs: Inputs) -> bytes:
        found = fingerprint(inputs)
        if not found:
            raise _Refusal('its inputs are no arrays that could be compared')
        return found


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max(initial=0) <= _EQUAL * max(np.abs(a).max(initial=0), 1e-12))
