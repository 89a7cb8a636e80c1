"""What losses and miners mean, in plain Python loops over tuples: slow, obvious, and written without the library."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]
Triplet = tuple[int, int, int]


class Tuples(NamedTuple):
    """What a loss sums over: (anchor, candidate) pairs, as often as they count, and (anchor, positive, negative)."""

    positives: list[Pair]
    negatives: list[Pair]
    triplets: list[Triplet]

    @classmethod
    def of(cls, positives: np.ndarray, negatives: np.ndarray) -> 'Tuples':
        """All tuples of two (N, M) masks."""
        near = [(int(a), int(p)) for a, p in np.argwhere(positives)]
        far = [(int(a), int(n)) for a, n in np.argwhere(negatives)]
        return cls(near, far, [(a, p, n) for a, p in near for b, n in far if a == b])

    def keep(self, rule: Callable[[Triplet], bool]) -> 'Tuples':
        """Only the triplets that `rule` keeps, and the pairs in them, once for each triplet."""
        kept = [t for t in self.triplets if rule(t)]
        return Tuples([(a, p) for a, p, _ in kept], [(a, n) for a, _, n in kept], kept)


def masks(labels: list) -> tuple[np.ndarray, np.ndarray]:
    """Who is positive and who is negative to whom, from class labels."""
    n = len(labels)
    positives = np.array([[i != j and labels[i] == labels[j] for j in range(n)] for i in range(n)])
    negatives = np.array([[labels[i] != labels[j] for j in range(n)] for i in range(n)])
    return positives, negatives


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(a * b) / math.sqrt(sum(a * a)) / math.sqrt(sum(b * b)))


def distance(a: np.ndarray, b: np.ndarray, name: str = 'euclidean', unit: bool = True) -> float:
    if name == 'cosine':
        return 1 - cosine(a, b)
    if unit:
        a, b = a / math.sqrt(sum(a * a)), b / math.sqrt(sum(b * b))
    square = float(sum((a - b) ** 2))
    return math.sqrt(square) if name == 'euclidean' else square


def distances(x: np.ndarray, y: np.ndarray, name: str = 'euclidean', unit: bool = True) -> np.ndarray:
    return np.array([[distance(a, b, name, unit) for b in y] for a in x])


def reduced(terms: list[tuple[int, float]], reducer: str) -> float:
    """One number from (anchor, term): the mean, or as `reducer` says."""
    if reducer == 'nonzero':
        terms = [(a, t) for a, t in terms if t > 0]
    if reducer == 'sum' or not terms:
        return sum(t for _, t in terms)
    if reducer != 'anchor':
        return sum(t for _, t in terms) / len(terms)
    anchors = {a for a, _ in terms}
    means = [np.mean([t for b, t in terms if b == a]) for a in anchors]
    return float(sum(means) / len(anchors))


def contrastive(d: np.ndarray, tuples: Tuples, pos_margin=0.0, neg_margin=1.0, reducer='nonzero') -> float:
    near = [(a, max(d[a, p] - pos_margin, 0.0)) for a, p in tuples.positives]
    far = [(a, max(neg_margin - d[a, n], 0.0)) for a, n in tuples.negatives]
    return reduced(near, reducer) + reduced(far, reducer)


def siamese(d: np.ndarray, tuples: Tuples, margin=1.0, reducer='mean') -> float:
    near = [(a, d[a, p]) for a, p in tuples.positives]
    far = [(a, max(margin - d[a, n], 0.0)) for a, n in tuples.negatives]
    return reduced(near + far, reducer)


def triplet(d: np.ndarray, tuples: Tuples, margin: float, reducer: str) -> float:
    return reduced([(a, max(d[a, p] - d[a, n] + margin, 0.0)) for a, p, n in tuples.triplets], reducer)


def infonce(s: np.ndarray, tuples: Tuples, temperature: float, reducer='mean') -> float:
    terms, sums = [], [0.0] * len(s)
    for a, n in tuples.negatives:
        sums[a] += math.exp(s[a, n] / temperature)
    for a, p in tuples.positives:
        own = math.exp(s[a, p] / temperature)
        terms.append((a, -math.log(own / (own + sums[a]))))
    return reduced(terms, reducer)


def multi_similarity(s: np.ndarray, tuples: Tuples, alpha=2.0, beta=50.0, base=0.5, reducer='mean') -> float:
    terms = []
    for a in range(len(s)):
        near = sum(math.exp(-alpha * (s[a, p] - base)) for b, p in set(tuples.positives) if b == a)
        far = sum(math.exp(beta * (s[a, n] - base)) for b, n in set(tuples.negatives) if b == a)
        terms.append((a, math.log(1 + near) / alpha + math.log(1 + far) / beta))
    return reduced(terms, reducer)


def arcface(s: np.ndarray, tuples: Tuples, margin=28.6, scale=64.0, reducer='mean') -> float:
    terms = []
    for a, c in tuples.positives:
        angle = math.acos(s[a, c]) + math.radians(margin)
        own = math.cos(angle) if angle < math.pi else s[a, c] - math.radians(margin) * math.sin(math.radians(margin))
        rest = [s[a, n] for b, n in tuples.negatives if b == a]
        top = scale * max([own, *rest])
        total = sum(math.exp(scale * x - top) for x in [own, *rest])
        terms.append((a, math.log(total) + top - scale * own))
    return reduced(terms, reducer)


def cosent(s: list[float], scores: list[float], scale=20.0, normalize=True) -> float:
    pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if scores[i] < scores[j]]
    total = sum(math.exp(scale * (s[i] - s[j])) for i, j in pairs)
    return math.log(1 + (total / len(pairs) if normalize and pairs else total))


def margin_mse(near: list[float], far: list[float], margins: list[float]) -> float:
    return sum((p - n - m) ** 2 for p, n, m in zip(near, far, margins, strict=True)) / len(margins)


def in_band(d: np.ndarray, kind: str, margin: float) -> Callable[[Triplet], bool]:
    def kept(triplet: Triplet) -> bool:
        a, p, n = triplet
        gap = d[a, n] - d[a, p]
        return {
            'all': gap <= margin,
            'hard': gap <= margin and gap <= 0,
            'semihard': 0 < gap <= margin,
            'easy': gap > margin,
        }[kind]

    return kept


def easyhard(d: np.ndarray, positives: np.ndarray, negatives: np.ndarray, near: str, far: str) -> dict:
    """By anchor, the positives and the negatives that two strategies choose; the first of equals."""
    chosen = {}
    for a in range(len(d)):
        p, n = list(np.flatnonzero(positives[a])), list(np.flatnonzero(negatives[a]))
        if near == 'semihard':
            n = _pick(d[a], n, 'farthest' if far == 'easy' else 'nearest')
            p = _pick(d[a], [i for i in p if n and d[a, i] < d[a, n[0]]], 'farthest')
        else:
            p = p if near == 'all' else _pick(d[a], p, 'farthest' if near == 'hard' else 'nearest')
            if far == 'semihard':
                n = _pick(d[a], [i for i in n if not p or d[a, i] > d[a, p[0]]], 'nearest')
            elif far != 'all':
                n = _pick(d[a], n, 'farthest' if far == 'easy' else 'nearest')
        chosen[a] = [int(i) for i in p], [int(i) for i in n]
    return chosen


def _pick(row: np.ndarray, places: list, which: str) -> list:
    if not places:
        return []
    best = (max if which == 'farthest' else min)(row[i] for i in places)
    return [next(i for i in places if row[i] == best)]
