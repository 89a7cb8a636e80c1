"""Equal vectors of an index: compared once, found each in its own place."""

import numpy as np

from finetuner.evaluation.survey import steps

Tile = tuple[int, int, np.ndarray, np.ndarray | None]
"""Distinct vectors a to b; the places that share them, ascending; which of them stands at each, None for one each."""


class Copies:
    """Which places of an index have which distinct vector.

    Args:
        first: (U,) the first place of each distinct vector, ascending.
        group: (M,) the number of the vector at each place; None where all differ.

    Attributes:
        first: as given.
        group: as given.
    """

    def __init__(self, first: np.ndarray, group: np.ndarray | None) -> None:
        self.first, self.group = first, group
        if group is not None:
            # The places of each vector, one vector after the other, and where each begins.
            self._order = np.argsort(group, kind='stable')
            self._starts = np.searchsorted(group[self._order], np.arange(len(first) + 1))

    def rows(self, a: int, b: int) -> slice | np.ndarray:
        """The places of the distinct vectors a to b."""
        return slice(a, b) if self.group is None else self.first[a:b]

    def spread(
        self, columns: np.ndarray, d: np.ndarray, own: np.ndarray, k: int, block: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest places and their distances, from the k + 1 nearest distinct vectors.

        Args:
            columns: (B, k + 1) numbers of distinct vectors, nearest first, equal distances in their order.
            d: (B, k + 1) the distances.
            own: (B,) a place that is left out; -1 for none.
            k: how many.
            block: the most places held at a time.
        """
        if self.group is None:
            near, far = columns, d
        else:
            # Of equal vectors only the first k + 1 can count, and none beyond the distance at which there are enough.
            sizes = np.minimum(self._starts[columns + 1] - self._starts[columns], k + 1)
            enough = np.argmax(np.cumsum(sizes, axis=1) > k, axis=1)
            sizes[d > np.take_along_axis(d, enough[:, None], 1)] = 0
            if len(d) > 1 and sizes.sum() > block:
                half = len(d) // 2
                parts = [self.spread(columns[s], d[s], own[s], k, block) for s in (slice(half), slice(half, None))]
                return np.concatenate([p for p, _ in parts]), np.concatenate([f for _, f in parts])
            flat = sizes.ravel()
            within = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
            near = self._order[np.repeat(self._starts[columns.ravel()], flat) + within]
            far, rows = np.repeat(d.ravel(), flat), np.repeat(np.repeat(np.arange(len(d)), d.shape[1]), flat)
            order = np.lexsort((near, far, rows))
            at = np.searchsorted(rows, np.arange(len(d)))[:, None] + np.arange(k + 1)  # all have so many
            near, far = near[order][at], far[order][at]
        is_own = near == own[:, None]
        skip = np.where(is_own.any(axis=1), is_own.argmax(axis=1), k)
        kept = np.arange(k) + (np.arange(k) >= skip[:, None])
        return np.take_along_axis(near, kept, 1), np.take_along_axis(far, kept, 1)

    def tiles(self, k: int, width: int) -> list[Tile]:
        """All that can be among the k nearest, in parts of about `width` places."""
        count = len(self.first)
        if self.group is None:
            return [(a, b, np.arange(a, b), None) for a, b in steps(count, width)]
        # Of equal vectors only the first k can be among the k nearest; one more, for one may be excluded.
        order = self._order[np.arange(len(self.group)) - self._starts[self.group[self._order]] <= k]
        ends = np.searchsorted(self.group[order], np.arange(count + 1))
        tiles: list[Tile] = []
        a = 0
        while a < count:
            b = max(int(np.searchsorted(ends, ends[a] + width, 'right')) - 1, a + 1)
            places = np.sort(order[ends[a] : ends[b]])
            tiles.append((a, b, places, self.group[places] - a))
            a = b
        return tiles
