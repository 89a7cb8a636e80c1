"""How large batches can be in the memory there is: tried before the training, and nothing stays of it.

On a GPU whole updates are tried, until one fits. On a CPU there is no error where memory ends, but the end of the
process; so what small parts take is measured, and what more would take is reckoned from it. A batch is tried with the
longest texts there are among some.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np

from finetuner.data.batch import Batch, Loader
from finetuner.errors import TrainingError, enumerated
from finetuner.inference import Encoder, leaves, length
from finetuner.memory import forget, is_out_of_memory
from finetuner.tuner import room
from finetuner.tuner.chunks import chunks
from finetuner.tuner.trial import trial
from finetuner.typing import Inputs

SPARE = 0.25
"""As much more than what is chosen must fit too: a fifth of the memory stays free."""
BATCHES = 10
"""An epoch keeps as many, however large batches could be."""
_LOOKED_AT = 16  # batches in which the longest texts are looked for


def embedded(coder: Encoder, batch: Inputs, parts: bool) -> tuple[np.ndarray, int | None, int | None]:
    """The vectors of a batch, of a half, a quarter, … of it, whatever fits into memory.

    Args:
        coder: the model, placed on its device.
        batch: its inputs.
        parts: whether a part is as good.

    Returns:
        The vectors, the bytes that they took if they are of the whole batch and that was measured, and how many items
        fit if not all do.

    Raises:
        Exception: that of the framework, where not even one item fits.
    """
    n = length(batch)
    size, part = n, batch
    while True:
        try:
            vectors, taken = room.measured(partial(coder.embed, part))
            return (vectors, taken, None) if size == n else (vectors, None, size)
        except Exception as error:
            if not parts or not size or size < 2 or not is_out_of_memory(error):
                raise
            forget(error)
        size //= 2
        part = leaves(itemgetter(slice(size)), batch)


def chunk(tuner: Any, loader: Loader, taken: int | None, norms: list[str]) -> int | None:
    """Items that must be in the model at a time, so that the batches of a loader fit; None for all of a batch.

    Args:
        tuner: before its training.
        loader: of the batches.
        taken: bytes that the model took to embed a batch of this size on a CPU, if that was measured.
        norms: the layers of the model that normalise by batch, so that chunks are something else to it.

    Raises:
        TrainingError: not even one item fits, or only chunks do and there are `norms`.
    """
    items = loader.layout.items
    find = _reckoned if tuner.encoder.device == 'cpu' else _tried
    size = find(tuner, loader, taken)
    if size >= items:
        return None
    what = f'A batch of {loader.layout.rows} ' + ('items' if loader.layout.width == 1 else f'rows, {items} items,')
    if not size:
        raise TrainingError(
            f'{what} does not fit into memory, and not even one item does: take a smaller model, or shorter or '
            f'smaller inputs. Nothing was trained.'
        )
    if norms:
        raise TrainingError(
            f'{what} does not fit into memory. With {size} items at a time it would, but {enumerated(norms)} would '
            f'normalise these by themselves, and the model learn something else: give batch_size='
            f'{max(size // loader.layout.width, 1)} for smaller batches, or mini_batch_size={size} if it may. '
            f'Nothing was trained.'
        )
    return size


def largest(tuner: Any, loader: Loader, resized: Callable[[int], Loader], size: int) -> tuple[int, str]:
    """The largest batch that fits, of `size`, twice `size` and so on, and for people, why it is not larger.

    Args:
        tuner: before its training.
        loader: of batches of `size`, which fit.
        resized: the like of another size.
        size: rows in a batch.
    """
    rows, need = loader.layout.rows, _Need(tuner)
    if not need.fits(loader):
        return size, 'twice as many do not fit into memory'
    if need.on_cpu and (room.left() is None or not need.known):
        return size, 'this system does not say how much memory is left for more'
    while True:
        wider = resized(2 * size)
        if len(wider) < BATCHES:
            return size, f'with twice as many an epoch would have fewer than {BATCHES} batches'
        if wider.layout.rows <= rows:
            return size, 'the data make no larger ones'
        if not need.fits(resized(math.ceil(2 * size * (1 + SPARE)))):
            return size, 'twice as many do not fit into memory'
        size, rows = 2 * size, wider.layout.rows


class _Need:
    # Whether an update by a batch fits. On a CPU what is known of smaller batches must promise it before it is tried.
    def __init__(self, tuner: Any) -> None:
        self.tuner, self.on_cpu = tuner, tuner.encoder.device == 'cpu'
        self.known: list[tuple[int, int]] = []

    def fits(self, loader: Loader) -> bool:
        items, left = loader.layout.items, room.left() if self.on_cpu else None
        if left is not None and self.known and self._expected(items) > left:
            return False
        done, taken = room.measured(lambda: _update(self.tuner, loader))
        if taken is not None:
            self.known.append((items, taken))
        return done

    def _expected(self, items: int) -> float:
        # The loss compares all items with all: what is needed grows with the square at most, and in a line at least.
        (before, less), (last, most) = [*self.known, *self.known][-2:]
        power = 2.0
        if last > before and most > less > 0:
            power = min(max(math.log(most / less) / math.log(last / before), 1.0), 2.0)
        return most * math.pow(items / last, power)


def _tried(tuner: Any, loader: Loader, taken: int | None) -> int:
    size = loader.layout.items
    while size and not _update(tuner, loader, None if size == loader.layout.items else size):
        size //= 2
    return size


def _reckoned(tuner: Any, loader: Loader, taken: int | None) -> int:
    items, left, coder = loader.layout.items, room.left(), tuner.encoder
    if left is None or taken is None:
        return items
    left, weights = int(left / (1 + SPARE)), 4 * coder.size()
    # No layer gives more than embedding took, and its slope is as large as what it gives.
    if 2 * taken * len(coder.layers()) + 4 * weights < left:
        return items
    known = _attempts(tuner, loader, max(items // 8, 1))
    if len(known) < 2:
        return known[0][0] if known else 0
    (few, less), (more, most) = known
    # Where a framework takes much at first, for what it compiles, the first part seems to need more than the second.
    each, size = (most - less) / (more - few) if most > less else most / more, items
    while size > few and most + each * (size - more) + 2 * weights > left:
        size //= 2
    return size


def _attempts(tuner: Any, loader: Loader, size: int) -> list[tuple[int, int]]:
    # Two sizes of which the second is twice the first, with the bytes that they take; fewer where they do not fit.
    known: list[tuple[int, int]] = []
    inputs, _ = _batch(loader)
    with trial(tuner, loader):
        while size and len(known) < 2:
            _, part = next(chunks(inputs, loader.layout.items, size))
            try:
                _, taken = room.measured(partial(tuner.attempt, part))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                forget(error)
                if known:
                    break
                size //= 2
                continue
            known.append((size, taken or 0))
            size *= 2
    return known


def _update(tuner: Any, loader: Loader, chunk: int | None = None) -> bool:
    # Whether a whole update fits. An error of another kind is left to the training, which tells callbacks of it.
    before, tuner.mini_batch_size = tuner.mini_batch_size, chunk
    batch = _batch(loader)
    try:
        with trial(tuner, loader):
            try:
                for _ in range(tuner.state.group):
                    float(tuner.step(*batch))
            except Exception as error:
                forget(error)
                return not is_out_of_memory(error)
    except Exception as error:  # already the optimizer does not fit
        if not is_out_of_memory(error):
            raise
        forget(error)
        return False
    finally:
        tuner.mini_batch_size = before
    return True


def _batch(loader: Loader) -> Batch:
    # The first batch; if its contents are texts, with the longest in their place.
    sampler, dataset = loader.sampler, loader.dataset
    first = next(iter(sampler.batches(0)))
    slots = np.unique(np.concatenate(list(islice(sampler.batches(0), _LOOKED_AT))))
    contents = dataset.records.contents
    places = first
    if isinstance(contents[dataset.item(int(slots[-1]))], str):
        lengths = [len(contents[dataset.item(int(slot))]) if slot >= 0 else -1 for slot in slots]
        places = np.resize(slots[np.argsort(lengths)[::-1][: len(first)]], len(first))
    return loader.inputs(0, 0, places), loader.codes(0, 0, first)
