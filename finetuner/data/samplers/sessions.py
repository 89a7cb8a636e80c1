"""Batches of whole sessions: a root with what belongs to it and what does not.

A session larger than a batch is cut into chunks, each the root and some of its matches, with one that belongs and one
that does not in every chunk wherever the session has both. The sizes of chunks do not depend on chance, so neither
does the number of batches: as many as best-fit packing needs, largest first.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from finetuner.data.samplers.base import Sampler
from finetuner.data.samplers.plain import counted
from finetuner.errors import ArgumentError, DataError


class _Session(NamedTuple):
    root: np.ndarray
    near: np.ndarray
    far: np.ndarray
    chunks: int


class SessionSampler(Sampler):
    """Batches of whole sessions, filled with -1; every item at least once an epoch.

    Args:
        session: (n,) the number of each item's session.
        grade: (n,) 0 for the root of a session, 1 or more for what belongs to it, -1 for what does not.
        batch_size: items in a batch, at most.
        seed: what chance starts from.

    Raises:
        ArgumentError: a batch has no room for a root with a match of both kinds.
        DataError: there are no sessions, or a session has no root.
    """

    def __init__(self, session: np.ndarray, grade: np.ndarray, batch_size: int, seed: int = 0) -> None:
        session, grade, self.seed = np.asarray(session), np.asarray(grade), seed
        if not len(session):
            raise DataError('There are no sessions to learn from.')
        order = np.argsort(session, kind='stable')
        starts = np.flatnonzero(np.diff(session[order], prepend=session[order][0] - 1))
        room = counted(batch_size)
        self.sessions = [_cut(items, grade, room) for items in np.split(order, starts[1:])]
        sizes = [chunk for session in self.sessions for chunk in _sizes(session)]
        self.rows = min(room, sum(sizes))
        self.most = max(len(s.root) + -(-len(s.near) // s.chunks) - 1 for s in self.sessions) or 1
        self._count = len(_best_fit(sizes, range(len(sizes)), self.rows))

    def __len__(self) -> int:
        """The number of batches in every epoch."""
        return self._count

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The batches of an epoch."""
        chance = self.chance(epoch)
        chunks = [chunk for session in self.sessions for chunk in _chunks(session, chance)]
        sizes = [len(chunk) for chunk in chunks]
        order = sorted(chance.permutation(len(chunks)), key=lambda c: -sizes[c])  # largest first, ties by chance
        packed = _random_fit(sizes, order, self.rows, self._count, chance) or _best_fit(sizes, order, self.rows)
        for place in chance.permutation(len(packed)):
            batch = np.full(self.rows, -1)
            if packed[place]:
                items = np.concatenate([chunks[c] for c in packed[place]])
                batch[: len(items)] = items
            yield batch


def _cut(items: np.ndarray, grade: np.ndarray, room: int) -> _Session:
    root, near, far = (items[np.sign(grade[items]) == kind] for kind in (0, 1, -1))
    if len(root) != 1:
        raise DataError(f'A session has one root, the item of grade 0; the one of item {items[0]} has {len(root)}.')
    least = 1 + bool(len(near)) + bool(len(far))
    if room < least:
        raise ArgumentError(f'batch_size={room} has no room for a session: expected at least {least}.')
    chunks = 1
    while _needed(len(near), chunks) + _needed(len(far), chunks) > chunks * (room - 1):
        chunks += 1
    return _Session(root, near, far, chunks)


def _needed(matches: int, chunks: int) -> int:
    return max(matches, chunks) if matches else 0  # with fewer matches than chunks, some come again


def _sizes(session: _Session) -> list[int]:
    # Near matches go to the first chunks, far ones to the last, so that no chunk gets a spare one of both too soon.
    n, near, far = session.chunks, _needed(len(session.near), session.chunks), _needed(len(session.far), session.chunks)
    return [1 + (near + n - 1 - i) // n + (far + i) // n for i in range(n)]


def _chunks(session: _Session, chance: np.random.Generator) -> list[np.ndarray]:
    n = session.chunks
    near, far = (
        np.resize(chance.permutation(kind), _needed(len(kind), n)).astype(int) for kind in (session.near, session.far)
    )
    return [np.concatenate([session.root, near[i::n], far[n - 1 - i :: n]]) for i in range(n)]


def _best_fit(sizes: list[int], order: Iterable[int], room: int) -> list[list[int]]:
    # Largest first, each into the fullest batch that has room for it, else into a new one.
    return _pack(sizes, sorted(order, key=lambda c: -sizes[c]), [], room, lambda fits, bins: min(fits))


def _random_fit(
    sizes: list[int], order: list[int], room: int, count: int, chance: np.random.Generator
) -> list[list[int]] | None:
    # Each into any batch that has room for it, so that other sessions meet in every epoch; None if that fails.
    def choose(fits: list[int], bins: list[list[int]]) -> int:
        lot = int(chance.integers(sum(len(bins[space]) for space in fits)))
        for space in fits:
            lot -= len(bins[space])
            if lot < 0:
                break
        return space

    packed = _pack(sizes, order, [[] for _ in range(count)], room, choose, chance)
    return packed if len(packed) == count else None


def _pack(
    sizes: list[int],
    order: list[int],
    packed: list[list[int]],
    room: int,
    choose: Callable[[list[int], list[list[int]]], int],
    chance: np.random.Generator | None = None,
) -> list[list[int]]:
    spaces: list[list[int]] = [[] for _ in range(room + 1)]  # the batches by the room they have left
    spaces[room] = list(range(len(packed)))
    for chunk in order:
        fits = [space for space in range(sizes[chunk], room + 1) if spaces[space]]
        if fits:
            space = choose(fits, spaces)
            lot = int(chance.integers(len(spaces[space]))) if chance else 0
            place = spaces[space].pop(lot)
        else:
            space, place = room, len(packed)
            packed.append([])
        packed[place].append(chunk)
        spaces[space - sizes[chunk]].append(place)
    return packed
